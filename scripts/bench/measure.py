"""One run, from the workloads to the results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from xdptables.fields import Family

from . import contestants, gate, results, rounds, testrun
from .cases import QUICK_SIZES, WORKLOADS, Case
from .contestants import CONTESTANTS
from .entry import Entry, enter
from .generator import Generator
from .noise import low, spread
from .place import Sender
from .progress import Progress
from .results import Result, Run
from .rounds import Samples

ROUNDS, QUICK_ROUNDS = 30, 10
TEST_RUNS, QUICK_TEST_RUNS = 15, 5
_ORDER_SEED = 1


@dataclass(frozen=True, slots=True)
class Options:
    """What of it to run; () and 0 mean all, and as many rounds as usual."""

    quick: bool = False
    workloads: tuple[str, ...] = ()
    contestants: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    rounds: int = 0

    @property
    def whole(self) -> bool:
        return not (self.workloads or self.contestants or self.sizes)


def measure(sender: Sender, options: Options, progress: Progress) -> Run:
    begin = time.monotonic()
    cases = _cases(options, progress)
    contestants.preload()
    entries, failed = _enter(sender, cases, options.contestants, progress)
    generators = {family: Generator(sender, family) for family in {case.family for case in cases}}
    with sender.pinned():
        entries, wrong = _judged(entries, generators, progress)
        count = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
        progress.start("rounds", count + 1)
        samples = rounds.run(entries, generators, count, _ORDER_SEED, progress.step)
        test_runs = QUICK_TEST_RUNS if options.quick else TEST_RUNS
        progress.start("test runs", test_runs)
        own = testrun.run(entries, test_runs, _ORDER_SEED, progress.step)

    timed = [_result(e, samples[e.key], own.get(e.key)) for e in entries]
    found = sorted((*timed, *failed, *wrong), key=_order)
    return Run(tuple(found), results.this_machine(), options.quick, time.monotonic() - begin)


def _cases(options: Options, progress: Progress) -> list[Case]:
    wanted = []
    for workload in WORKLOADS:
        if options.workloads and workload.key not in options.workloads:
            continue
        sizes = workload.sizes
        if options.sizes and len(sizes) > 1:
            sizes = options.sizes
        elif options.quick and len(sizes) > 1:
            sizes = tuple(size for size in sizes if size in QUICK_SIZES)
        wanted += [(workload, size) for size in sizes]
    progress.start("rules and packets", len(wanted))
    found = []
    for workload, size in wanted:
        found.append(workload.case(size))
        progress.step()
    return found


def _enter(
    sender: Sender, cases: Sequence[Case], only: Sequence[str], progress: Progress
) -> tuple[list[Entry], list[Result]]:
    """Those that can be set up, and why the others can't."""
    wanted = [
        (case, contestant)
        for case in cases
        for contestant in CONTESTANTS
        if contestant.takes(case) and (not only or contestant.key in only)
    ]
    progress.start("setting up", len(wanted))
    entries, failed = [], []
    for case, contestant in wanted:
        made = enter(sender, case, contestant)
        if isinstance(made, Entry):
            entries.append(made)
        else:
            failed.append(Result(case.workload, case.size, contestant.key, failure=made))
        progress.step()
    return entries, failed


def _judged(
    entries: Sequence[Entry], generators: dict[Family, Generator], progress: Progress
) -> tuple[list[Entry], list[Result]]:
    """Those that gave every packet its right fate, and what the others did."""
    progress.start("the fate of every packet", len(entries))
    right, wrong = [], []
    for entry in entries:
        try:
            failure = gate.judge(entry, generators)
        except gate.Lost as e:
            wrong.append(Result(*entry.key, failure=str(e)))
        else:
            if failure:
                wrong.append(Result(*entry.key, failure=failure, wrong=True))
            else:
                right.append(entry)
        progress.step()
    return right, wrong


def _result(entry: Entry, samples: Samples, own_ns: float | None) -> Result:
    failure = rounds.wrong(entry, samples)
    if failure:
        return Result(*entry.key, failure=failure, wrong=True)
    times, to_drop = samples.nanoseconds, samples.received * (1 - entry.case.share)
    if not times:
        return Result(*entry.key, failure=f"the wire lost frames in all {samples.lossy} rounds")
    return Result(
        *entry.key, ns=low(times), own_ns=own_ns, setup=entry.setup, spread=spread(times),
        rounds=len(times), note=entry.note, in_xdp=samples.in_xdp / to_drop if to_drop else None,
    )  # fmt: skip


def _order(result: Result) -> tuple[int, int, int]:
    workloads = [workload.key for workload in WORKLOADS]
    contestants = [contestant.key for contestant in CONTESTANTS]
    return workloads.index(result.workload), result.size, contestants.index(result.contestant)
