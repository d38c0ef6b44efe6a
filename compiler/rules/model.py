"""The rules of one iptables-save dump: immutable, typed, each with its place in the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from ..fields import Family
from ..source import Span

UNKNOWN = "?"  # the name of the match that holds options which nothing loaded has
UNSUPPORTED = "[unsupported revision]"  # iptables-save of a kernel newer than itself


class Variant(StrEnum):
    """Which iptables holds the rules. The two differ in places (docs/semantics.md)."""

    LEGACY = "legacy"
    NFT = "nft"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Word:
    """One argument, unquoted, with its place."""

    text: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Option:
    """`[!] --name word...`, typed by the match table.

    `name` is canonical ("--dport", "-s"); `value` is what the table's parser made of the words
    (an IntervalSet, an int, a str, ...), or None where the table keeps the words as they are.
    Equality is over meaning: two spellings of one value are equal where `value` says all.
    """

    name: str
    negated: bool = False
    value: Any = None
    words: tuple[Word, ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Match:
    """One `-m name` with its options, in stored order. `name` "ip" is the rule's own header part
    (-s -d -p -i -o -f), always first. `known` is False for a match that the table does not have."""

    name: str
    options: tuple[Option, ...] = ()
    known: bool = True
    span: Span | None = field(default=None, compare=False, repr=False)

    def option(self, name: str) -> Option | None:
        return next((o for o in self.options if o.name == name), None)


@dataclass(frozen=True, slots=True)
class Target:
    """`-j name` or `-g chain` with the target's own options."""

    name: str
    options: tuple[Option, ...] = ()
    goto: bool = False
    known: bool = True  # in the target table, or a user chain
    span: Span | None = field(default=None, compare=False, repr=False)

    def option(self, name: str) -> Option | None:
        return next((o for o in self.options if o.name == name), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """`matches[0]` is the header part ("ip"), then the `-m` matches as stored. `number` is the
    1-based place in the chain; `target` None: the rule only counts."""

    table: str
    chain: str
    number: int
    matches: tuple[Match, ...]
    target: Target | None
    counters: tuple[int, int] | None = field(default=None, compare=False)
    span: Span = field(kw_only=True, compare=False, repr=False)

    def __hash__(self) -> int:
        """By place: rules are asked for often, and a hash of all they hold costs as much as reading them."""
        return hash((self.table, self.chain, self.number))

    @property
    def text(self) -> str:
        """The rule as written, without counters or line end."""
        return self.span.text

    @property
    def line(self) -> int:
        return self.span.line

    @property
    def place(self) -> str:
        return self.span.place


@dataclass(frozen=True, slots=True)
class Chain:
    """`policy` is "ACCEPT", "DROP" for a base chain; None for a user chain."""

    name: str
    policy: str | None
    rules: tuple[Rule, ...] = ()
    counters: tuple[int, int] | None = field(default=None, compare=False)
    span: Span | None = field(default=None, compare=False, repr=False)  # of the `:NAME POLICY` line

    def __hash__(self) -> int:
        """Not of the rules: there may be 100,000."""
        return hash((self.name, self.policy))


@dataclass(frozen=True)
class Table:
    name: str
    chains: tuple[Chain, ...]
    span: Span | None = field(default=None, compare=False, repr=False)

    @cached_property
    def _by_name(self) -> dict[str, Chain]:
        return {c.name: c for c in reversed(self.chains)}

    def chain(self, name: str) -> Chain | None:
        return self._by_name.get(name)

    def rules(self) -> Iterator[Rule]:
        for chain in self.chains:
            yield from chain.rules


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All tables of one family, of one dump."""

    family: Family
    variant: Variant
    tables: tuple[Table, ...]

    def table(self, name: str) -> Table | None:
        return next((t for t in self.tables if t.name == name), None)

    def rules(self) -> Iterator[Rule]:
        for table in self.tables:
            yield from table.rules()


BUILTIN_CHAINS: dict[str, tuple[str, ...]] = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
