"""Follow what is known of the packets that reach each decision.

The hull at a decision: for each field, a set that holds its value in every packet that gets there.
A decision that no such packet meets is unreachable (shadowed, or in a chain called under a condition
that excludes it); a test that every such packet passes is not needed. One forward pass, as all skips
go forward.
"""

from __future__ import annotations

from dataclasses import replace

from ..decisions.model import Decision, DecisionList, Skip
from ..fields import FIELDS
from ..intervals import IntervalSet
from ..matches.condition import Cube
from .rebuild import rebuild

#: A hull set with more intervals than this is not refined further: a larger hull is still true.
MAX_INTERVALS = 64

#: The protocols that conntrack can be asked about: no other packet meets the lists without an entry.
LOOKED_UP = IntervalSet.of(6, 17)

Hull = dict[str, IntervalSet]


def narrow(decisions: DecisionList, protocols: IntervalSet | None = None) -> DecisionList:
    """`protocols`: of packets of these only."""
    if decisions.kind.no_entry:
        protocols = LOOKED_UP
    items = decisions.decisions
    full = {name: IntervalSet.full(f.width(decisions.kind.family)) for name, f in FIELDS.items()}
    hulls: list[Hull | None] = [None] * (len(items) + 1)
    hulls[0] = {} if protocols is None else {"proto": protocols}
    out: list[Decision | None] = []
    for i, decision in enumerate(items):
        hull, hulls[i] = hulls[i], None  # nothing leads back here
        met = None if hull is None else _meet(hull, decision.when)
        if hull is None or met is None:
            out.append(None)
            if hull is not None:
                hulls[i + 1] = _join(hulls[i + 1], hull)
            continue
        needed = decision.when
        if any(hull.get(n, full[n]) <= s for n, s in needed.sets):
            needed = Cube(tuple((n, s) for n, s in needed.sets if not hull.get(n, full[n]) <= s))
            decision = replace(decision, when=needed)
        out.append(decision)
        if isinstance(decision.then, Skip):
            hulls[decision.then.to] = _join(hulls[decision.then.to], met)
        if needed.sets:
            hulls[i + 1] = _join(hulls[i + 1], _without(hull, needed, full))
    return replace(decisions, decisions=rebuild(out))


def _meet(hull: Hull, cube: Cube) -> Hull | None:
    met = dict(hull)
    for name, s in cube.sets:
        both = hull[name] & s if name in hull else s
        if not both:
            return None
        met[name] = both
    return met


def _without(hull: Hull, cube: Cube, full: Hull) -> Hull:
    """The packets of the hull that are not in the cube, where one field tells."""
    if len(cube.sets) != 1:
        return hull
    name, s = cube.sets[0]
    if len(s.pairs) > MAX_INTERVALS:
        return hull
    rest = hull.get(name, full[name]) - s
    return {**hull, name: rest} if len(rest.pairs) <= MAX_INTERVALS else hull


def _join(a: Hull | None, b: Hull) -> Hull:
    if a is None or a is b:
        return b
    joined = {name: a[name] | b[name] for name in a if name in b}
    return {n: s for n, s in joined.items() if len(s.pairs) <= MAX_INTERVALS}
