"""Every test of iptables' own extensions against the kernel: all matches, spelled as their authors do.

For `make extensions`. A case becomes a rule that accepts before one that drops all, and a rule that drops;
one with a target stands before a rule that drops all. Traffic, hosts and judges are those of a random trial.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz import totals
from fuzz.case import Case, Counts
from fuzz.rulesets import Rule, Rules, Table
from fuzz.run import VARIANTS, own_state, told
from fuzz.trial import arenas
from rules import corpus
from rules.test_corpus import cases
from xdptables.fields import Family
from xdptables.rules.model import Variant

_INWARD = ("PREROUTING", "INPUT")
_REAL = 25  # of so many cases, one has a real program
_ENGINES = ("linear", "tables")


@dataclass(frozen=True)
class Named:
    name: str
    variant: Variant
    case: Case


def extension_cases() -> Iterator[Named]:
    number = 0
    for path in corpus.files("iptables-extensions", "*.t"):
        for table, chain, rule, *_ in cases(path):
            if chain not in _INWARD or table == "nat":
                continue
            for family in _families(path):
                for lines in _uses(chain, rule):
                    rules = Rules(family, (Table(table, ((chain, "ACCEPT"),), (), lines),))
                    for variant in VARIANTS:
                        number += 1
                        engine = _ENGINES[number // 2 % 2]
                        case = Case((rules,), (), engine=engine, real=number % _REAL == 0)
                        yield Named(f"{path.name}: {lines[0].text}", variant, case)


def _families(path: Path) -> tuple[Family, ...]:
    of = {"libipt": (Family.IPV4,), "libip6t": (Family.IPV6,)}
    return of.get(path.stem.split("_")[0], tuple(Family))


def _uses(chain: str, rule: str) -> Iterator[tuple[Rule, ...]]:
    drop = Rule(chain, (), "-j DROP")
    if {"-j", "-g"} & set(rule.split()):
        yield Rule(chain, (rule,), ""), drop
        return
    tests = (rule,) if rule else ()
    yield Rule(chain, tests, "-j ACCEPT"), drop
    yield (Rule(chain, tests, "-j DROP"),)


def run(first: int = 0, step: int = 1) -> tuple[Counts, float]:
    """Every `step`th case, from the `first` on."""
    start = shown = time.monotonic()
    counts = Counts()
    with own_state(), arenas() as arena_of:
        for number, named in enumerate(extension_cases()):
            if number % step != first % step:
                continue
            ring = arena_of(named.variant, named.case.rulesets)
            counts.add(told(ring, named.case, number, named.name))
            if time.monotonic() - shown > 60:
                shown = time.monotonic()
                print(f"{shown - start:.0f} s: {totals.line(counts)}", flush=True)
    return counts, time.monotonic() - start


def main() -> int:
    if not corpus.files("iptables-extensions", "*.t"):
        print(
            f"no iptables-extensions/*.t in {corpus.ROOT}: XDPTABLES_CORPUS says where they are",
            file=sys.stderr,
        )
        return 2
    counts, seconds = run()
    print(totals.table(counts, seconds))
    return 1 if counts.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
