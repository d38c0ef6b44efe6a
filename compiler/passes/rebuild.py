"""Take decisions out of a list and keep the skips right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..decisions.model import Decision, Skip


def rebuild(decisions: Sequence[Decision | None]) -> tuple[Decision, ...]:
    """None: taken out. A skip to a taken-out decision goes to the next one that stays; a skip to
    what follows anyway is taken out too."""
    kept = list(decisions)
    following = len(kept)  # the first one behind i that stays
    for i in range(len(kept) - 1, -1, -1):
        decision = kept[i]
        if decision is not None and isinstance(decision.then, Skip) and decision.then.to <= following:
            kept[i] = None
        elif decision is not None:
            following = i
    index, at = [], 0
    for d in kept:
        index.append(at)
        at += d is not None
    index.append(at)
    return tuple(
        replace(d, then=Skip(index[d.then.to])) if isinstance(d.then, Skip) else d
        for d in kept
        if d is not None
    )


def skip_targets(decisions: Sequence[Decision]) -> frozenset[int]:
    return frozenset(d.then.to for d in decisions if isinstance(d.then, Skip))
