"""Random lists that are mostly single addresses, as blocklists are, and packets at their bounds."""

from __future__ import annotations

import random

from xdptables.decisions.model import Accept, Cause, Decision, DecisionList, Drop, Skip
from xdptables.fields import FIELDS
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Cube
from xdptables.matches.view import Kind


def point_list(r: random.Random, kind: Kind, count: int, ranges: int, others: int) -> DecisionList:
    """`count` sources, some of them neighbours, to be dropped each by its rule; before and behind that drop
    are `others` on other fields, and a skip past it. `ranges` of sources among the single ones."""
    bits = FIELDS["src"].width(kind.family)
    top = (1 << bits) - 1
    bases = [r.getrandbits(bits) for _ in range(max(1, count // 3))] + [
        0,
        top - 3,
        1 << 64 if bits > 64 else 9,
    ]
    points = {min(top, r.choice(bases) + r.choice((0, 1, 2, 0))) for _ in range(count)}
    wide = [
        (low, min(top, low + r.randint(2, 1 << r.randrange(2, bits - 1)))) for low in r.sample(bases, ranges)
    ]
    pieces: list[tuple[int, int, Cause]] = []
    for number, (low, high) in enumerate(sorted([*((p, p) for p in points), *wide])):
        low = max(low, pieces[-1][1] + 1) if pieces else low
        if low <= high:
            pieces.append((low, high, Cause("listed", f"{number}")))
    drop = Drop(pieces[0][2], False, True)
    everyone = IntervalSet.union_of((low, high) for low, high, _ in pieces)
    when = Cube((("src", everyone),))
    beside = [_other(r, i, kind) for i in range(others)]
    half = others // 2
    skip = [Decision(Cube((("dport", IntervalSet.of(7)),)), Skip(half + 2))] if others else []
    listed = Decision(when, drop, "src", tuple(pieces))
    return DecisionList(kind, (*beside[:half], *skip, listed, *beside[half:]))


def _other(r: random.Random, number: int, kind: Kind) -> Decision:
    name = r.choice(("dport", "sport", "dst", "ttl"))
    low = r.getrandbits(FIELDS[name].width(kind.family)) or 1
    then = r.choice((Accept(None), Drop(Cause("other", f"{number}"), False, True)))
    return Decision(Cube(((name, IntervalSet.range(low, low)),)), then)
