"""A field's values cut into intervals at every decision's bounds, and the intervals into classes.

Two intervals are of one class when the same decisions hold there. A class is known by the exclusive or of
128-bit numbers, one for each decision that holds: two different sets share one with a probability of
2^-128.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...decisions.model import Decision

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """Which decisions hold where: number[i] holds from interval first[i] up to, not with, end[i]."""

    number: Ints
    first: Ints
    end: Ints


@dataclass(frozen=True, slots=True, eq=False)
class FieldClasses:
    """`starts`: of each interval the first value. `class_of`: of each interval. `sample`: an interval of
    each class. `limited`: the numbers of decisions that test the field; `common`: those among them that
    hold in most intervals, whose bit in the default row is set."""

    name: str
    starts: list[int]
    ranges: Ranges
    class_of: Ints
    sample: Ints
    limited: Ints
    common: Ints

    @property
    def classes(self) -> int:
        return int(self.sample.size)


def field_classes(name: str, decisions: Sequence[Decision], top: int) -> FieldClasses:
    """`top`: the field's largest value. The pieces of splits are bounds as well."""
    bounds = {0}
    tests: list[tuple[int, tuple[tuple[int, int], ...]]] = []
    for i, decision in enumerate(decisions):
        s = decision.when.get(name)
        if s is not None:
            tests.append((i, s.pairs))
            for lo, hi in s.pairs:
                bounds.add(lo)
                bounds.add(hi + 1)
        if decision.split_field == name:
            for lo, hi, _ in decision.split:
                bounds.add(lo)
                bounds.add(hi + 1)
    bounds.discard(top + 1)
    starts = sorted(bounds)
    index = {value: i for i, value in enumerate(starts)}
    index[top + 1] = len(starts)
    number = [i for i, pairs in tests for _ in pairs]
    first = [index[lo] for _, pairs in tests for lo, _ in pairs]
    end = [index[hi + 1] for _, pairs in tests for _, hi in pairs]
    ranges = Ranges(np.array(number, np.int64), np.array(first, np.int64), np.array(end, np.int64))
    class_of, sample = _classes(ranges, len(starts), len(decisions))
    covered = np.bincount(ranges.number, ranges.end - ranges.first, len(decisions))
    limited = np.array([i for i, _ in tests], np.int64)
    common = limited[covered[limited] * 2 > len(starts)]
    return FieldClasses(name, starts, ranges, class_of, sample, limited, common)


def _classes(ranges: Ranges, intervals: int, decisions: int) -> tuple[Ints, Ints]:
    raw = hashlib.shake_128(b"xdptables").digest(16 * max(decisions, 1))
    names = np.frombuffer(raw, np.uint64).reshape(-1, 2)
    at = np.concatenate([ranges.first, ranges.end])
    order = np.argsort(at, kind="stable")
    so_far = np.zeros((order.size + 1, 2), np.uint64)
    np.bitwise_xor.accumulate(names[np.concatenate([ranges.number, ranges.number])[order]], out=so_far[1:])
    sums = so_far[np.searchsorted(at[order], np.arange(intervals), "right")]
    by_sum = np.lexsort((sums[:, 0], sums[:, 1]))  # stable: the first of a class comes first
    there = sums[by_sum]
    fresh = np.append(True, np.any(there[1:] != there[:-1], axis=1))
    firsts = by_sum[fresh]
    rank = np.empty(firsts.size, np.int64)
    rank[np.argsort(firsts)] = np.arange(firsts.size)
    class_of = np.empty(intervals, np.int64)
    class_of[by_sum] = rank[np.cumsum(fresh) - 1]
    return class_of, np.sort(firsts)
