"""The values of verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..decisions.model import Cause
from ..matches.view import Kind
from ..reference.interpret import Outcome
from ..rules.model import Rule

#: Name of the file, and line: rules of the two families may be equal.
RuleKey = tuple[str, int]


def key_of(rule: Rule) -> RuleKey:
    return rule.span.source.name, rule.line


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame without its checksum. `name`: what it was made for, for people."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Who sends to whom: `own` is the host under test. MACs as aa:bb:..., addresses as text."""

    own_mac: str = "02:00:00:00:00:0b"
    peer_mac: str = "02:00:00:00:00:0a"
    own4: str = "192.0.2.1"
    peer4: str = "192.0.2.2"
    broadcast4: str = "192.0.2.255"
    own6: str = "2001:db8::1"
    peer6: str = "2001:db8::2"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a program, or a plan, does with one frame.

    `gated`: of a drop, conntrack was asked and has no entry. `cause`: the rule or policy it drops by.
    `reached`: kind and index of each decision that said yes, where the subject can tell.
    `why`: of a pass, where the subject can tell. `budget`: a drop only of what goes beyond one, where the
    subject can tell.
    """

    drop: bool
    gated: bool = False
    cause: Cause | None = None
    reached: tuple[tuple[Kind, int], ...] = ()
    why: str = ""
    budget: bool = False


class Subject(Protocol):
    """What is verified."""

    def rule(self, frames: Sequence[bytes]) -> list[Ruling]:
        """One ruling a frame, in their order. The order does not matter for the rulings."""
        ...


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A frame that the subject drops although the judge is not certain that netfilter does."""

    frame: Frame
    ruling: Ruling
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Comparison:
    """`tried` frames, of which `dropped` were dropped, `gated` of these after a look at conntrack.

    `missed`: frames that the judge is certain of and that passed, of `judged_passed`; -1: that was not asked.
    `causes`: how often each rule or policy dropped. `judged`: how many drops the judge was asked about; fewer
    than `dropped` when time ran out. `met`: rules that some frame it was asked about fits, or may fit.
    `known`: gated drops that were tried again with an entry in conntrack, where they have to pass.
    """

    tried: int
    dropped: int
    gated: int
    judged: int
    missed: int = -1
    judged_passed: int = 0
    known: int = 0
    causes: dict[Cause, int] = field(default_factory=dict)
    met: frozenset[RuleKey] = frozenset()
    disagreements: tuple[Disagreement, ...] = ()
