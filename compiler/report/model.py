"""What happens to each rule on the path of a packet for this host, and why."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ..decisions.hookpath import PATH, rule_reads_state
from ..decisions.model import Cause, DecisionList, Undecided
from ..decisions.walk import REPLIES
from ..emit.plan import Plan, causes_of
from ..host.facts import HostFacts
from ..host.findings import Finding
from ..passes.narrow import narrow
from ..rules.model import Chain, Rule, Ruleset, Table


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


@dataclass(frozen=True, slots=True)
class Report:
    entries: tuple[Entry, ...]
    assumptions: tuple[str, ...]
    cut: int = 0
    kept: tuple[Finding, ...] = ()
    lifted: tuple[Finding, ...] = ()
    advice: tuple[str, ...] = ()  # what REJECT and LOG cost, and the ways out
    engines: tuple[str, ...] = ()  # of each family, and what it is expected to cost

    @property
    def dropping(self) -> tuple[Entry, ...]:
        """Dropping rules that a packet can reach."""
        return tuple(e for e in self.entries if e.drops and e.fate is not Fate.UNREACHABLE)

    @property
    def offloaded(self) -> tuple[Entry, ...]:
        return tuple(e for e in self.dropping if e.fate is Fate.OFFLOADED)

    @property
    def summary(self) -> str:
        total, here = len(self.dropping), len(self.offloaded)
        if not total:
            return "no dropping rule can be reached: every packet passes to netfilter"
        text = f"{here} of {total} dropping rules run in XDP"
        left = [e for e in self.dropping if e.fate is not Fate.OFFLOADED]
        if left:
            reasons = dict.fromkeys(e.why for e in left)
            first = next(iter(reasons))
            more = f", and {len(reasons) - 1} more reasons" if len(reasons) > 1 else ""
            text += f"; {len(left)} stay with netfilter: {first}{more}"
        return text

    def to_data(self) -> dict[str, Any]:
        rows = [
            {
                "family": e.family, "table": e.cause.table, "chain": e.cause.chain, "line": e.cause.line,
                "rule": e.cause.text, "fate": e.fate.value, "why": e.why, "drops": e.drops,
            }
            for e in self.entries
        ]  # fmt: skip
        return {
            "summary": self.summary,
            "rules": rows,
            "assumptions": list(self.assumptions),
            "cut": self.cut,
            "engines": list(self.engines),
            "findings": [
                {"id": f.id, "scope": f.scope.value, "text": f.text, "way_out": f.way_out} for f in self.kept
            ],
            "disregarded": [f.id for f in self.lifted],
            "advice": list(self.advice),
        }


def make_report(
    rulesets: Iterable[Ruleset],
    host: HostFacts,
    lists: Iterable[DecisionList],
    plan: Plan,
    kept: tuple[Finding, ...] = (),
    lifted: tuple[Finding, ...] = (),
) -> Report:
    """`lists`: as the walk made them, before the passes."""
    rulesets, lists = tuple(rulesets), tuple(lists)
    entries: list[Entry] = []
    for ruleset in rulesets:
        own = [d for d in lists if d.kind.family is ruleset.family]
        known = _Known(own, plan)
        for table, chain in _on_path(ruleset, own):
            for rule in chain.rules:
                cause = Cause(table.name, chain.name, rule, family=ruleset.family)
                entries.append(known.entry(cause, ruleset.family.value, rule))
            if chain.policy == "DROP":
                cause = Cause(table.name, chain.name, policy=chain, family=ruleset.family)
                entries.append(known.entry(cause, ruleset.family.value, None))
    assumed = _assumptions(rulesets, host)
    return Report(tuple(entries), assumed, plan.cut, kept, lifted, engines=plan.described)


def _on_path(ruleset: Ruleset, lists: list[DecisionList]) -> list[tuple[Table, Chain]]:
    """Base chains in the order of the hooks, each table's user chains that a packet reaches behind them."""
    reached = {(t, c) for d in lists for t, c, _ in d.reached}
    seen: dict[tuple[str, str], tuple[Table, Chain]] = {}
    for table_name, chain_name in PATH:
        table = ruleset.table(table_name)
        if table is None:
            continue
        for chain in table.chains:
            base = chain.name == chain_name
            if base or (chain.policy is None and (table.name, chain.name) in reached):
                seen.setdefault((table.name, chain.name), (table, chain))
    return list(seen.values())


