"""Classes to rows of bits, one bit for each decision: aggregated bit vectors (Baboescu, Varghese:
"Scalable packet classification", SIGCOMM 2001).

Most rows of a dimension are nearly alike: a row is kept as the words that differ from the default row,
whose bits are those of the decisions that leave the dimension open. A dimension of few classes keeps
whole rows, which are quicker to read. With steps of several words, what is read together stands together:
a step is in one place, at a multiple of its size, so that the mask that bounds its index bounds all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .classes import FieldClasses, Ints
from .model import Words
from .order import Order
from .pool import Pool

#: A dimension whose rows have no more words than this in all keeps them whole.
DENSE_WORDS = 1 << 17
ONE = np.uint64(1)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """`default`: a word for each 64 positions. `cls`, `word`, `value`: what differs, sorted."""

    default: Words
    classes: int
    cls: Ints
    word: Ints
    value: Words

    def whole(self) -> Words:
        """All rows: classes by words."""
        out = np.tile(self.default, (self.classes, 1))
        out[self.cls, self.word] = self.value
        return out


def bits_of(positions: Ints, words: int) -> Words:
    out = np.zeros(words, np.uint64)
    np.bitwise_or.at(out, positions >> 6, ONE << (positions & 63).astype(np.uint64))
    return out


def field_rows(field: FieldClasses, order: Order, decisions: int, pool: Pool) -> Rows:
    """Raises TooLarge before anything that does not fit is made."""
    open_to = np.ones(decisions, np.bool_)
    open_to[field.limited] = False
    open_to[field.common] = True
    default = bits_of(order.position[open_to], order.words)
    # What differs from the default, as flips along the intervals; a common decision differs outside.
    ends = len(field.starts)
    number = np.concatenate([field.ranges.number, field.ranges.number, field.common, field.common])
    where = np.concatenate(
        [field.ranges.first, field.ranges.end, np.zeros_like(field.common), np.full_like(field.common, ends)]
    )
    position = order.position[number]
    word, flips = position >> 6, ONE << (position & 63).astype(np.uint64)
    by = np.lexsort((where, word))
    word, where, state = word[by], where[by], np.bitwise_xor.accumulate(flips[by])
    # After all flips of a word its state is zero again, so one running sum serves all words.
    until = np.append(where[1:], 0)
    last_of_word = np.append(word[1:] != word[:-1], True) if word.size else np.zeros(0, np.bool_)
    lo, hi = np.searchsorted(field.sample, where), np.searchsorted(field.sample, until)
    runs = np.flatnonzero(~last_of_word & (state != 0) & (lo < hi))
    counts = hi[runs] - lo[runs]
    total = int(counts.sum())
    pool.reserve(total)
    cls = np.repeat(lo[runs] - np.cumsum(counts) + counts, counts) + np.arange(total)
    word = np.repeat(word[runs], counts)
    value = np.repeat(state[runs], counts) ^ default[word]
    by = np.lexsort((word, cls))
    return Rows(default, field.classes, cls[by], word[by], value[by])


def rows_of(whole: Words, default: Words) -> Rows:
    cls, word = np.nonzero(whole != default)
    return Rows(default, whole.shape[0], cls, word, whole[cls, word])


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """`row`: of each class, the word where it begins."""

    row: Words
    dense: bool
    default: int
    default_blocks: int


def place(rows: Rows, levels: int, grain: int, pool: Pool) -> Placed:
    """`grain`: with one level, a bit of the summary stands for 2 to this power words."""
    words = rows.default.size
    if levels == 0 or rows.classes * words <= DENSE_WORDS:
        return _dense(rows.whole(), levels, grain, pool)
    if grain:
        return _steps(rows, 1 << grain, pool)
    blocks = -(-words // 64)
    default = pool.add(rows.default)
    sums = _summaries(rows.default[None, :])[0]
    nodes = np.zeros((blocks, 2), np.uint64)
    nodes[:, 0] = sums
    usual = np.uint64(pool.add(nodes)) + np.arange(blocks, dtype=np.uint64) * np.uint64(2)
    default_blocks = pool.add(usual)
    if levels == 1:
        cls, row, _ = _nodes(rows.cls, rows.word, rows.value, rows.value != 0, sums[:1], pool)
        all_rows = np.full(rows.classes, usual[0], np.uint64)
        all_rows[cls] = row
        return Placed(all_rows, False, default, default_blocks)
    key, node, block_sum = _nodes(
        rows.cls * blocks + (rows.word >> 6), rows.word & 63, rows.value, rows.value != 0, sums, pool
    )
    top = _summaries(sums[None, :])[0]
    default_row = pool.add(np.array([top[0], 0], np.uint64))
    cls, row, _ = _nodes(key // blocks, key % blocks, node, block_sum != 0, top, pool)
    all_rows = np.full(rows.classes, default_row, np.uint64)
    all_rows[cls] = row
    return Placed(all_rows, False, default, default_blocks)


def _steps(rows: Rows, step: int, pool: Pool) -> Placed:
    """One level over steps of `step` words: a row is its summary, which steps it keeps, and those, whole.
    A step stands at a multiple of its size, and the first one of a row in the cache line of its summary."""
    steps = rows.default.size // step
    key, where = np.unique(rows.cls * steps + rows.word // step, return_inverse=True)
    cls, number = key // steps, key % steps
    usual = rows.default.reshape(steps, step)
    pool.reserve(key.size * step)
    values = usual[number]
    values[where, rows.word % step] = rows.value
    filled = values.any(axis=1)
    bits = ONE << number.astype(np.uint64)
    kept, differs = np.zeros((2, rows.classes), np.uint64)
    np.bitwise_or.at(kept, cls[filled], bits[filled])
    np.bitwise_or.at(differs, cls, bits)
    set_ = _summaries(np.bitwise_or.reduce(usual, axis=1)[None, :])[0, 0] & ~differs | kept
    count = np.bincount(cls[filled], minlength=rows.classes)
    pool.align(2 * step, step - 2)
    size = _up(2 + count * step, 2 * step)
    at = np.cumsum(size) - size
    out = np.zeros(int(at[-1] + size[-1]), np.uint64)
    out[at], out[at + 1] = set_, kept
    of = cls[filled]
    rank = np.arange(of.size) - (np.cumsum(count) - count)[of]
    out[(at[of] + 2 + rank * step)[:, None] + np.arange(step)] = values[filled]
    all_rows = (pool.add(out) + at).astype(np.uint64)
    pool.align(step)
    return Placed(all_rows, False, pool.add(rows.default), 0)


def _up(number: Ints, to: int) -> Ints:
    """To a multiple."""
    return -(-number // to) * to


def _summaries(words: Words) -> Words:
    """A bit for each word that is not zero, 64 to a word, along the last axis."""
    count, width = words.shape
    blocks = -(-width // 64)
    set_ = np.zeros((count, blocks * 64), np.uint64)
    set_[:, :width] = words != 0
    shifted: Words = set_.reshape(count, blocks, 64) << np.arange(64, dtype=np.uint64)
    out: Words = np.bitwise_or.reduce(shifted, axis=2)
    return out


def _dense(whole: Words, levels: int, grain: int, pool: Pool) -> Placed:
    """Each row: its summary of summaries, its summaries, its words, as far as there are levels."""
    parts = [whole]
    for level in range(levels):
        below = parts[0]
        if level == 0:  # a bit for each step of 2 ** grain words
            below = np.bitwise_or.reduce(below.reshape(below.shape[0], -1, 1 << grain), axis=2)
        parts.insert(0, _summaries(below))
    if grain:
        step = 1 << grain
        width = 1 + whole.shape[1]
        parts.append(np.zeros((whole.shape[0], -width % step), np.uint64))
        pool.add(np.zeros(-(pool.used + 1) % step, np.uint64))
    matrix = np.concatenate(parts, axis=1)
    at = pool.add(matrix)
    row = np.uint64(at) + np.arange(whole.shape[0], dtype=np.uint64) * np.uint64(matrix.shape[1])
    return Placed(row, True, 0, 0)


def _nodes(
    key: Ints, bit: Ints, value: Words, filled: NDArray[np.bool_], usual: Words, pool: Pool
) -> tuple[Ints, Words, Words]:
    """A node for each key: which bits are set, which of them are kept here, and the values of those.

    `usual`: the default's set bits, by key modulo its length. What differs and is not `filled` is neither
    set nor kept. Returns the keys, where their nodes stand, and their set bits."""
    if not key.size:
        return key, value, value
    fresh = np.append(True, key[1:] != key[:-1])
    begin = np.flatnonzero(fresh)
    keys = key[begin]
    here = ONE << bit.astype(np.uint64)
    differs = np.bitwise_or.reduceat(here, begin)
    kept = np.bitwise_or.reduceat(np.where(filled, here, 0).astype(np.uint64), begin)
    set_ = (usual[keys % usual.size] & ~differs) | kept
    values = np.add.reduceat(filled.astype(np.int64), begin)
    offset = np.cumsum(values + 2) - values - 2
    out = np.zeros(int((values + 2).sum()), np.uint64)
    out[offset], out[offset + 1] = set_, kept
    group = np.cumsum(fresh) - 1
    rank = np.cumsum(filled) - 1
    before = np.append(0, np.cumsum(values)[:-1])
    target = offset[group] + 2 + rank - before[group]
    out[target[filled]] = value[filled]
    return keys, (np.uint64(pool.add(out)) + offset.astype(np.uint64)), set_
