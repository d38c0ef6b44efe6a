"""The look-up of templates/tables.c.j2 and search.c.j2 in Python, over the same words: for tests, and where
no kernel is at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...fields import FIELDS
from ...matches.view import Kind
from ..outcome import PASS
from .model import (
    ANSWERS,
    HASH_HIGH,
    HASH_LOW,
    HASH_SEEDED,
    LEAF,
    LOW_HALF,
    NODE,
    SKIP,
    SLOT_AT,
    SLOT_BITS,
    SPLIT,
    SPLIT_AT,
    SPLIT_FIELD_AT,
    Dimension,
    FamilyTables,
    Points,
    Search,
    Tables,
)  # fmt: skip

HALF = (1 << 64) - 1
LOW = (1 << 32) - 1


def evaluate(tables: Tables, kind: Kind, packet: Mapping[str, int]) -> int:
    """What the program's classifier for `kind` returns; fields that `packet` lacks are 0."""
    family = tables.family(kind.family)
    if family is None or not any(k is kind for k, _, _ in family.starts):
        return PASS
    return _Lookup(tables, family, packet).run(*family.start(kind))


class _Lookup:
    def __init__(self, tables: Tables, family: FamilyTables, packet: Mapping[str, int]) -> None:
        self.words, self.family, self.packet = tables.words, family, packet
        self.slots: dict[str, int] = {}
        self.rows = [self._row(d) for d in family.dimensions]

    def word(self, at: int) -> int:
        return int(self.words[at])

    def _direct(self, at: int, index: int) -> int:
        """Of an array of 16-bit numbers."""
        return self.word(at + (index >> 2)) >> (index & 3) * 16 & 0xFFFF

    # -- field to row ----------------------------------------------------------------------------

    def _row(self, dimension: Dimension) -> int:
        total = 0
        for field in dimension.fields:
            value = self.packet.get(field.name, 0)
            if field.search is None:
                total += self._direct(field.direct, value)
                continue
            result = self._search(field.search, value, field.name)
            total += result & LOW
            self.slots[field.name] = result >> SLOT_AT & (1 << SLOT_BITS) - 1 if field.slots else 0
        return total if dimension.combined < 0 else self.word(dimension.combined + total)

    def _search(self, search: Search, value: int, name: str) -> int:
        if search.points is not None:
            result = self._point(search.points, value, FIELDS[name].width(self.family.family) > 64)
            if result is not None:
                return result
        return self._find(search.entry, value, name)

    def _point(self, points: Points, value: int, wide: bool) -> int | None:
        hashed = value * HASH_LOW & HALF
        if wide:
            hashed = (value >> 64) * HASH_HIGH + (value & HALF) * HASH_LOW & HALF
        number = hashed >> (64 - points.bits)
        seed = self._direct(points.seeds, number)
        slot = ((hashed ^ hashed >> 32 ^ seed) * HASH_SEEDED & HALF) >> (64 - points.slot_bits)
        at = points.slots + slot * (3 if wide else 2)
        key = self.word(at) << 64 | self.word(at + 1) if wide else self.word(at)
        return self.word(at + (2 if wide else 1)) if key == value else None

    def _find(self, entry: int, value: int, name: str) -> int:
        if FIELDS[name].width(self.family.family) <= 64:
            return self._walk(entry, value)
        entry = self._walk(entry, value >> 64)
        return self._walk(entry & ~LOW_HALF, value & HALF) if entry & LOW_HALF else entry

    def _walk(self, entry: int, value: int) -> int:
        """To a result, or to an entry for the low half."""
        while entry >> 61 == NODE:
            at = entry & LOW
            head = self.word(at + 1)
            index = (value - self.word(at) & HALF) >> (head & 63)
            entry = self.word(at + 2 + min(index, head >> 8))
        if entry >> 61 == LEAF:
            at, half, place = entry & LOW, 1 << (entry >> 32 & 31) >> 1, 0
            n = half << 1 or 1
            while half:
                if self.word(at + place + half - 1) <= value:
                    place += half
                half >>= 1
            entry = self.word(at + n - 1 + place)
        return entry

    # -- rows to decision ------------------------------------------------------------------------

    def run(self, at: int, end: int) -> int:
        """The first decision from position `at` on, before word `end`."""
        family = self.family
        if family.levels == ANSWERS:
            return self._answer(self.word(self.rows[0] + at))
        step = 1 << family.grain
        begin, blocks = at >> 6, self._blocks(at >> 12, end)
        block, words, best, hit = 0, 0, HALF, -1
        for _ in range(family.rounds):
            if not words and blocks:
                block = (blocks & -blocks).bit_length() - 1
                blocks &= blocks - 1
                words = self._summary(block)
                first, last_ = begin // step, end // step
                if block == first >> 6:
                    words &= HALF << (first & 63) & HALF
                if block == last_ >> 6:
                    words &= (1 << (last_ & 63)) - 1
            if words:
                w = (words & -words).bit_length() - 1
                words &= words - 1
                place = self._first((block * 64 + w) * step, step, at)
                if place >= 0 and family.order < 0:
                    hit, words, blocks = place, 0, 0
                elif place >= 0:
                    info = self.word(family.order + place * 2)
                    if info >> 32 < best:
                        best, hit = info >> 32, place
                    follows = info >> 1 & 0x7FFFFFFF
                    if info & 1:
                        words, blocks = 0, 0
                    elif follows >> 6 == block:
                        words &= HALF << (follows & 63)
                    else:
                        blocks, words = self._blocks(follows >> 6, end), 0
            if words or blocks:
                continue
            if hit < 0:
                return PASS
            outcome = self.word(family.outcomes + (hit * 2 if family.order >= 0 else hit))
            if outcome >> 62 != SKIP:
                return self._answer(outcome)
            at = outcome & LOW
            begin, blocks = at >> 6, self._blocks(at >> 12, end)
            words, best, hit = 0, HALF, -1
        return PASS

    def _first(self, word: int, count: int, at: int) -> int:
        """The first position from `at` on that all rows have, of `count` words from `word` on; -1: none."""
        for each in range(word, word + count):
            bits = self._bits(each)
            if each <= at >> 6:
                bits &= HALF << (at & 63) if each == at >> 6 else 0
            if bits:
                return each * 64 + (bits & -bits).bit_length() - 1
        return -1

    def _blocks(self, first: int, end: int) -> int:
        """Blocks from `first` on which all rows have something in."""
        if self.family.levels < 2:
            return 1
        out = HALF << first & (1 << (end + 63 >> 6)) - 1
        for row in self.rows:
            out &= self.word(row)
        return out

    def _summary(self, block: int) -> int:
        if self.family.levels == 0:
            return 1
        return self._all(lambda d, row: self.word(self._node(d, row, block)))

    def _bits(self, word: int) -> int:
        return self._all(lambda d, row: self._bits_of(d, row, word))

    def _all(self, of: Callable[[Dimension, int], int]) -> int:
        out = HALF
        for dimension, row in zip(self.family.dimensions, self.rows, strict=True):
            out &= of(dimension, row)
        return out

    def _node(self, d: Dimension, row: int, block: int) -> int:
        """Where the summary of a block of a row stands."""
        if self.family.levels < 2:
            return row
        if d.dense:
            return row + 1 + block
        return self.word(self._kept(row, block, d.default_blocks + block))

    def _bits_of(self, d: Dimension, row: int, word: int) -> int:
        if self.family.levels == 0:
            return self.word(row)
        if d.dense:
            skip = 1 if self.family.levels == 1 else 1 + self.family.blocks
            return self.word(row + skip + word)
        if self.family.levels == 2:
            return self.word(self._kept(self._node(d, row, word >> 6), word & 63, d.default + word))
        grain = self.family.grain
        step = word >> grain
        return self.word(self._kept(row, step, d.default + (step << grain), grain) + word - (step << grain))

    def _kept(self, node: int, bit: int, otherwise: int, grain: int = 0) -> int:
        """Where the value of a bit stands, of 2 ** grain words."""
        kept = self.word(node + 1)
        return node + 2 + ((kept & (1 << bit) - 1).bit_count() << grain) if kept >> bit & 1 else otherwise

    # -- decision to code ------------------------------------------------------------------------

    def _answer(self, outcome: int) -> int:
        if outcome >> 62 != SPLIT:
            return outcome & LOW
        name = self.family.fields[outcome >> SPLIT_FIELD_AT & 31]
        slot = self.slots.get(name, 0)
        if slot:
            return outcome & LOW | slot
        own = outcome >> SPLIT_AT & (1 << SLOT_BITS) - 1
        return self._find(self.word(own), self.packet.get(name, 0), name) & LOW if own else PASS