class _Known:
    """Answers about single rules, from the lists before and after the passes."""

    def __init__(self, lists: list[DecisionList], plan: Plan) -> None:
        self.slots = set(plan.slots)
        self.on_budget = plan.on_budget
        self.by_itself = {
            c
            for d in plan.lists
            if not d.kind.no_entry and not d.kind.is_fragment
            for item in narrow(d, looked_up=True).decisions
            for c in causes_of(item)
        }
        self.gave_up = next((d.gave_up for d in lists if d.gave_up), "")
        # The list that can drop most is asked last, for packets without a connection: its reasons count.
        gates = [d for d in lists if d.kind.no_entry and d.reached]
        asked = gates or [d for d in lists if not d.kind.is_fragment]
        self.notes = {n.cause: n.why for d in asked for n in d.notes}
        self.whole = dict(self.notes)
        self.gated = bool(gates)
        lists = asked
        self.reached = {key for d in lists for key in d.reached}
        self.reachable = {c for d in lists for item in narrow(d).decisions for c in causes_of(item)}
        # As if nothing were undecided: what becomes reachable now is held back by an undecided rule.
        certain = [_without_undecided(d) for d in lists]
        self.held_back = {c for d in certain for item in narrow(d).decisions for c in causes_of(item)}
        # What takes every packet that gets there stands for all obstacles behind it.
        found = [(bool(d.when.sets), d.then) for x in lists for d in x.decisions]
        undecided = [t for some, t in found if isinstance(t, Undecided) and not some]
        undecided += [t for some, t in reversed(found) if isinstance(t, Undecided) and some]
        self.undecided = _first_of_each_place([t for t in undecided if t.cause is not None])

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
            why = self.whole.get(cause, "")
            if why.startswith(REPLIES):
                return Entry(cause, family, Fate.LEFT, f"{why}; XDP drops what gets none", True)
            why = f"in part: {why}" if why else ""
            if cause in self.on_budget:
                why = "; ".join(w for w in ("beyond a budget for each source", why) if w)
            if self.gated and (cause not in self.by_itself or (rule and rule_reads_state(rule))):
                why = "; ".join(w for w in ("TCP and UDP that conntrack does not know", why) if w)
            return Entry(cause, family, Fate.OFFLOADED, why, True)
        if cause in self.notes:
            return Entry(cause, family, Fate.LEFT, self.notes[cause], True)
        if cause in self.reachable:
            return Entry(cause, family, Fate.LEFT, "the program would be too large", True)
        if cause in self.held_back:
            return Entry(cause, family, Fate.LEFT, self._blocker(cause), True)
        return Entry(cause, family, Fate.UNREACHABLE, "earlier rules decide all its packets", True)

    def _blocker(self, cause: Cause) -> str:
        """The undecided rule that takes its packets first."""
        at = 0
        if not cause.policy:
            at = bisect_left(self.undecided, True, key=lambda t: _place(t.cause) < _place(cause))
        if at == len(self.undecided):
            return "earlier rules decide all its packets"
        then = self.undecided[at]
        line = then.cause.line if then.cause else 0
        return f"line {line} may decide its packets first ({then.why})"


_TABLES = {table: at for at, table in enumerate(dict.fromkeys(t for t, _ in PATH))}


def _place(cause: Cause | None) -> tuple[int, int]:
    """What comes first for a packet, as far as table and line tell."""
    return (_TABLES.get(cause.table, 0), cause.line) if cause else (0, 0)


def _first_of_each_place(undecided: list[Undecided]) -> list[Undecided]:
    """Those that can be the first, in the list's order, before some place: each stands before all ahead of
    it in the list, so the places fall."""
    out: list[Undecided] = []
    for then in undecided:
        if not out or _place(then.cause) < _place(out[-1].cause):
            out.append(then)
    return out


def _without_undecided(decisions: DecisionList) -> DecisionList:
    """Undecided conditions become ones that nothing meets; indices stay."""
    from ..passes.rebuild import rebuild

    kept = [None if isinstance(d.then, Undecided) else d for d in decisions.decisions]
    return replace(decisions, decisions=rebuild(kept))


def _assumptions(rulesets: tuple[Ruleset, ...], host: HostFacts) -> tuple[str, ...]:
    """What the outcome rests on besides the rules given."""
    out = []
    if host.assumed:
        out.append(f"host: a {host.label} is assumed, not observed")
    for ruleset in rulesets:
        given = {t.name for t in ruleset.tables}
        absent = [t for t in dict.fromkeys(t for t, _ in PATH) if t not in given]
        if absent and host.assumed:
            names = ", ".join(absent)
            out.append(f"{ruleset.family.value}: the tables {names} are not in the dump and taken as empty")
        out.append(f"{ruleset.family.value}: iptables variant {ruleset.variant.value}")
    if not host.interface.name:
        out.append("no interface given: what -i matches is not known (--interface)")
    return tuple(out)
