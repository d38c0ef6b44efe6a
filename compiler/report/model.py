"""What happens to each rule on the path of a packet for this host, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..decisions.hookpath import PATH
from ..decisions.model import Cause, DecisionList
from ..emit.limits import limits
from ..emit.plan import Plan
from ..host.facts import HostFacts
from ..host.finding import Finding
from ..rules.model import Chain, Ruleset, Table
from .entries import Entry, Fate, Known


@dataclass(frozen=True, slots=True)
class Report:
    entries: tuple[Entry, ...]
    assumptions: tuple[str, ...]
    cut: int = 0
    kept: tuple[Finding, ...] = ()
    lifted: tuple[Finding, ...] = ()
    advice: tuple[str, ...] = ()  # what REJECT and LOG cost, and the ways out
    engines: tuple[str, ...] = ()  # of each family, and what it is expected to cost
    limits: tuple[str, ...] = ()  # for which more passes than has to

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
            "limits": list(self.limits),
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
        known = Known(own, plan)
        for table, chain in _on_path(ruleset, own):
            for rule in chain.rules:
                cause = Cause(table.name, chain.name, rule, family=ruleset.family)
                entries.append(known.entry(cause, ruleset.family.value, rule))
            if chain.policy == "DROP":
                cause = Cause(table.name, chain.name, policy=chain, family=ruleset.family)
                entries.append(known.entry(cause, ruleset.family.value, None))
    assumed = _assumptions(rulesets, host)
    return Report(
        tuple(entries), assumed, plan.cut, kept, lifted, engines=plan.described, limits=limits(plan)
    )


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
