"""Value to result by an array of buckets and a short binary search among the bounds inside a bucket.

The shape of DXR (Zec, Rizzo, Mikuc: "DXR: towards a billion routing lookups per second in software",
2012), with the width of the buckets taken from the bounds: a node is an array over the span of its
bounds, a bucket with many bounds inside is a node again. A 128-bit value is searched by its high half,
and by its low half only where bounds share one high half. What is a list of points but for little is
looked up in a hash first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import points
from .classes import Ints
from .model import LEAF, LOW_HALF, NODE, Points, Search, Words
from .pool import LINE, Pool

#: A bucket with more bounds than this becomes a node of its own, down to so many nodes.
LEAF_BOUNDS = 8
MAX_NODES = 3
#: Buckets of a node: up to 2 to this power.
MAX_STRIDE = 16
LAST = (1 << 64) - 1
#: Stands for "no further bound" in narrow searches, whose comparison is a subtraction's sign.
NARROW_LAST = (1 << 62) - 1


@dataclass(slots=True)
class _Depth:
    nodes: int = 0
    steps: int = 0


class _Builder:
    """Over one sequence of intervals: `starts` rises, `entries[i]` is the answer from starts[i] on."""

    def __init__(self, pool: Pool, starts: Words, entries: Words, last: int) -> None:
        self.pool, self.starts, self.entries = pool, starts, entries
        self.last = np.uint64(last)
        self.depth = _Depth()

    def entry(self, first: int, end: int, floor: int, level: int = 0) -> int:
        """The answer where bounds `first` to `end` - 1 are inside; `floor` is below all of them."""
        if first == end:
            return int(self.entries[first - 1])
        if end - first <= LEAF_BOUNDS or level == MAX_NODES:
            return int(self.leaves(np.array([first]), np.array([end]))[0])
        return self._node(first, end, floor, level)

    def _node(self, first: int, end: int, floor: int, level: int) -> int:
        self.depth.nodes = max(self.depth.nodes, level + 1)
        bounds = self.starts[first:end]
        # Outside of the span there is one answer only where the first and the last interval agree.
        same = self.entries[first - 1] == self.entries[end - 1]
        low, high = int(bounds[0]) if same else floor, int(bounds[-1])
        stride = min(MAX_STRIDE, (end - first).bit_length() + 1)
        shift = max(0, (high - low).bit_length() - stride)
        low = low >> shift << shift if same else low
        buckets = ((high - low) >> shift) + 1
        at = (bounds - np.uint64(low)) >> np.uint64(shift)
        number = np.arange(buckets, dtype=np.uint64)
        lower = np.searchsorted(at, number, "left")
        # A bound at the very start of a bucket is not inside of it.
        on_edge = np.append(bounds, self.last)[lower] == np.uint64(low) + (number << np.uint64(shift))
        inner = first + lower + on_edge
        upper = first + np.searchsorted(at, number, "right")
        out = self.entries[inner - 1].copy()
        counts = upper - inner
        light = np.flatnonzero((counts > 0) & ((counts <= LEAF_BOUNDS) | (level + 1 == MAX_NODES)))
        out[light] = self.leaves(inner[light], upper[light])
        for b in np.flatnonzero((counts > LEAF_BOUNDS) & (level + 1 < MAX_NODES)):
            out[b] = self._node(int(inner[b]), int(upper[b]), low + (int(b) << shift), level + 1)
        head = np.array([low, shift | buckets << 8], np.uint64)
        return NODE << 61 | self.pool.add(np.concatenate([head, out, self.entries[end - 1 : end]]))

    def leaves(self, first: Ints, end: Ints) -> Words:
        """A leaf for each pair: its bounds first[i] to end[i] - 1, padded to one less than a power of two,
        then the answers. A leaf that fits into a cache line is in one."""
        out = np.zeros(first.size, np.uint64)
        steps = np.ceil(np.log2((end - first) + 1)).astype(np.int64)
        for k in np.unique(steps):
            which = np.flatnonzero(steps == k)
            n = 1 << int(k)
            index = first[which, None] + np.arange(n - 1)
            inside = index < end[which, None]
            bounds = np.where(inside, self.starts[np.where(inside, index, 0)], self.last)
            answers = self.entries[np.minimum(first[which, None] - 1 + np.arange(n), end[which, None] - 1)]
            self.pool.align(min(2 * n, LINE))
            spare = np.zeros((which.size, 1), np.uint64)
            at = self.pool.add(np.concatenate([bounds, answers, spare], axis=1))
            out[which] = (
                np.uint64(LEAF << 61 | int(k) << 32)
                + np.uint64(at)
                + np.arange(which.size, dtype=np.uint64) * np.uint64(2 * n)
            )
            self.depth.steps = max(self.depth.steps, int(k))
        return out


def narrow_search(pool: Pool, starts: Sequence[int], entries: Words, hashed: bool = False) -> Search:
    """Of values up to 62 bits. starts[0] is 0. `hashed`: points may go into a hash."""
    array, kept = _compress(np.array(starts, np.uint64), entries)
    found, rest = _points(pool, None, array, kept) if hashed else (None, slice(None))
    array, kept = _compress(array[rest], kept[rest])
    builder = _Builder(pool, array, kept, NARROW_LAST)
    entry = builder.entry(1, array.size, 0)
    return Search(entry, builder.depth.nodes, builder.depth.steps, points=found)


def wide_search(pool: Pool, starts: Sequence[int], entries: Words, hashed: bool = False) -> Search:
    """Of 128-bit values."""
    raw = np.frombuffer(b"".join(s.to_bytes(16, "big") for s in starts), ">u8").reshape(-1, 2)
    both, kept = _compress(raw.astype(np.uint64), entries)
    found, rest = _points(pool, both[:, 0], both[:, 1], kept) if hashed else (None, slice(None))
    both, kept = _compress(both[rest], kept[rest])
    return replace(_halves(pool, both[:, 0].copy(), both[:, 1].copy(), kept), points=found)


def _points(
    pool: Pool, high: Words | None, low: Words, entries: Words
) -> tuple[Points | None, NDArray[np.bool_] | slice]:
    """The points, and which intervals are left."""
    apart = points.points(high, low, entries)
    if not apart.any():
        return None, slice(None)
    found = points.place(pool, None if high is None else high[apart], low[apart], entries[apart])
    return (found, slice(None)) if found is None else (found, ~apart)


def _halves(pool: Pool, high: Words, low: Words, kept: Words) -> Search:
    # Bounds inside one high half: the low half decides there.
    inside = np.flatnonzero(low != 0)
    shared, first_of, counts = np.unique(high[inside], return_index=True, return_counts=True)
    first = inside[first_of]
    end = first + counts
    lows = _Builder(pool, low, kept, LAST)
    sub = np.zeros(shared.size, np.uint64)
    light = np.flatnonzero(counts <= LEAF_BOUNDS)
    if light.size:
        sub[light] = lows.leaves(first[light], end[light])
    for i in np.flatnonzero(counts > LEAF_BOUNDS):
        sub[i] = lows.entry(int(first[i]), int(end[i]), 0)
    after = shared[shared != np.uint64(LAST)] + np.uint64(1)
    tops = np.unique(np.concatenate([high, after]))
    whole = np.searchsorted(high, tops, "left")
    on_edge = (np.append(high, np.uint64(0))[whole] == tops) & (np.append(low, np.uint64(1))[whole] == 0)
    answers = kept[whole + on_edge - 1].copy()
    answers[np.searchsorted(tops, shared)] = sub | np.uint64(LOW_HALF)
    highs = _Builder(pool, *_compress(tops, answers), LAST)
    entry = highs.entry(1, highs.starts.size, 0)
    return Search(
        entry, highs.depth.nodes, highs.depth.steps, shared.size > 0, lows.depth.nodes, lows.depth.steps
    )


def _compress(starts: Words, entries: Words) -> tuple[Words, Words]:
    """Neighbours with one answer become one interval."""
    keep = np.append(True, entries[1:] != entries[:-1])
    return starts[keep], entries[keep]
