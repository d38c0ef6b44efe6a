"""What a walk may forget: which connection state holds, once no rule ahead asks for it."""

from __future__ import annotations

from itertools import accumulate

from ..matches.lower_state import asks_new_or_invalid
from ..rules.model import Rule, Ruleset, Table
from .hookpath import Stop


class Foresight:
    """Of one hook path."""

    def __init__(self, ruleset: Ruleset, stops: tuple[Stop, ...]) -> None:
        self._tables = [self._table(ruleset, s) for s in stops]
        self._asking = {t.name: _asking(t) for t in self._tables}
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
            chain, asking = table.chain(name), self._asking[table.name]
            own = [_asks(r) or _called(r) in asking for r in chain.rules] if chain else []
            self._ahead[key] = [*accumulate(reversed(own), bool.__or__)][::-1]
        ahead = self._ahead[key]
        return at < len(ahead) and ahead[at]


def _asks(rule: Rule) -> bool:
    return any(m.known and asks_new_or_invalid(m) for m in rule.matches)


def _called(rule: Rule) -> str:
    return rule.target.name if rule.target else ""


def _asking(table: Table) -> set[str]:
    """The chains from which such a rule can be met: those that hold one, and those that call these."""
    callers: dict[str, list[str]] = {}
    for rule in table.rules():
        callers.setdefault(_called(rule), []).append(rule.chain)
    todo = [rule.chain for rule in table.rules() if _asks(rule)]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += callers.get(name, ())
    return found
