"""Where each decision's bit stands in a row.

In a short list positions are the decisions' order, and the first bit that all rows share decides. In a
long one most words would hold decisions that leave some dimension open, and then nearly every word
survives the summaries. So decisions that limit the same dimensions stand together, each such group in
order and from a word of its own on; the smallest number among the first hits of all groups decides.

A skip leads to the beginning of a stretch, and whatever stands before that is masked: stretches keep
their order, only decisions inside one are moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .classes import Ints

#: A stretch of fewer decisions than this stays in order.
SHORT = 512


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """`position`: of each decision. `begin`: of a skip's target, where its stretch begins: the target's own
    position only where nothing was moved. `words`: in use. `next_word`, `last`: of each decision, where
    the search goes on after it was hit, for one with a smaller number, and whether it ends. `moved`: some
    stretch is not in order."""

    position: Ints
    begin: Ints
    words: int
    next_word: Ints
    last: NDArray[np.bool_]
    moved: bool


def in_words(
    lists: list[int], targets: frozenset[int], limits: Ints, step: int = 1
) -> tuple[Order, list[tuple[int, int]]]:
    """`lists`: how many decisions each list has; `targets`: decisions that a skip leads to; `limits`: of
    each decision, a number for the set of dimensions that it limits, 0 for none. `step`: lists and groups
    begin at multiples of so many words.

    With the order come the first position and the end, in words, of each list."""
    total, size = sum(lists), 64 * step
    position, next_word = np.zeros(total, np.int64), np.zeros(total, np.int64)
    last = np.ones(total, np.bool_)
    stretch = np.zeros(total, np.int64)
    places: list[tuple[int, int]] = []
    at, begin, moved = 0, 0, False
    for count in lists:
        at = _round_up(at, size)
        start = at
        cuts = sorted({begin, *(t for t in targets if begin < t < begin + count), begin + count})
        for lo, hi in pairwise(cuts):
            group = limits[lo:hi]
            kinds = np.unique(group)[::-1]
            if hi - lo < SHORT or kinds.size == 1:
                stretch[lo:hi] = at
                position[lo:hi] = np.arange(at, at + hi - lo)
                at += hi - lo
                continue
            moved = True
            at = _round_up(at, size)
            stretch[lo:hi] = at
            for kind in kinds:
                members = lo + np.flatnonzero(group == kind)
                position[members] = np.arange(at, at + members.size)
                at = _round_up(at + members.size, size)
                next_word[members] = at // 64
                last[members] = kind == kinds[-1]
        begin += count
        places.append((start, _round_up(at, size) // 64))
    return Order(position, stretch, _round_up(at, size) // 64, next_word, last, moved), places


def _round_up(at: int, to: int) -> int:
    return -(-at // to) * to
