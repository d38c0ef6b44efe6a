"""Lay decisions out so that those of one way through the rules stand together.

The walk puts the ways through the rules side by side, rule by rule, with skips between them that every
packet takes. Here each way is followed as far as it goes before the next one begins: most of those skips are
not needed then, and neighbours of one way can be merged. Tables take a step for each skip.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..decisions.model import Decision, DecisionList, Skip
from ..matches.condition import Cube


def straighten(decisions: DecisionList) -> DecisionList:
    items = decisions.decisions
    if not any(isinstance(d.then, Skip) for d in items):
        return decisions
    to = _destinations(items)
    return replace(decisions, decisions=_laid_out([_at_once(items, to, d) for d in items], to))


def _destinations(items: Sequence[Decision]) -> list[int]:
    """For each index where a packet that gets there tests something, or leaves: skips that all packets take,
    or that change nothing, are seen through."""
    to = list(range(len(items) + 1))
    for i in range(len(items) - 1, -1, -1):
        then = items[i].then
        if isinstance(then, Skip) and (not items[i].when.sets or to[then.to] == to[i + 1]):
            to[i] = to[then.to]
    return to


def _at_once(items: Sequence[Decision], to: Sequence[int], item: Decision) -> Decision:
    """Instead of a skip to what decides for all packets, that itself."""
    if not isinstance(item.then, Skip) or to[item.then.to] == len(items):
        return item
    there = items[to[item.then.to]]
    return item if there.when.sets or there.split else replace(item, then=there.then)


def _laid_out(items: Sequence[Decision], to: Sequence[int]) -> tuple[Decision, ...]:
    """What can't be reached is left out. A decision comes after all that lead to it, so skips go forward;
    where one way ends, the next one is that which came first in the rules."""
    end = len(items)
    missing = _entries(items, to)
    ready: list[int] = []
    order: list[int | Skip] = []  # a skip of all packets, where what follows can't come yet
    at: int | None = to[0]
    while at is not None and at != end:
        order.append(at)
        onward, aside = _edges(items, to, at)
        missing.subtract(e for e in (onward, aside) if e is not None)
        if aside is not None and aside != end and not missing[aside] and aside != onward:
            heapq.heappush(ready, aside)
        if onward is not None and (onward == end or missing[onward]):
            order.append(Skip(onward))
            onward = None
        at = onward if onward is not None else heapq.heappop(ready) if ready else None
    while order and order[-1] == Skip(end):  # the end passes
        order.pop()
    return _numbered(items, to, order)


def _edges(items: Sequence[Decision], to: Sequence[int], at: int) -> tuple[int | None, int | None]:
    """Where those that do not match go on, and those that do."""
    item = items[at]
    onward = to[at + 1] if item.when.sets else None
    return onward, to[item.then.to] if isinstance(item.then, Skip) else None


def _entries(items: Sequence[Decision], to: Sequence[int]) -> Counter[int]:
    """How many ways lead to each decision that can be reached."""
    counts: Counter[int] = Counter()
    seen, todo = {to[0]}, [to[0]]
    while todo:
        at = todo.pop()
        if at == len(items):
            continue
        for edge in _edges(items, to, at):
            if edge is not None:
                counts[edge] += 1
                if edge not in seen:
                    seen.add(edge)
                    todo.append(edge)
    return counts


def _numbered(
    items: Sequence[Decision], to: Sequence[int], order: Sequence[int | Skip]
) -> tuple[Decision, ...]:
    place = {at: n for n, at in enumerate(order) if not isinstance(at, Skip)}
    place[len(items)] = len(order)
    out = []
    for at in order:
        if isinstance(at, Skip):
            out.append(Decision(Cube(), Skip(place[at.to])))
            continue
        item = items[at]
        then = Skip(place[to[item.then.to]]) if isinstance(item.then, Skip) else item.then
        out.append(replace(item, then=then))
    return tuple(out)
