"""Rules and host to decision lists: one list for each kind of packet."""

from __future__ import annotations

from ..host.facts import HostFacts
from ..matches.view import Kind
from ..rules.model import Ruleset
from .hookpath import hook_path
from .model import DecisionList
from .walk import Walk

__all__ = ["decide"]


def decide(rulesets: tuple[Ruleset, ...], host: HostFacts) -> tuple[DecisionList, ...]:
    """At most one ruleset a family. A kind without rules has an empty list: it passes."""
    lists = []
    for kind in Kind:
        ruleset = next((r for r in rulesets if r.family is kind.family), None)
        if ruleset is None:
            lists.append(DecisionList(kind, ()))
        else:
            lists.append(Walk(ruleset, hook_path(ruleset, rulesets, host, kind), kind).run())
    return tuple(lists)
