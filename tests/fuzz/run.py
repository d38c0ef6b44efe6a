"""Random testing for as long as one likes: python -m fuzz.run --seconds 3600 (make fuzz SECONDS=3600).

Prints the first seed; a failure is shrunk and printed as an entry for test_regressions.py. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import random
import secrets
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from fuzz import dumps, totals
from fuzz.case import Case, Counts, Result, Wrong, of_seed
from fuzz.shrink import shrink
from fuzz.trial import BETWEEN_HOSTS, PLAN, Arena, again, arenas, plan_is_wrong, steady, trial, whole
from xdptables.kernel import pins, state
from xdptables.rules.model import Variant

VARIANTS = (Variant.NFT, Variant.LEGACY)
_TIMES_A_FAILURE_IS_TRIED = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 30), help="of the first trial")
    parser.add_argument("--trials", type=int, default=sys.maxsize)
    parser.add_argument("--json", help="write the totals to this file as well")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the namespaces go as well
    print(f"first seed {options.seed}", flush=True)
    counts, seconds = run(options.seed, options.seconds, options.trials)
    print(totals.table(counts, seconds))
    if options.json:
        Path(options.json).write_text(json.dumps({**dataclasses.asdict(counts), "seconds": seconds}) + "\n")
    return 1 if counts.disagreements else 0


def run(seed: int, seconds: float, trials: int = sys.maxsize) -> tuple[Counts, float]:
    start = time.monotonic()
    counts = Counts()
    shown = start
    with own_state(), arenas() as arena_of:
        number = 0
        while number < trials and time.monotonic() - start < seconds:
            case = of_seed(seed + number)
            ring = arena_of(VARIANTS[(seed + number) // 2 % 2], case.rulesets)
            counts.add(told(ring, case, seed + number, f"seed {seed + number}"))
            counts.add(text_trial(seed + number))
            number += 1
            if time.monotonic() - shown > 60:
                shown = time.monotonic()
                print(f"{shown - start:.0f} s: {totals.line(counts)}", flush=True)
    return counts, time.monotonic() - start


def text_trial(seed: int) -> Counts:
    """Of a broken dump: that it ends well."""
    data = dumps.broken(random.Random(f"{seed} text"), dumps.originals())
    try:
        result, _ = dumps.check(data)
    except Exception:
        print(f"\nBROKEN TEXT, seed {seed}: {data!r}\n{traceback.format_exc()}", flush=True)
        return Counts(broken_texts=1, disagreements=1)
    return Counts(broken_texts=1, broken_texts_refused=result == "refused")


def told(ring: Arena, case: Case, seed: int, name: str) -> Counts:
    """A trial, and a failure of it printed."""
    result = attempt(ring, case, seed)
    if result.wrong:
        print(failure(ring, case, seed, name, result), flush=True)
    return result.counts


def attempt(ring: Arena, case: Case, seed: int) -> Result:
    """A trial that ends in an exception is a failure like another. What fails once only is none of the
    program's: frames can be late on a busy machine."""
    result = _guarded(ring, case, seed)
    for _ in range(_TIMES_A_FAILURE_IS_TRIED - 1):
        if not result.wrong:
            break
        again = _guarded(ring, case, seed)
        both = {w.what for w in result.wrong} & {w.what for w in again.wrong}
        result.wrong = [w for w in result.wrong if w.what in both]
        result.counts.disagreements = len(result.wrong)
    # Where plan and program drop nothing, or without either, what differs is the hosts' own.
    if any(w.what.startswith(BETWEEN_HOSTS) for w in result.wrong) and not (
        result.counts.drops and all(steady(ring, case, seed) for _ in range(_TIMES_A_FAILURE_IS_TRIED))
    ):
        result.wrong = [w for w in result.wrong if not w.what.startswith(BETWEEN_HOSTS)]
        result.counts.disagreements = len(result.wrong)
        result.counts.unsteady_without_any_program = 1
    return result


def _guarded(ring: Arena, case: Case, seed: int) -> Result:
    try:
        return trial(ring, case, seed)
    except Exception:
        return Result([Wrong("exception", traceback.format_exc())], Counts(rulesets=1, disagreements=1))


def failure(ring: Arena, case: Case, seed: int, name: str, result: Result) -> str:
    """What was wrong, and the smallest case that shows it."""
    lines = [f"\nDISAGREEMENT, {name}, {ring.alone.variant}"]
    lines += [f"  {w.what}: {w.text}" for w in result.wrong[:5]]
    what = result.wrong[0].what
    if what == "exception":
        return "\n".join(lines)
    case, prepared = whole(ring, case, seed)

    def fails(candidate: Case) -> bool:
        if what == PLAN:
            return plan_is_wrong(candidate, prepared)
        return any(w.what == what for w in again(ring, candidate).wrong)

    small = shrink(case, fails)
    lines += [f"  {w.what}: {w.text}" for w in again(ring, small).wrong[:3]]
    return "\n".join([*lines, as_regression(ring, name, small)])


def as_regression(ring: Arena, name: str, case: Case) -> str:
    variant = ring.alone.variant.name
    how = f'forward={case.forward}, strict={case.strict}, engine="{case.engine}", real={case.real}'
    lines = [f"    Regression({name!r}, Variant.{variant}, {how}, rules=("]
    for rules in case.rulesets:
        lines += [f'        Dump(Family.{rules.family.name}, """', rules.short.rstrip(), '"""),']
    lines.append("    ), traffic=(")
    lines += [f'        "{"out" if e.out else "in"} {e.frame.data.hex()}",' for e in case.events]
    return "\n".join([*lines, "    )),"])


@contextlib.contextmanager
def own_state() -> Iterator[None]:
    """Records and pins apart from those of programs that are at work on this machine."""
    before = state.DIRECTORY, pins.DIRECTORY
    with tempfile.TemporaryDirectory() as folder:
        state.DIRECTORY = Path(folder)
        pins.DIRECTORY = pins.BPFFS / f"xdptables-{Path(folder).name}"
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                pins.DIRECTORY.rmdir()
            state.DIRECTORY, pins.DIRECTORY = before


if __name__ == "__main__":
    sys.exit(main())
