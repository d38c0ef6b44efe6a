"""Which fields share a dimension: those of few classes are looked up together.

The classes of several fields multiply to a table of combinations, each of which has the row that all of
its fields allow. Fewer dimensions are fewer rows to read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .classes import FieldClasses, Ints
from .model import Words
from .order import Order
from .pool import Pool
from .vectors import Rows, field_rows, rows_of

#: Combinations in one dimension, and words of rows while they are made.
MAX_COMBINED = 1 << 14
MAX_COMBINED_WORDS = 1 << 22


def grouped(fields: Sequence[FieldClasses], words: int) -> list[list[FieldClasses]]:
    """The fields of few classes first, as many together as fit."""
    most = min(MAX_COMBINED, max(2, MAX_COMBINED_WORDS // max(words, 1)))
    groups: list[list[FieldClasses]] = []
    sizes: list[int] = []
    for field in sorted(fields, key=lambda f: (f.classes, f.name)):
        for i, size in enumerate(sizes):
            if size * field.classes <= most:
                groups[i].append(field)
                sizes[i] *= field.classes
                break
        else:
            groups.append([field])
            sizes.append(field.classes)
    return groups


def limits(groups: Sequence[Sequence[FieldClasses]], decisions: int) -> Ints:
    """Of each decision, a bit for each dimension in which it holds for the lesser part."""
    out = np.zeros(decisions, np.int64)
    for i, group in enumerate(groups):
        for field in group:
            out[np.setdiff1d(field.limited, field.common, assume_unique=True)] |= 1 << i
    return out


def group_rows(
    group: Sequence[FieldClasses], order: Order, decisions: int, pool: Pool
) -> tuple[Rows, Ints | None]:
    """The rows, and which of them each combination has; None: the field's classes are the rows."""
    first = field_rows(group[0], order, decisions, pool)
    if len(group) == 1:
        return first, None
    default, whole = first.default, first.whole()
    of_combination = np.arange(first.classes)
    for field in group[1:]:
        rows = field_rows(field, order, decisions, pool)
        default = default & rows.default
        both = whole[:, None, :] & rows.whole()[None, :, :]
        which, kept = _distinct(both.reshape(-1, order.words))
        combined = which.reshape(whole.shape[0], field.classes)
        of_combination = combined[of_combination, :].reshape(-1)
        whole = kept
    return rows_of(whole, default), of_combination


def _distinct(rows: Words) -> tuple[Ints, Words]:
    """Of each row the number among the distinct ones, and those."""
    seen: dict[bytes, int] = {}
    which = np.empty(rows.shape[0], np.int64)
    kept: list[int] = []
    for i, row in enumerate(rows):
        number = seen.setdefault(row.tobytes(), len(seen))
        if number == len(kept):
            kept.append(i)
        which[i] = number
    return which, rows[kept]
