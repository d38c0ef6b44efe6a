"""Decision lists to a plan: counter slots, which headers to read, and how much fits.

The last step that decides anything; what follows only writes it down as C.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..decisions.model import Cause, Decision, DecisionList, Drop, Skip
from ..fields import FIELDS

#: Interval tests in one program of straight code. BCC's branches reach 16 bits, and the verifier walks
#: every path; what comes after the last test that fits passes.
MAX_TESTS = 3000


@dataclass(frozen=True, slots=True)
class Plan:
    """`slots`: the rule of each counter. `fields`: every field that some decision tests.

    `cut`: how many dropping decisions did not fit and are left to netfilter.
    """

    lists: tuple[DecisionList, ...]
    slots: tuple[Cause, ...]
    fields: frozenset[str]
    cut: int = 0
    tests: int = 0
    group_drops: bool = True  # broadcast and multicast frames may be dropped

    @property
    def drops(self) -> bool:
        return bool(self.slots)

    @property
    def overtaking(self) -> bool:
        """Whether a packet can be dropped for want of an entry that one before it, of the same flow, makes:
        only where something that varies within a flow decides, else the two share their fate."""
        return any(
            not FIELDS[name].flow_constant
            for d in self.lists
            if d.kind.no_entry
            for item in d.decisions
            for name in item.when.fields
        )

    def slot(self, cause: Cause) -> int:
        return self.slots.index(cause)


def make_plan(lists: Iterable[DecisionList], group_drops: bool = True) -> Plan:
    left = MAX_TESTS
    cut = 0
    fitted = []
    for decisions in lists:
        shorter, used, lost = _fit(decisions, left)
        left -= used
        cut += lost
        fitted.append(shorter)
    causes = dict.fromkeys(c for d in fitted for item in d.decisions for c in causes_of(item))
    fields = frozenset(name for d in fitted for item in d.decisions for name in item.when.fields)
    return Plan(tuple(fitted), tuple(causes), fields, cut, MAX_TESTS - left, group_drops)


def causes_of(decision: Decision) -> tuple[Cause, ...]:
    """The rules that a decision drops by."""
    if not isinstance(decision.then, Drop):
        return ()
    if decision.split:
        return tuple(dict.fromkeys(c for _, _, c in decision.split))
    return (decision.then.cause,)


def tests_of(decision: Decision) -> int:
    """What it costs in straight code: one test an interval, and one a piece of a split."""
    return sum(len(s.pairs) for _, s in decision.when.sets) + len(decision.split)


def _fit(decisions: DecisionList, room: int) -> tuple[DecisionList, int, int]:
    """The longest head that fits. Ending a list early makes every later packet pass: never a wrong drop."""
    used = 0
    for at, item in enumerate(decisions.decisions):
        cost = tests_of(item)
        if used + cost > room:
            kept = tuple(
                replace(d, then=Skip(at)) if isinstance(d.then, Skip) and d.then.to > at else d
                for d in decisions.decisions[:at]
            )
            lost = sum(isinstance(d.then, Drop) for d in decisions.decisions[at:])
            return replace(decisions, decisions=kept), used, lost
        used += cost
    return decisions, used, 0
