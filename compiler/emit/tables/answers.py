"""Rows to outcomes, once and for all: where there is one dimension only, its row alone decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .classes import Ints
from .model import CODE, SKIP, Words
from .vectors import ONE, Rows

#: Steps to all answers of one list, and words of rows while they are made.
MAX_STEPS = 1 << 22
_PASS = np.uint64(CODE << 62)


def small(classes: int, words: int, skips: int) -> bool:
    """A class looks at each word of its row, and follows each skip, at most."""
    return classes * (words + skips) <= MAX_STEPS


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
        word = since >> 6
        inside = word < end
        left, since, word = left[inside], since[inside], word[inside]
        bits = whole[left, word] & ~np.uint64(0) << (since & 63).astype(np.uint64)
        hit = bits != 0
        lowest = np.log2((bits[hit] & ~bits[hit] + ONE).astype(np.float64)).astype(np.int64)
        found = outcomes[word[hit] * 64 + lowest]
        is_skip = found >> np.uint64(62) == SKIP
        out[left[hit][~is_skip]] = found[~is_skip]
        since = (word + 1) * 64
        since[hit] = np.where(is_skip, found & np.uint64(0xFFFFFFFF), end * 64)
        left, since = left[since < end * 64], since[since < end * 64]
    return out
