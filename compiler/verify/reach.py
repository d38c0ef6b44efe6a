"""Which packets a decision has, exactly: the list walked with regions instead of a packet.

For lists that are not too long, and where the search for one packet (regions.py) ended without one.
"""

from __future__ import annotations

from ..decisions.model import DecisionList, Skip
from ..fields import FIELDS, Family
from ..intervals import IntervalSet
from ..matches.condition import Cube, Region

#: Longer lists, and more cubes or steps than these, are not walked to the end.
_MOST_DECISIONS, _MOST_CUBES, _MOST_STEPS = 200, 400, 4000


def reaching(decisions: DecisionList) -> tuple[Region, ...] | None:
    """For each decision the packets that come to it and match, disjoint from each other; None where that
    takes too long. Fields count as free of each other: a region may ask for what no packet has."""
    items, family = decisions.decisions, decisions.kind.family
    if len(items) > _MOST_DECISIONS:
        return None
    at: list[list[Cube]] = [[] for _ in range(len(items) + 1)]
    at[0] = [Cube()]
    found: list[Region] = []
    steps = 0
    for index, item in enumerate(items):
        here = [cube for there in at[index] if (cube := there & item.when) is not None]
        found.append(tuple(here))
        steps += len(at[index])
        rest = subtract(tuple(at[index]), (item.when,), family)
        if rest is None or steps > _MOST_STEPS:
            return None
        at[index + 1] += rest
        if isinstance(item.then, Skip):
            at[min(item.then.to, len(items))] += here
        if len(at[index + 1]) > _MOST_CUBES:
            return None
    return tuple(found)


def subtract(region: Region, taken: Region, family: Family) -> Region | None:
    """What is in `region` and not in `taken`; None when it would be too many cubes."""
    left = list(region)
    for cube in taken:
        pieces: list[Cube] = []
        for mine in left:
            pieces += _less(mine, cube, family)
            if len(pieces) > _MOST_CUBES:
                return None
        left = pieces
    return tuple(left)


def _less(mine: Cube, taken: Cube, family: Family) -> list[Cube]:
    """Disjoint pieces, one field after the other."""
    if (mine & taken) is None:
        return [mine]
    pieces = []
    for name, allowed in taken.sets:
        have = mine.get(name) or IntervalSet.full(FIELDS[name].width(family))
        outside = Cube.of({**dict(mine.sets), name: have - allowed})
        if outside is not None:
            pieces.append(outside)
        inside = Cube.of({**dict(mine.sets), name: have & allowed})
        assert inside is not None
        mine = inside
    return pieces
