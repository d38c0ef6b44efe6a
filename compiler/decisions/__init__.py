"""Rules and host to decision lists: one list for each kind of packet."""

from __future__ import annotations

from ..host.facts import HostFacts
from ..host.finding import Finding
from ..host.findings import findings
from ..matches.view import Kind
from ..progress import Progress, silent
from ..rules.model import Ruleset
from .budget import NO_BUDGETS, Budgets, allowances
from .hookpath import hook_path
from .model import DecisionList
from .walk import Walk

__all__ = ["decide"]


def decide(
    rulesets: tuple[Ruleset, ...],
    host: HostFacts,
    kept: tuple[Finding, ...] | None = None,
    progress: Progress = silent,
    budgets: Budgets = NO_BUDGETS,
) -> tuple[DecisionList, ...]:
    """At most one ruleset a family. A kind without rules has an empty list: it passes.

    `kept`: the host's findings that nobody lifted; all of them by default."""
    kept = findings(host) if kept is None else kept
    lists = []
    for at, kind in enumerate(Kind):
        progress("deciding", at, len(Kind))
        ruleset = next((r for r in rulesets if r.family is kind.family), None)
        if ruleset is None:
            lists.append(DecisionList(kind, ()))
        else:
            stops = hook_path(ruleset, rulesets, host, kind, kept)
            lists.append(Walk(ruleset, stops, kind, allowances(budgets, host, kind)).run())
    return tuple(lists)
