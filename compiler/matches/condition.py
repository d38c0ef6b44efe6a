"""Three-valued conditions over packet fields.

A `Cube` is a conjunction: each named field lies in its interval set. A `Region` is a union of
cubes. A `Condition` is two regions: where the answer is certainly yes, and where it may be yes;
outside `may` it is no. Strong Kleene logic: not maybe = maybe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ..intervals import IntervalSet

#: More cubes than this in one region are not tracked: the condition becomes maybe.
MAX_CUBES = 64


@dataclass(frozen=True, slots=True)
class Cube:
    """Invariant: sorted by field name, no empty set. No constraint at all: every packet."""

    sets: tuple[tuple[str, IntervalSet], ...] = ()

    @staticmethod
    def of(sets: Mapping[str, IntervalSet]) -> Cube | None:
        """None when some set is empty: no packet."""
        if not all(sets.values()):
            return None
        return Cube(tuple(sorted(sets.items())))

    def get(self, name: str) -> IntervalSet | None:
        return next((s for n, s in self.sets if n == name), None)

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(n for n, _ in self.sets)

    def __and__(self, other: Cube) -> Cube | None:
        if not self.sets or not other.sets:
            return self if self.sets else other
        sets = dict(self.sets)
        for name, s in other.sets:
            both = sets[name] & s if name in sets else s
            if not both:
                return None
            sets[name] = both
        return Cube(tuple(sorted(sets.items())))

    def __le__(self, other: Cube) -> bool:
        """Subset."""
        mine = dict(self.sets)
        return all(n in mine and mine[n] <= s for n, s in other.sets)


Region = tuple[Cube, ...]
NOTHING: Region = ()
EVERYTHING: Region = (Cube(),)


def intersect(a: Region, b: Region) -> Region:
    if len(a) == len(b) == 1:
        cube = a[0] & b[0]
        return NOTHING if cube is None else (cube,)
    both = (x & y for x in a for y in b)
    return tuple(dict.fromkeys(c for c in both if c is not None))


@dataclass(frozen=True, slots=True)
class Condition:
    """`yes` is a subset of `may`. `why`: what makes it a maybe somewhere, for the report."""

    yes: Region = EVERYTHING
    may: Region = EVERYTHING
    why: tuple[str, ...] = field(default=(), compare=False)

    @staticmethod
    def certain(cubes: Iterable[Cube | None]) -> Condition:
        region = tuple(c for c in cubes if c is not None)
        return Condition(region, region)

    @staticmethod
    def on(**sets: IntervalSet) -> Condition:
        return Condition.certain([Cube.of(sets)])

    @staticmethod
    def maybe(why: str, within: Region = EVERYTHING) -> Condition:
        return Condition(NOTHING, within, (why,))

    @property
    def is_certain(self) -> bool:
        return self.yes is self.may or self.yes == self.may

    def __and__(self, other: Condition) -> Condition:
        why = tuple(dict.fromkeys(self.why + other.why)) if self.why or other.why else ()
        if max(len(self.may), len(other.may)) > 1 and len(self.may) * len(other.may) > MAX_CUBES:
            return Condition(NOTHING, EVERYTHING, (*why, "too many combinations of values"))
        may = intersect(self.may, other.may)
        if self.yes is self.may and other.yes is other.may:
            return Condition(may, may, why)
        return Condition(intersect(self.yes, other.yes), may, why)


YES = Condition()
NO = Condition(NOTHING, NOTHING)


def outside(region: Region, width: Callable[[str], int]) -> Region | None:
    """What is in none of the cubes; None where that takes too many. The protocol is asked before what only
    some protocols have."""
    rest: list[Cube] = [Cube()]
    for cube in region:
        pieces: list[Cube] = []
        for inside in rest:
            left: Cube | None = inside
            for name, s in sorted(cube.sets, key=lambda item: (item[0] != "proto", item[0])):
                if left is None:
                    break
                beyond = Cube.of({name: s.complement(width(name))})
                piece = left & beyond if beyond else None
                pieces += [piece] if piece else []
                left = left & Cube(((name, s),))
        if len(pieces) > MAX_CUBES:
            return None
        rest = pieces
    return tuple(rest)


def opposite(condition: Condition, width: Callable[[str], int]) -> Condition:
    """Yes where it is no, and no where it is yes."""
    yes, may = outside(condition.may, width), outside(condition.yes, width)
    if yes is None or may is None:
        why = (*condition.why, "too many combinations of values")
        return Condition(yes or NOTHING, EVERYTHING if may is None else may, why)
    return Condition(yes, may, condition.why)
