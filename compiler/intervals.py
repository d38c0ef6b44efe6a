"""Sets of unsigned integers as sorted, disjoint, non-adjacent closed intervals.

The one shape of a field's predicate: prefixes, masks, ranges, lists and negations are all
interval sets, so nothing after parsing has to know how a rule spelled them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from operator import itemgetter

Interval = tuple[int, int]  # closed: both ends belong to it
_LO, _HI = itemgetter(0), itemgetter(1)


class TooManyIntervals(Exception):
    """A mask with holes would need more intervals than is sensible; callers fall back to 'maybe'."""


@dataclass(frozen=True, slots=True)
class IntervalSet:
    """Immutable. Invariant: lo <= hi in each pair, and hi + 1 < the next lo."""

    pairs: tuple[Interval, ...] = ()

    @staticmethod
    def of(*values: int) -> IntervalSet:
        return IntervalSet.union_of((v, v) for v in values)

    @staticmethod
    def range(lo: int, hi: int) -> IntervalSet:
        return IntervalSet(((lo, hi),)) if lo <= hi else IntervalSet()

    @staticmethod
    @cache
    def full(bits: int) -> IntervalSet:
        return IntervalSet(((0, (1 << bits) - 1),))

    @staticmethod
    def union_of(pairs: Iterable[Interval]) -> IntervalSet:
        """Any pairs, in any order, overlapping or not; empty ones (lo > hi) are ignored."""
        found = sorted([p for p in pairs if p[0] <= p[1]])
        if len(found) < 2:
            return IntervalSet(tuple(found))
        merged: list[Interval] = []
        for lo, hi in found:
            if merged and lo <= merged[-1][1] + 1:
                if hi > merged[-1][1]:
                    merged[-1] = (merged[-1][0], hi)
            else:
                merged.append((lo, hi))
        return IntervalSet(tuple(merged))

    @staticmethod
    def masked(value: int, mask: int, bits: int, limit: int = 4096) -> IntervalSet:
        """All x of `bits` bits with x & mask == value; `value` with bits outside `mask` gives none.

        The low bits that the mask leaves free make one interval; each free bit above them
        doubles their number. Raises TooManyIntervals past `limit`.
        """
        top = (1 << bits) - 1
        mask &= top
        if value & ~mask & top or value > top:
            return IntervalSet()
        free = ~mask & top
        low = free & ~(free + 1)  # the run of ones at the bottom of `free`
        if low == free:  # a prefix, as nearly always
            return IntervalSet(((value, value | low),))
        holes = [1 << b for b in range_of_bits(free & ~low)]
        if 1 << len(holes) > limit:
            raise TooManyIntervals(f"{1 << len(holes)} intervals")
        starts = [value]
        for bit in holes:
            starts += [s | bit for s in starts]
        return IntervalSet.union_of((s, s | low) for s in starts)

    @staticmethod
    def prefix(value: int, length: int, bits: int) -> IntervalSet:
        host = (1 << (bits - length)) - 1
        return IntervalSet(((value & ~host, value | host),))

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __iter__(self) -> Iterator[Interval]:
        return iter(self.pairs)

    def __contains__(self, value: int) -> bool:
        at = bisect_right(self.pairs, value, key=_LO) - 1
        return at >= 0 and value <= self.pairs[at][1]

    def __or__(self, other: IntervalSet) -> IntervalSet:
        return IntervalSet.union_of(self.pairs + other.pairs)

    def __and__(self, other: IntervalSet) -> IntervalSet:
        if len(other.pairs) == 1:
            return self._within(*other.pairs[0])
        if len(self.pairs) == 1:
            return other._within(*self.pairs[0])
        out: list[Interval] = []
        i = j = 0
        while i < len(self.pairs) and j < len(other.pairs):
            (alo, ahi), (blo, bhi) = self.pairs[i], other.pairs[j]
            if max(alo, blo) <= min(ahi, bhi):
                out.append((max(alo, blo), min(ahi, bhi)))
            if ahi < bhi:
                i += 1
            else:
                j += 1
        return IntervalSet(tuple(out))

    def __sub__(self, other: IntervalSet) -> IntervalSet:
        if not self.pairs or not other.pairs:
            return self
        if len(other.pairs) == 1:
            return self._without(*other.pairs[0])
        return self & other.complement(max(self.pairs[-1][1], other.pairs[-1][1]).bit_length())

    def _touched(self, lo: int, hi: int) -> tuple[int, int]:
        """The places (first, behind the last) of the pairs that share a value with lo..hi."""
        first = bisect_left(self.pairs, lo, key=_HI)
        return first, bisect_right(self.pairs, hi, lo=first, key=_LO)

    def _within(self, lo: int, hi: int) -> IntervalSet:
        """In the time of a search, but for the copy of what stays."""
        first, end = self._touched(lo, hi)
        inside = self.pairs[first:end]
        if not inside:
            return EMPTY
        if inside[0][0] >= lo and inside[-1][1] <= hi:
            return self if len(inside) == len(self.pairs) else IntervalSet(inside)
        return IntervalSet(tuple((max(a, lo), min(b, hi)) for a, b in inside))

    def _without(self, lo: int, hi: int) -> IntervalSet:
        first, end = self._touched(lo, hi)
        if first == end:
            return self
        before, behind = self.pairs[first][0], self.pairs[end - 1][1]
        left = ((before, lo - 1),) if before < lo else ()
        right = ((hi + 1, behind),) if hi < behind else ()
        return IntervalSet((*self.pairs[:first], *left, *right, *self.pairs[end:]))

    def __le__(self, other: IntervalSet) -> bool:
        """Subset."""
        return all(any_holds(other, lo, hi) for lo, hi in self.pairs)

    def complement(self, bits: int) -> IntervalSet:
        out: list[Interval] = []
        nxt = 0
        for lo, hi in self.pairs:
            if nxt < lo:
                out.append((nxt, lo - 1))
            nxt = hi + 1
        if nxt <= (1 << bits) - 1:
            out.append((nxt, (1 << bits) - 1))
        return IntervalSet(tuple(out))

    def is_full(self, bits: int) -> bool:
        return self.pairs == ((0, (1 << bits) - 1),)

    @property
    def size(self) -> int:
        """How many integers are in the set."""
        return sum(hi - lo + 1 for lo, hi in self.pairs)


EMPTY = IntervalSet()


def any_holds(s: IntervalSet, lo: int, hi: int) -> bool:
    """Whether one interval of `s` holds all of lo..hi."""
    at = bisect_right(s.pairs, lo, key=_LO) - 1
    return at >= 0 and hi <= s.pairs[at][1]


def range_of_bits(value: int) -> list[int]:
    """The positions of the set bits, lowest first."""
    return [b for b in range(value.bit_length()) if value >> b & 1]
