"""Which rule of a merged drop each interval of a field belongs to.

Where one merged drop alone covers an interval, the field's own search tells the rule together with the
class. A merged drop with an interval that it shares with another has a search of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...decisions.model import Cause, Decision
from .classes import FieldClasses, Ints
from .model import Words


@dataclass(frozen=True, slots=True, eq=False)
class Owners:
    """`slots`: of each interval slot + 1, or 0. `told`: the decisions that it tells all of."""

    slots: Words
    told: frozenset[int]


def owners(field: FieldClasses, decisions: Sequence[Decision], slots: Mapping[Cause, int]) -> Owners | None:
    """None: no merged drop is split by this field."""
    split = [i for i, d in enumerate(decisions) if d.split_field == field.name and d.split]
    if not split:
        return None
    index = {value: i for i, value in enumerate(field.starts)}
    pieces = [(index[lo], index.get(hi + 1, len(field.starts)), slots[c] + 1, i)
              for i in split for lo, hi, c in decisions[i].split]  # fmt: skip
    array: Ints = np.array(pieces, np.int64)
    first, end, owner, number = array.T
    ends = len(field.starts) + 1
    covered = np.cumsum(np.bincount(first, minlength=ends) - np.bincount(end, minlength=ends))
    flips = np.zeros(ends, np.int64)
    np.bitwise_xor.at(flips, first, owner)
    np.bitwise_xor.at(flips, end, owner)
    alone = np.bitwise_xor.accumulate(flips)
    told = np.where(covered == 1, alone, 0)[:-1].astype(np.uint64)
    shared_before = np.append(0, np.cumsum(covered > 1))
    shared = number[shared_before[end] > shared_before[first]]
    return Owners(told, frozenset(split) - frozenset(shared.tolist()))
