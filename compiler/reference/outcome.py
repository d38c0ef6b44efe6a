"""What the judge says of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..rules.model import Rule
from .answers import Answer


class Verdict(StrEnum):
    DROP = "drop"
    ACCEPT = "accept"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`rule`: of a certain DROP, the rule of the first world found; None for a chain's policy.
    `hook`: "filter INPUT". `why`: of an undecided one. `trace`: rules visited, in the order of visiting."""

    verdict: Verdict
    rule: Rule | None = None
    hook: str = ""
    why: str = ""
    trace: tuple[tuple[Rule, Answer], ...] = ()


def undecided(why: str, rule: Rule | None = None) -> Outcome:
    return Outcome(Verdict.UNDECIDED, rule=rule, why=why)
