"""Decision lists to a plan: counter slots, which headers to read, and how much fits.

The last step that decides anything; what follows only writes it down as C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..decisions.model import Allowance, Cause, Decision, DecisionList, Drop, Skip, Undecided
from ..fields import FIELDS

#: Interval tests in one program of straight code. BCC's branches reach 16 bits, and the verifier walks
#: every path; what comes after the last test that fits passes.
MAX_TESTS = 3000
#: As many as the bits of an outcome tell apart; a drop under a further one passes.
MAX_BUDGETS = 127


@dataclass(frozen=True, slots=True)
class Plan:
    """`slots`: the rule of each counter. `fields`: every field that some decision tests. `budgets`: by
    number - 1.

    `cut`: how many dropping decisions did not fit and are left to netfilter.
    """

    lists: tuple[DecisionList, ...]
    slots: tuple[Cause, ...]
    fields: frozenset[str]
    cut: int = 0
    tests: int = 0
    group_drops: bool = True  # broadcast and multicast frames may be dropped
    budgets: tuple[tuple[Allowance, ...], ...] = ()

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

    @property
    def on_budget(self) -> frozenset[Cause]:
        """Rules of which some drops are under a budget."""
        return frozenset(
            c
            for d in self.lists
            for item in d.decisions
            if isinstance(item.then, Drop) and item.then.budget
            for c in causes_of(item)
        )

    def budget(self, then: Drop) -> int:
        """0: none."""
        return self.budgets.index(then.budget) + 1 if then.budget else 0


def make_plan(lists: Iterable[DecisionList], group_drops: bool = True) -> Plan:
    left = MAX_TESTS
    cut = 0
    fitted = []
    lists = tuple(lists)
    met = dict.fromkeys(t.budget for d in lists for t in _drops(d) if t.budget)
    budgets = tuple(met)[:MAX_BUDGETS]
    for decisions in lists:
        decisions = _within(decisions, budgets)
        shorter, used, lost = _fit(decisions, left)
        left -= used
        cut += lost
        fitted.append(shorter)
    causes = dict.fromkeys(c for d in fitted for item in d.decisions for c in causes_of(item))
    fields = frozenset(name for d in fitted for item in d.decisions for name in item.when.fields)
    return Plan(tuple(fitted), tuple(causes), fields, cut, MAX_TESTS - left, group_drops, budgets)


def _drops(decisions: DecisionList) -> Iterator[Drop]:
    return (d.then for d in decisions.decisions if isinstance(d.then, Drop))


def _within(decisions: DecisionList, budgets: tuple[tuple[Allowance, ...], ...]) -> DecisionList:
    if all(not t.budget or t.budget in budgets for t in _drops(decisions)):
        return decisions
    why = f"more than {MAX_BUDGETS} budgets"
    items = tuple(
        Decision(d.when, Undecided(why, d.then.cause))
        if isinstance(d.then, Drop) and d.then.budget and d.then.budget not in budgets
        else d
        for d in decisions.decisions
    )
    return replace(decisions, decisions=items)


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
