"""Neighbours with one outcome whose conditions differ in one field become one set.

A merged drop remembers which rule each value belongs to (`split`), the earlier rule first, so that
counters stay per rule.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace

from ..decisions.model import Accept, Cause, Decision, DecisionList, Drop, Skip, Then, Undecided
from ..intervals import IntervalSet
from ..matches.condition import Cube
from .rebuild import rebuild, skip_targets


def merge_neighbours(decisions: DecisionList) -> DecisionList:
    items = decisions.decisions
    targets = skip_targets(items)
    out: list[Decision | None] = []
    i = 0
    while i < len(items):
        end, field = _run(items, i, targets)
        out.append(_merged(items[i:end], field) if end > i + 1 else items[i])
        out += [None] * (end - i - 1)
        i = end
    return replace(decisions, decisions=rebuild(out))


def _outcome(then: Then) -> object:
    """Equal for outcomes that may be merged."""
    if isinstance(then, Drop):
        return Drop, then.local, then.after_conntrack, then.budget
    return type(then) if isinstance(then, Accept | Undecided) else then


def _run(items: Sequence[Decision], start: int, targets: frozenset[int]) -> tuple[int, str]:
    """How far one merge reaches from `start`, and the field that differs."""
    first = items[start]
    if first.split or isinstance(first.then, Skip):
        return start + 1, ""
    field, end = "", start + 1
    while end < len(items) and end not in targets:
        here = items[end]
        if here.split or _outcome(here.then) != _outcome(first.then):
            break
        if here.when.fields != first.when.fields:
            break
        differing = [n for n, s in here.when.sets if s != first.when.get(n)]
        if len(differing) > 1 or (field and differing and differing[0] != field):
            break
        field = field or (differing[0] if differing else "")
        end += 1
    return end, field


def _merged(run: Sequence[Decision], field: str) -> Decision:
    first = run[0]
    if not field:
        return first  # the same condition again: the first one decides
    sets = [d.when.get(field) or IntervalSet() for d in run]
    union = IntervalSet.union_of(p for s in sets for p in s)
    when = Cube(tuple((n, union if n == field else s) for n, s in first.when.sets))
    if not isinstance(first.then, Drop):
        return replace(first, when=when)
    causes = [d.then.cause for d in run if isinstance(d.then, Drop)]
    return replace(first, when=when, split_field=field, split=_owners(sets, causes))


def _owners(sets: Sequence[IntervalSet], causes: Sequence[Cause]) -> tuple[tuple[int, int, Cause], ...]:
    """For each value the first set that holds it: a sweep over the intervals' ends."""
    starts = sorted((lo, order, hi) for order, s in enumerate(sets) for lo, hi in s)
    out: list[tuple[int, int, Cause]] = []
    active: list[tuple[int, int]] = []  # (order, hi), the smallest order first
    at, i = 0, 0
    while i < len(starts) or active:
        while active and active[0][1] < at:
            heapq.heappop(active)
        if not active:
            if i == len(starts):
                break
            at = max(at, starts[i][0])
        while i < len(starts) and starts[i][0] <= at:
            heapq.heappush(active, (starts[i][1], starts[i][2]))
            i += 1
        while active and active[0][1] < at:
            heapq.heappop(active)
        if not active:
            continue
        order, hi = active[0]
        # Only an earlier rule that starts inside takes over; a later one waits.
        j = i
        end = hi
        while j < len(starts) and starts[j][0] <= hi:
            if starts[j][1] < order:
                end = starts[j][0] - 1
                break
            j += 1
        if out and out[-1][2] is causes[order] and out[-1][1] + 1 == at:
            out[-1] = (out[-1][0], end, causes[order])
        else:
            out.append((at, end, causes[order]))
        at = end + 1
    return tuple(out)
