"""Interval sets against sets of integers."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from xdptables.intervals import IntervalSet

BITS = 5
PAIRS = st.lists(st.tuples(st.integers(0, 31), st.integers(0, 31)), max_size=4)


def members(s: IntervalSet) -> set[int]:
    pairs = s.pairs
    assert all(lo <= hi for lo, hi in pairs)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(pairs))
    return {v for lo, hi in pairs for v in range(lo, hi + 1)}


@given(PAIRS, PAIRS)
def test_operations(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    a, b = IntervalSet.union_of(one), IntervalSet.union_of(other)
    x, y = members(a), members(b)
    assert x == {v for lo, hi in one for v in range(lo, hi + 1)}
    assert members(a & b) == x & y
    assert members(a | b) == x | y
    assert members(a - b) == x - y
    assert members(a.complement(BITS)) == set(range(32)) - x
    assert (a <= b) == (x <= y)
    assert bool(a) == bool(x) and a.size == len(x)
    assert all((v in a) == (v in x) for v in range(32))


@given(st.integers(0, 31), st.integers(0, 31))
def test_masks(value: int, mask: int) -> None:
    assert members(IntervalSet.masked(value, mask, BITS)) == {v for v in range(32) if v & mask == value}
