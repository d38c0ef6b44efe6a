"""Straight code or tables: what each is expected to cost, and which one a family gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..decisions.model import Decision, DecisionList
from ..fields import Family


class Engine(StrEnum):
    LINEAR = "linear"
    TABLES = "tables"


#: What the user may ask for.
ENGINES = ("auto", *(e.value for e in Engine))


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What the user asked for. `engine`: one of ENGINES. `table_memory`: bytes. `halvings`: how often the
    program was too complex for the kernel, and is made with half as many tests or rounds."""

    engine: str = "auto"
    table_memory: int = 64 << 20
    halvings: int = 0

    @property
    def smaller(self) -> EngineRequest:
        return replace(self, halvings=self.halvings + 1)


AUTOMATIC = EngineRequest()
#: Made so much smaller the largest program does hardly more than pass.
MOST_HALVINGS = 5

#: Nanoseconds, measured with BPF_PROG_TEST_RUN (docs/performance.md); only their ratio counts.
NS_A_DECISION, NS_A_HALVING, NS_A_SPLIT = 0.3, 0.4, 1.2
NS_TABLES, NS_A_FIELD, NS_A_LEVEL = 5.0, 2.0, 3.0
#: Straight code of more tests than this takes clang and the verifier longer than tables do.
MANY_TESTS = 600
#: Straight code shows each rule, which is worth so much.
READABLE = 1.5


@dataclass(frozen=True, slots=True)
class Choice:
    """`expected`: ns a packet that passes all decisions, with each engine. `tests`: of straight code."""

    family: Family
    engine: Engine
    expected: dict[Engine, float]
    tests: int
    asked: bool  # the user named the engine

    @property
    def text(self) -> str:
        other = next(e for e in Engine if e is not self.engine)
        ns, others = (round(self.expected[e]) for e in (self.engine, other))
        asked = " as asked" if self.asked else ""
        return (
            f"{self.family.value} {self.engine.value}{asked}, about {ns} ns a packet"
            f" ({other.value} about {others} ns)"
        )


def choose(family: Family, lists: Sequence[DecisionList], asked: str) -> Choice:
    """`lists`: those of the family."""
    expected = {
        Engine.LINEAR: max((_linear(d.decisions) for d in lists), default=0.0),
        Engine.TABLES: _tables(lists),
    }
    tests = sum(tests_of(d) for x in lists for d in x.decisions)
    if asked == "auto":
        near = expected[Engine.LINEAR] <= expected[Engine.TABLES] * READABLE
        engine = Engine.LINEAR if near and tests <= MANY_TESTS else Engine.TABLES
    else:
        engine = Engine(asked)
    return Choice(family, engine, expected, tests, asked != "auto")


def tests_of(decision: Decision) -> int:
    """What it costs in straight code: one test an interval, and one a piece of a split."""
    return sum(len(s.pairs) for _, s in decision.when.sets) + len(decision.split)


def _linear(decisions: Sequence[Decision]) -> float:
    """A packet tries every decision; most fail at their first test, and long sets are searched by halves. The
    search for the rule of a merged drop has branches that the processor can't foresee."""
    tests = sum(
        NS_A_DECISION + NS_A_HALVING * max((len(s.pairs).bit_length() - 1 for _, s in d.when.sets), default=0)
        for d in decisions
    )
    return tests + NS_A_SPLIT * max((len(d.split).bit_length() for d in decisions), default=0)


def _tables(lists: Sequence[DecisionList]) -> float:
    fields = {name for x in lists for d in x.decisions for name in d.when.fields}
    count = sum(len(x.decisions) for x in lists)
    levels = 0 if count <= 64 else 1 if count <= 4096 else 2
    return NS_TABLES + NS_A_FIELD * len(fields) + NS_A_LEVEL * levels
