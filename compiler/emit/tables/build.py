"""Decision lists of one family to tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ...decisions.model import Decision, DecisionList, Drop, Skip
from ...fields import FIELDS, Family
from ..outcome import PASS, Coder
from .answers import answers, small
from .classes import FieldClasses, Ints, field_classes
from .dimensions import group_rows, grouped, limits
from .model import (
    ANSWERS,
    CODE,
    SKIP,
    SLOT_AT,
    SPLIT,
    SPLIT_AT,
    SPLIT_FIELD_AT,
    Dimension,
    FamilyTables,
    FieldTable,
    Search,
    Tables,
    Words,
)  # fmt: skip
from .order import Order, in_words
from .owners import Owners, owners
from .pool import Pool, TooLarge
from .search import narrow_search, wide_search
from .vectors import Placed, place

#: A row has two levels of summaries at most, of 64 bits each.
MAX_WORDS = 64 * 64
#: One level, whose bits stand for up to 2 to this power words each, is quicker than two.
MAX_GRAIN = 2
#: Rounds of a look-up, at most. Instructions that the verifier may walk for all of them, of the million that
#: it has; how often it walks one round.
MAX_ROUNDS, VERIFIED, WALKS = 160, 600_000, 11
#: Fields up to this width are looked up in an array of all their values.
DIRECT_BITS = 16


def build(lists: Iterable[DecisionList], coder: Coder, most: int, halvings: int = 0) -> Tables:
    """Tables for all `lists`, in `most` bytes. `halvings`: of the verifier's work. Raises TooLarge."""
    lists = tuple(d for d in lists if d.decisions)
    try:
        pool, families = _families(lists, coder, most, MAX_GRAIN)
    except TooLarge as e:
        if not e.grain:
            raise
        # Two levels keep less of a row that differs from the default.
        pool, families = _families(lists, coder, most, 0)
    calls = sum(1 + any(k.no_entry for k, _, _ in f.starts) for f in families)
    bounded = tuple(replace(f, rounds=_rounds(f, calls) >> halvings) for f in families)
    return Tables(pool.words(), bounded, tuple(pool.sections))


