"""What becomes of one rule, and why: answered from the lists before and after the passes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..decisions.hookpath import PATH, rule_reads_state
from ..decisions.model import Cause, DecisionList, Undecided
from ..decisions.walk import REPLIES
from ..emit.plan import Plan, causes_of
from ..intervals import IntervalSet
from ..passes.narrow import LOOKED_UP, narrow
from ..passes.rebuild import rebuild
from ..rules.model import Rule


class Fate(StrEnum):
    OFFLOADED = "offloaded"
    PASSES = "passes to netfilter"
    LEFT = "left to netfilter"
    UNREACHABLE = "unreachable"
    COUNTS = "no verdict"


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule, or the policy of a base chain. `why` is empty where nothing needs a reason."""

    cause: Cause
    family: str
    fate: Fate
    why: str = ""
    drops: bool = False


class _Seen:
    """What some lists say of the rules, for packets of some protocols."""

    def __init__(self, lists: Sequence[DecisionList], protocols: IntervalSet | None) -> None:
        self.notes = {n.cause: n.why for d in lists for n in d.notes}
        self.reached = {key for d in lists for key in d.reached}
        narrowed = [item for d in lists for item in narrow(d, protocols).decisions]
        self.reachable = {c for item in narrowed for c in causes_of(item)}
        # As if nothing were undecided: what becomes reachable now is held back by an undecided rule.
        certain = [item for d in lists for item in narrow(_without_undecided(d), protocols).decisions]
        self.held_back: set[Cause] = {c for item in certain for c in causes_of(item)}
        kept = [i.then for i in certain if isinstance(i.then, Undecided)]
        self.held_back |= {then.cause for then in kept if then.cause is not None}
        # What takes every packet that gets there stands for all obstacles behind it.
        found = [(bool(d.when.sets), d.then) for x in lists for d in x.decisions]
        undecided = [t for some, t in found if isinstance(t, Undecided) and not some]
        undecided += [t for some, t in reversed(found) if isinstance(t, Undecided) and some]
        self.undecided = _first_of_each_place([t for t in undecided if t.cause is not None])

    def blocker(self, cause: Cause) -> str:
        """The undecided rule that takes its packets first."""
        at = 0
        if not cause.policy:
            at = bisect_left(self.undecided, True, key=lambda t: _place(t.cause) < _place(cause))
        if at == len(self.undecided):
            return "earlier rules decide all its packets"
        then = self.undecided[at]
        place = then.cause.place if then.cause else "a rule"
        return f"{place} may decide its packets first ({then.why})"


class Known:
    """Answers about single rules. `lists`: of one family, as the walk made them."""

    def __init__(self, lists: Sequence[DecisionList], plan: Plan) -> None:
        self.slots = set(plan.slots)
        self.on_budget = plan.on_budget
        self.cut = plan.cut
        whole = [d for d in plan.lists if not d.kind.no_entry and not d.kind.is_fragment]
        self.by_itself = {
            c for d in whole for item in narrow(d, LOOKED_UP).decisions for c in causes_of(item)
        }
        self.gave_up = next((d.gave_up for d in lists if d.gave_up), "")
        # TCP and UDP are asked about last as packets without a connection, which drops most: those reasons
        # count first. The others only ever meet the list for any packet.
        gates = [d for d in lists if d.kind.no_entry and d.reached]
        plain = [d for d in lists if not d.kind.no_entry and not d.kind.is_fragment]
        self.gated = bool(gates)
        self.seen = [_Seen(gates, LOOKED_UP)] if gates else []
        self.seen.append(_Seen(plain, LOOKED_UP.complement(8) if gates else None))
        self.reached = {key for s in self.seen for key in s.reached}
        self.notes = self.seen[0].notes

    def entry(self, cause: Cause, family: str, rule: Rule | None) -> Entry:
        name = rule.target.name if rule and rule.target else ""
        drops = rule is None or name in ("DROP", "REJECT")
        if self.gave_up and cause not in self.slots and cause not in self.notes:
            fate = Fate.LEFT if drops else Fate.PASSES if name == "ACCEPT" else Fate.COUNTS
            return Entry(cause, family, fate, self.gave_up if drops else "", drops)
        if rule is not None and (cause.table, cause.chain, rule.number) not in self.reached:
            return Entry(cause, family, Fate.UNREACHABLE, "no packet reaches it", drops)
        if not drops:
            return Entry(cause, family, Fate.PASSES if name == "ACCEPT" else Fate.COUNTS)
        if cause in self.slots:
            return self._offloaded(cause, family, rule)
        for number, seen in enumerate(self.seen):
            why = self._left(cause, seen, first=number == 0)
            if why:
                return Entry(cause, family, Fate.LEFT, why, True)
        return Entry(cause, family, Fate.UNREACHABLE, "earlier rules decide all its packets", True)

    def _offloaded(self, cause: Cause, family: str, rule: Rule | None) -> Entry:
        why = self.notes.get(cause, "")
        if why.startswith(REPLIES):
            return Entry(cause, family, Fate.LEFT, f"{why}; XDP drops what gets none", True)
        parts = [f"in part: {why}"] if why else []
        if cause in self.on_budget:
            parts.insert(0, "beyond a budget for each source")
        if self.gated and (cause not in self.by_itself or (rule and rule_reads_state(rule))):
            parts.insert(0, "TCP and UDP that conntrack does not know")
        return Entry(cause, family, Fate.OFFLOADED, "; ".join(parts), True)

    def _left(self, cause: Cause, seen: _Seen, first: bool) -> str:
        """Why netfilter drops its packets; "" when they are decided before."""
        if cause in seen.notes and (first or cause in seen.held_back):
            return seen.notes[cause]
        if self.cut and cause in seen.reachable:
            return "the program would be too large"
        if cause in seen.held_back and cause not in seen.reachable:
            return seen.blocker(cause)
        return ""


_LAST = 1 << 62  # the policy comes behind every rule
_TABLES = {table: at for at, table in enumerate(dict.fromkeys(t for t, _ in PATH))}


def _place(cause: Cause | None) -> tuple[int, int]:
    """What comes first for a packet, as far as table and line tell."""
    if cause is None:
        return 0, 0
    return _TABLES.get(cause.table, 0), _LAST if cause.policy else cause.line


def _first_of_each_place(undecided: list[Undecided]) -> list[Undecided]:
    """Those that can be the first, in the list's order, before some place: each stands before all ahead of
    it in the list, so the places fall."""
    out: list[Undecided] = []
    for then in undecided:
        if not out or _place(then.cause) < _place(out[-1].cause):
            out.append(then)
    return out


def _without_undecided(decisions: DecisionList) -> DecisionList:
    """As if nothing met the undecided, but for those of a rule that drops; indices stay."""
    kept = [None if isinstance(d.then, Undecided) and not d.then.drops else d for d in decisions.decisions]
    return replace(decisions, decisions=rebuild(kept))
