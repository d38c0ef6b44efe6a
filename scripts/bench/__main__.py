"""make bench"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from rich.console import Console

from xdptables.kernel.errors import KernelError
from xdptables.kernel.preflight import check_privileges
from xdptables.source import UserError

from . import table
from .cases import WORKLOADS
from .contestants import CONTESTANTS
from .measure import Options, measure
from .place import isolate, sender
from .progress import Progress

SAVED = Path("build/bench.json")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = _options()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
    try:
        check_privileges()
        isolate()
        with Progress(Console(stderr=True)) as progress, sender(max(os.sched_getaffinity(0))) as wire:
            run = measure(wire, options, progress)
    except (UserError, KernelError) as e:
        console.print(f"bench: {e}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.whole:
        run.save(SAVED)
    table.show(run, console, aims=options.whole)
    console.print(f"\n{run.machine}; the run took {run.seconds:.0f} s")
    if run.quick:
        console.print("a quick run: its figures are no more than a hint")
    return 1 if any(result.wrong for result in run.results) else 0


def _options() -> Options:
    parser = argparse.ArgumentParser("bench", description="Side by side: what a packet costs.")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds, in about a minute")
    parser.add_argument("--workload", action="append", default=[], choices=[w.key for w in WORKLOADS])
    parser.add_argument("--contestant", action="append", default=[], choices=[c.key for c in CONTESTANTS])
    parser.add_argument("--size", action="append", default=[], type=int, help="how many rules")
    parser.add_argument("--rounds", type=int, default=0)
    given = parser.parse_args()
    return Options(
        given.quick, tuple(given.workload), tuple(given.contestant), tuple(given.size), given.rounds
    )


if __name__ == "__main__":
    sys.exit(main())
