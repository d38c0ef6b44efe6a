"""Rows to outcomes, once and for all: where there is one dimension only, its row alone decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .classes import Ints
from .model import CODE, SKIP, Words
from .vectors import ONE, Rows

#: Words of rows while they are made.
MAX_WORDS = 1 << 22
_PASS = np.uint64(CODE << 62)


def small(classes: int, words: int) -> bool:
    return classes * words <= MAX_WORDS


def answers(rows: Rows, places: Sequence[tuple[int, int]], outcomes: Words) -> tuple[Words, list[int]]:
    """Of each class its outcomes, and of each list (`places`: its first position, and the word where it
    ends) which of these it is: what two lists always agree in stands there once."""
    whole = rows.whole()
    columns = [_first(whole, at, end, outcomes) for at, end in places]
    kept: list[Words] = []
    number = []
    for column in columns:
        same = [i for i, other in enumerate(kept) if np.array_equal(column, other)]
        if not same:
            kept.append(column)
        number.append(same[0] if same else len(kept) - 1)
    return np.stack(kept, axis=1), number


def _first(whole: Words, at: int, end: int, outcomes: Words) -> Words:
    """Of each row the outcome at its first bit from position `at` on, before word `end`; a skip leads on."""
    out = np.full(whole.shape[0], _PASS)
    left = np.arange(whole.shape[0])
    since: Ints = np.full(whole.shape[0], at, np.int64)
    while left.size:
        here = whole[left, :end]
        before = np.arange(end)[None, :] < (since[left] >> 6)[:, None]
        here[before] = 0
        edge = np.flatnonzero(since[left] >> 6 < end)
        here[edge, since[left[edge]] >> 6] &= ~np.uint64(0) << (since[left[edge]] & 63).astype(np.uint64)
        left, here = left[here.any(axis=1)], here[here.any(axis=1)]
        if not left.size:
            break
        word = (here != 0).argmax(axis=1)
        bits = here[np.arange(left.size), word]
        position = word * 64 + np.log2((bits & (~bits + ONE)).astype(np.float64)).astype(np.int64)
        found = outcomes[position]
        is_skip = found >> np.uint64(62) == SKIP
        out[left[~is_skip]] = found[~is_skip]
        since[left] = (found & np.uint64(0xFFFFFFFF)).astype(np.int64)
        left = left[is_skip]
    return out
