"""The tables of a program as plain data: one array of 64-bit words, and where things stand in it.

What the words mean is written three times, and must agree: `build.py` writes them, templates/tables.c.j2
and search.c.j2 read them in the kernel, `evaluate.py` in Python.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...fields import Family
from ...matches.view import Kind

Words = NDArray[np.uint64]

# An entry of a search: what it is in the three highest bits. A leaf has the steps of its search at bit 32.
RESULT, LEAF, NODE = 0, 2, 4
#: A result: the value in the low half, and slot + 1 of the rule that owns the interval above it.
SLOT_AT, SLOT_BITS = 32, 24
#: An IPv6 entry of the high half that goes on with the low half.
LOW_HALF = 1 << 61

#: Instead of a number of levels.
ANSWERS = -1

# An outcome, in the two highest bits.
CODE, SKIP, SPLIT = 0, 1, 2
#: Of a split: the low half is the code's flags, then where its own search begins (0: it has none), then the
#: field's number in the family's `fields`.
SPLIT_AT, SPLIT_FIELD_AT = 32, 56

#: The words begin with one that means nothing; then, for the number of a set bit, a table by the six highest
#: bits of that bit times this de Bruijn sequence.
DE_BRUIJN = 0x022FDD63CC95386D
FIRST_BIT = 1


#: Factors of the hash of points: of a value (of its high and low half), and of what its seed made of it.
HASH_HIGH, HASH_LOW, HASH_SEEDED = 0xD6E8FEB86659FD93, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
SEED_BITS = 16


@dataclass(frozen=True, slots=True)
class Points:
    """Single values by a hash in which no two collide: the `bits` highest bits of the hash choose a seed, of
    16 bits, and hash and seed one of 2 ** `slot_bits` slots. A slot is the value, in one word or, wide, in
    two, and its result. What is in no slot is no point."""

    seeds: int
    bits: int
    slots: int
    slot_bits: int


@dataclass(frozen=True, slots=True)
class Search:
    """Value to result. `points` is asked first. `entry` is where the rest begins; `nodes` and `steps` bound
    the way to an answer, `low_*` in the low half of a 128-bit value, which is asked for where `low` is set.
    """

    entry: int
    nodes: int
    steps: int
    low: bool = False
    low_nodes: int = 0
    low_steps: int = 0
    points: Points | None = None


@dataclass(frozen=True, slots=True)
class FieldTable:
    """Field to class, by a direct array of 16-bit numbers at word `direct`, or else by a search.

    `slots`: a result also says which rule of a split owns the interval. `classes`, `intervals`: how many."""

    name: str
    direct: int
    search: Search | None
    slots: bool
    classes: int
    intervals: int


@dataclass(frozen=True, slots=True)
class Dimension:
    """One factor of the look-up: fields to a row of bits, one for each decision.

    `combined`: the sum of the fields' numbers is looked up there for the row; -1: the number is the row.
    `dense`: rows hold all words, otherwise only those that differ from the row at `default`;
    `default_blocks`: where that row's blocks stand."""

    fields: tuple[FieldTable, ...]
    combined: int
    dense: bool
    default: int
    default_blocks: int
    classes: int


@dataclass(frozen=True, slots=True)
class FamilyTables:
    """The lists of one family in one set of tables.

    `levels` of summaries over the words of a row: 0 (one word), 1, 2 (up to 4,096). With one level a bit of
    the summary stands for a step of 2 ** `grain` words, and there are up to 64 steps; with two, for one word.
    With one dimension only there is nothing to intersect: `levels` is ANSWERS, and a row holds an outcome for
    each kind, of which `starts` gives the number.
    `outcomes`: a word for each position. `order`: for each position, between those, the decision's number,
    then the step where the next group begins and whether the group is the last; -1 where positions are in
    order.
    `starts`: of each kind the first position, and the first word that is no longer its own.
    `rounds`: steps of one look-up, each for one step of all rows; a packet that needs more passes.
    `fields`: fields by number; `splits`: numbers of those with a split that needs its own search."""

    family: Family
    levels: int
    grain: int
    blocks: int
    dimensions: tuple[Dimension, ...]
    outcomes: int
    order: int
    starts: tuple[tuple[Kind, int, int], ...]
    fields: tuple[str, ...]
    splits: tuple[Search, ...]
    split_fields: tuple[int, ...]
    skips: bool
    decisions: int
    rounds: int = 0

    def start(self, kind: Kind) -> tuple[int, int]:
        return next((at, end) for k, at, end in self.starts if k is kind)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the words, for people."""

    role: str
    at: int
    words: int


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """`words`: a power of two of them, the rest zero, so that an index is bounded by a mask."""

    words: Words
    families: tuple[FamilyTables, ...]
    sections: tuple[Section, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.words.nbytes)

    def family(self, family: Family) -> FamilyTables | None:
        return next((f for f in self.families if f.family is family), None)
