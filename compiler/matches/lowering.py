"""One match to its condition, by the match table."""

from __future__ import annotations

from collections.abc import Iterable

from ..rules.model import Match, Rule
from . import lower
from .condition import YES, Condition
from .table import MATCHES
from .view import View


def facts_read(rules: Iterable[Rule]) -> frozenset[str]:
    """The host facts that the rules' matches are compiled from."""
    names = {m.name for rule in rules for m in rule.matches}
    return frozenset(fact for name in names & MATCHES.keys() for fact in MATCHES[name].facts)


def lower_match(match: Match, view: View) -> Condition:
    """The table's own function, else the conjunction of its options' fields, else maybe."""
    spec = MATCHES[match.name]
    if spec.lower is not None:
        return spec.lower(match, view)
    if spec.maybe_because:
        return Condition.maybe(f"-m {match.name}: {spec.maybe_because}")
    fields = {o.names[0]: o.field for o in spec.options}
    result = YES
    for option in match.options:
        name = fields.get(option.name)
        if name is None:
            result &= Condition.maybe(f"{option.name} is not read")
        else:
            result &= lower.field_test(option, name, view)
    return result
