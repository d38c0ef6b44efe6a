"""What a walk may forget: which connection state holds, once no rule ahead asks for it."""

from __future__ import annotations

from itertools import accumulate

from ..matches.lower_state import asks_new_or_invalid
from ..rules.model import Rule, Ruleset, Table
from .hookpath import Stop


class Foresight:
    """Of one hook path. Chains that call themselves are no concern: the walk leaves them to netfilter."""

    def __init__(self, ruleset: Ruleset, stops: tuple[Stop, ...]) -> None:
        self._tables = [self._table(ruleset, s) for s in stops]
        self._ahead: dict[tuple[str, str], list[bool]] = {}
        starts = [self._from(t, s.chain.name, 0) for t, s in zip(self._tables, stops, strict=True)]
        #: For each stop, whether a later one asks.
        self._later = [any(starts[at + 1 :]) for at in range(len(stops))]

    @staticmethod
    def _table(ruleset: Ruleset, stop: Stop) -> Table:
        table = ruleset.table(stop.table)
        assert table is not None  # a stop is made from a table that is there
        return table

    def asks(self, path: tuple[int, ...], chains: tuple[tuple[str, bool], ...]) -> bool:
        """Whether a packet at this position can meet a rule that tells NEW from INVALID."""
        stop, *places = path
        table = self._tables[stop]
        return self._later[stop] or any(
            self._from(table, name, at) for (name, _), at in zip(chains, places, strict=True)
        )

    def _from(self, table: Table, name: str, at: int) -> bool:
        """From rule `at` of the chain on, with the chains that are called there."""
        key = (table.name, name)
        if key not in self._ahead:
            chain = table.chain(name)
            self._ahead[key] = []  # while it is being made: a chain that calls itself
            own = [self._rule_asks(table, r) for r in chain.rules] if chain else []
            self._ahead[key] = [*accumulate(reversed(own), bool.__or__)][::-1]
        ahead = self._ahead[key]
        return at < len(ahead) and ahead[at]

    def _rule_asks(self, table: Table, rule: Rule) -> bool:
        if any(m.known and asks_new_or_invalid(m) for m in rule.matches):
            return True
        return rule.target is not None and self._from(table, rule.target.name, 0)
