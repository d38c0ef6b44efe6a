"""The decision list: what the walk makes and the passes shrink."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..fields import Family
from ..matches.condition import Cube
from ..matches.view import Kind
from ..rules.model import Chain, Rule
from ..source import Span


@dataclass(frozen=True, slots=True)
class Cause:
    """The rule, or the policy of a base chain, that decides. IPv4 and IPv6 may hold the same rule at the
    same place, and count apart."""

    table: str
    chain: str
    rule: Rule | None = None
    policy: Chain | None = field(default=None, repr=False)
    family: Family | None = None

    @property
    def span(self) -> Span | None:
        """None: of a policy that no line states."""
        if self.rule:
            return self.rule.span
        return self.policy.span if self.policy else None

    @property
    def line(self) -> int:
        return self.span.line if self.span else 0

    @property
    def place(self) -> str:
        """For people: "line 7", with the file's name where there are several."""
        return self.span.place if self.span else "policy"

    @property
    def stated(self) -> str:
        """Where it stands and what it says; of a policy that no line states the latter alone."""
        return f"{self.place}: {self.text}" if self.line else self.text

    @property
    def text(self) -> str:
        if self.rule:
            return self.rule.text
        return f":{self.chain} {self.policy.policy if self.policy else 'DROP'} (policy)"


class Allowance(NamedTuple):
    """An effect that the kernel itself limits, a reply or a log line, and how many packets of one source
    are passed for its sake: `burst` at once, and one more each `interval_ns`. `name` tells effects apart."""

    name: str
    interval_ns: int
    burst: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Certainly dropped. `local`: a drop in INPUT is part of it, so it holds only for what is
    delivered here. `after_conntrack`: not by raw PREROUTING alone. `budget`: dropped only beyond it,
    since the kernel would have answered or logged some of these packets; empty: always dropped."""

    cause: Cause
    local: bool
    after_conntrack: bool
    budget: tuple[Allowance, ...] = ()


@dataclass(frozen=True, slots=True)
class Accept:
    """Certainly accepted, through every chain."""

    cause: Cause | None


@dataclass(frozen=True, slots=True)
class Undecided:
    """Left to netfilter. `why` is for the report; `cause` the rule that makes it so. `drops`: that rule
    drops these packets for certain, yet XDP may not."""

    why: str
    cause: Cause | None
    drops: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """Go on at decision `to` (an index, always larger than this decision's own)."""

    to: int


Outcome = Drop | Accept | Undecided
Then = Outcome | Skip


@dataclass(frozen=True, slots=True)
class Decision:
    """`split`, of a merged drop: which rule each interval of `split_field` belongs to."""

    when: Cube
    then: Then
    split_field: str = ""
    split: tuple[tuple[int, int, Cause], ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """A dropping rule that could not decide as it stands, and why."""

    cause: Cause
    why: str


@dataclass(frozen=True, slots=True)
class DecisionList:
    """First match wins; a packet that matches nothing passes. `notes` are for the report."""

    kind: Kind
    decisions: tuple[Decision, ...]
    notes: tuple[Note, ...] = ()
    gave_up: str = ""  # why the walk did not see everything
    reached: frozenset[tuple[str, str, int]] = frozenset()  # table, chain, rule number that a packet can meet
