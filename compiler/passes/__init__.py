"""The passes, in the order they run. Each takes a decision list and gives one with the same drops."""

from __future__ import annotations

from collections.abc import Callable

from ..decisions.model import DecisionList
from .merge import merge_neighbours
from .narrow import narrow
from .straighten import straighten
from .tail import drop_passing_tails

Pass = Callable[[DecisionList], DecisionList]

PASSES: tuple[Pass, ...] = (
    narrow,  # what cannot be met, and tests whose answer is known, go
    drop_passing_tails,  # what cannot change the outcome goes
    straighten,  # each way through the rules stands together
    merge_neighbours,  # neighbours with one outcome become one set
    narrow,  # merged sets make more of what follows unreachable
    drop_passing_tails,
    straighten,
    merge_neighbours,  # what stood between them is gone
)


def optimise(decisions: DecisionList) -> DecisionList:
    for step in PASSES:
        decisions = step(decisions)
    return decisions