def _families(
    lists: Sequence[DecisionList], coder: Coder, most: int, grain: int
) -> tuple[Pool, list[FamilyTables]]:
    pool = Pool(_power_of_two_within(most // 8))
    families = []
    for family in Family:
        own = [d for d in lists if d.kind.family is family]
        if own:
            making = _Build(family, own, coder, pool, grain)
            try:
                families.append(making.run())
            except TooLarge as e:
                e.family = family
                e.grain = max([making.grain, *(f.grain for f in families)])
                raise
    return pool, families


def _rounds(family: FamilyTables, calls: int) -> int:
    """As many as the verifier, which walks each round some times, is sure to finish with."""
    more = (1 << family.grain) - 1  # words of a step beyond the first
    sparse = 95 if family.levels == 2 else 60
    round_ = 60 + more * (30 if family.skips else 10)
    round_ += sum((20 if d.dense else sparse) + more * 2 for d in family.dimensions)
    wanted = MAX_ROUNDS if family.levels == 2 or family.skips else 66
    return min(wanted, VERIFIED // (WALKS * round_ * calls))


def _power_of_two_within(words: int) -> int:
    return 1 << (words.bit_length() - 1) if words > 0 else 0


class _Build:
    def __init__(
        self, family: Family, lists: Sequence[DecisionList], coder: Coder, pool: Pool, most_grain: int
    ) -> None:
        self.family, self.lists, self.coder, self.pool = family, lists, coder, pool
        self.most_grain, self.grain = most_grain, 0
        self.decisions: list[Decision] = []
        for item in lists:
            base = len(self.decisions)
            self.decisions += (
                replace(d, then=Skip(d.then.to + base)) if isinstance(d.then, Skip) else d
                for d in item.decisions
            )
        #: A skip to the end of its list passes; the end is where the next list begins.
        self.ends = set(np.cumsum([len(d.decisions) for d in lists]).tolist())
        names = {name for d in self.decisions for name in d.when.fields}
        names |= {d.split_field for d in self.decisions if d.split_field}
        self.fields = tuple(sorted(names))
        self.owners: dict[str, Owners] = {}
        self.searches: list[Search] = []
        self.split_fields: set[int] = set()

    def run(self) -> FamilyTables:
        pool, count = self.pool, len(self.decisions)
        classes = [
            field_classes(name, self.decisions, (1 << FIELDS[name].width(self.family)) - 1)
            for name in self.fields
        ]
        # Without any field there is still a row: one class, in which everything holds.
        groups = grouped(classes, count // 64) or [[field_classes("proto", self.decisions, 255)]]
        owned = [(c, owners(c, self.decisions, self.coder.slots)) for c in classes if not self._is_direct(c)]
        self.owners = {c.name: o for c, o in owned if o is not None}
        skips = sum(isinstance(d.then, Skip) for d in self.decisions)
        alone = len(groups) == 1 and small(math.prod(c.classes for c in groups[0]), count // 64 + 3, skips)
        limited = np.zeros(count, np.int64) if alone else limits(groups, count)
        order, places, levels = self._order(limited)
        since = pool.used
        outcomes, info = self._outcomes(order)
        if alone:
            dimensions, at, places = self._alone(groups[0], order, outcomes, places)
            self.grain, levels, info_at = 0, ANSWERS, -1
        else:
            both = np.stack([outcomes, info], axis=1)  # what is asked for a hit is in one place
            at = pool.add(both if order.moved else outcomes)
            info_at = at + 1 if order.moved else -1
            pool.section(f"{self.family.value}: what each of {count} decisions answers", since)
            dimensions = tuple(self._dimension(g, order, levels) for g in groups)
        return FamilyTables(
            self.family,
            levels,
            self.grain,
            -(-order.words // 64),
            dimensions,
            at,
            info_at,
            tuple((d.kind, *p) for d, p in zip(self.lists, places, strict=True)),
            self.fields,
            tuple(self.searches),
            tuple(sorted(self.split_fields)),
            skips > 0,
            count,
        )

    def _order(self, limited: Ints) -> tuple[Order, list[tuple[int, int]], int]:
        """With it come the places of the lists and how many levels of summaries there are."""
        targets = frozenset(d.then.to for d in self.decisions if isinstance(d.then, Skip)) - self.ends
        counts = [len(d.decisions) for d in self.lists]
        for grain in range(self.most_grain + 1):
            order, places = in_words(counts, targets, limited, 1 << grain)
            if order.words <= 64 << grain:
                self.grain = grain
                return order, places, 0 if order.words <= 1 else 1
        order, places = in_words(counts, targets, limited)
        if order.words > MAX_WORDS:
            raise TooLarge(self.pool.most * order.words // MAX_WORDS)
        return order, places, 2

    # -- fields to rows --------------------------------------------------------------------------

    def _dimension(self, group: Sequence[FieldClasses], order: Order, levels: int) -> Dimension:
        pool = self.pool
        rows, combinations = group_rows(group, order, len(self.decisions), pool)
        since = pool.used
        placed = place(rows, levels, self.grain, pool)
        shape = "whole rows" if placed.dense else "what differs from the default row"
        pool.section(f"{self._names(group)}: {rows.classes} rows, {shape}", since)
        return self._looked_up(group, combinations, placed)

    def _alone(
        self, group: Sequence[FieldClasses], order: Order, outcomes: Words, places: list[tuple[int, int]]
    ) -> tuple[tuple[Dimension, ...], int, list[tuple[int, int]]]:
        """The only dimension: rows of outcomes, and of each list which of them is its own."""
        rows, combinations = group_rows(group, order, len(self.decisions), self.pool)
        since = self.pool.used
        table, number = answers(rows, places, outcomes)
        at = self.pool.add(table)
        self.pool.section(f"{self._names(group)}: what {rows.classes} classes answer", since)
        row = np.uint64(at) + np.arange(rows.classes, dtype=np.uint64) * np.uint64(table.shape[1])
        placed = Placed(row, True, 0, 0)
        return (self._looked_up(group, combinations, placed),), at, [(n, 0) for n in number]

    def _names(self, group: Sequence[FieldClasses]) -> str:
        return f"{self.family.value} {' and '.join(f.name for f in group)}"

    def _looked_up(
        self, group: Sequence[FieldClasses], combinations: Ints | None, placed: Placed
    ) -> Dimension:
        """The fields to the rows that `placed` has for each class, or for each of their `combinations`."""
        pool, rows = self.pool, placed.row.size
        if len(group) == 1 and not self._is_direct(group[0]):
            table = self._field(group[0], placed.row)
            return Dimension((table,), -1, placed.dense, placed.default, placed.default_blocks, rows)
        since = pool.used
        which = np.arange(rows) if combinations is None else combinations
        combined = pool.add(placed.row[which])
        pool.section(f"{self._names(group)}: {which.size} combinations to rows", since)
        tables, stride = [], which.size
        for field in group:
            stride //= field.classes
            numbers = np.arange(field.classes, dtype=np.uint64) * np.uint64(stride)
            tables.append(self._field(field, numbers))
        return Dimension(tuple(tables), combined, placed.dense, placed.default, placed.default_blocks, rows)

    def _is_direct(self, field: FieldClasses) -> bool:
        return FIELDS[field.name].width(self.family) <= DIRECT_BITS

    def _field(self, field: FieldClasses, number: Words) -> FieldTable:
        """`number`: what is looked up for each class."""
        owned = self.owners.get(field.name)
        since = self.pool.used
        entries = number[field.class_of]
        if self._is_direct(field):
            direct, search = self._direct(field, entries), None
            role = "value to class"
        else:
            if owned is not None:
                entries = entries | owned.slots << np.uint64(SLOT_AT)
            direct, search = -1, self._search(field.name, field.starts, entries, hashed=True)
            role = "value to class" + (" and rule" if owned is not None else "")
        role = f"{self.family.value} {field.name}: {role}, {len(field.starts)} intervals"
        self.pool.section(f"{role} in {field.classes} classes", since)
        slots = owned is not None and bool(owned.told)
        return FieldTable(field.name, direct, search, slots, field.classes, len(field.starts))

    def _direct(self, field: FieldClasses, entries: Words) -> int:
        bits = FIELDS[field.name].width(self.family)
        ends = [*field.starts[1:], 1 << bits]
        lengths = np.array(ends, np.int64) - np.array(field.starts, np.int64)
        return self.pool.add_direct(np.repeat(entries.astype(np.uint16), lengths))

    def _search(self, name: str, starts: list[int], entries: Words, hashed: bool = False) -> Search:
        search = wide_search if FIELDS[name].width(self.family) > 64 else narrow_search
        return search(self.pool, starts, entries, hashed)

    # -- decisions to outcomes -------------------------------------------------------------------

    def _outcomes(self, order: Order) -> tuple[Words, Words]:
        outcomes = np.zeros(order.words * 64, np.uint64)
        for number, at in enumerate(order.position.tolist()):
            outcomes[at] = self._outcome(number, order)
        info = np.zeros(order.words * 64, np.uint64)
        numbers = np.arange(len(self.decisions), dtype=np.uint64)
        following = (order.next_word >> self.grain << 1 | order.last).astype(np.uint64)
        info[order.position] = numbers << np.uint64(32) | following
        return outcomes, info

    def _outcome(self, number: int, order: Order) -> int:
        decision = self.decisions[number]
        then = decision.then
        if isinstance(then, Skip):
            if then.to in self.ends:
                return CODE << 62 | PASS
            return SKIP << 62 | int(order.begin[then.to])
        if not isinstance(then, Drop):
            return CODE << 62 | PASS
        if not decision.split:
            return CODE << 62 | self.coder.code(then)
        field = self.fields.index(decision.split_field)
        owned = self.owners.get(decision.split_field)
        own = 0
        if owned is None or number not in owned.told:
            own = self._own_search(decision)
            self.split_fields.add(field)
        return SPLIT << 62 | field << SPLIT_FIELD_AT | own << SPLIT_AT | self.coder.flags(then)

    def _own_search(self, decision: Decision) -> int:
        """The word with the entry of a search from the split's field to the code."""
        assert isinstance(decision.then, Drop)
        starts, codes = [0], [PASS]
        for lo, hi, cause in decision.split:
            if starts[-1] == lo:
                starts.pop()
                codes.pop()
            starts += [lo, hi + 1]
            codes += [self.coder.code(decision.then, cause), PASS]
        top = (1 << FIELDS[decision.split_field].width(self.family)) - 1
        if starts[-1] == top + 1:
            starts.pop()
            codes.pop()
        since = self.pool.used
        search = self._search(decision.split_field, starts, np.array(codes, np.uint64))
        self.searches.append(search)
        at = self.pool.add(np.array([search.entry], np.uint64))
        self.pool.section(
            f"{self.family.value} {decision.split_field}: {len(decision.split)} intervals to rules", since
        )
        return at
