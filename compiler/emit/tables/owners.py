"""Which rule of a merged drop each interval of a field belongs to.

Where all merged drops that cover an interval name one rule for it, as those of a packet and of its fragments
do, the field's own search tells the rule together with the class. A merged drop with an interval for which
another names another rule has a search of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...decisions.model import Cause, Decision
from .classes import FieldClasses, Ints
from .model import Words

#: Merged drops that may share an interval.
MOST_SHARED = 16


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

    def sums(values: Ints) -> Ints:
        """Of each interval, over the merged drops that cover it; one more at the end, of none."""
        steps = np.zeros(ends, np.int64)
        np.add.at(steps, first, values)
        np.subtract.at(steps, end, values)
        return np.cumsum(steps)

    covered, total = sums(np.ones_like(owner)), sums(owner)
    # One rule for all of them: then the mean is each (and the squares of slots stay far below 2^63).
    one = (covered > 0) & (covered <= MOST_SHARED) & (covered * sums(owner * owner) == total * total)
    told = np.where(one, total // np.maximum(covered, 1), 0)[:-1].astype(np.uint64)
    unclear = np.append(0, np.cumsum((covered > 0) & ~one))
    shared = number[unclear[end] > unclear[first]]
    return Owners(told, frozenset(split) - frozenset(shared.tolist()))
