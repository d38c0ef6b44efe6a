"""What many packets get from a list by its own definition: decision after decision, all packets at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xdptables.decisions.model import Decision, DecisionList, Drop, Skip
from xdptables.emit.outcome import PASS
from xdptables.emit.plan import Plan
from xdptables.intervals import IntervalSet

Bools = NDArray[np.bool_]


def answers(decisions: DecisionList, packets: Sequence[Mapping[str, int]], plan: Plan) -> list[int]:
    """Of each packet, the code of the first decision that matches."""
    columns: dict[str, _Column] = {}
    at, out = np.zeros(len(packets), np.int64), [PASS] * len(packets)
    for number, decision in enumerate(decisions.decisions):
        meet = at == number
        for name, s in decision.when.sets:
            if name not in columns:
                columns[name] = _Column([p.get(name, 0) for p in packets])
            meet &= columns[name].within(s)
        at[at == number] += 1
        if not meet.any():
            continue
        if isinstance(decision.then, Skip):
            at[meet] = decision.then.to
            continue
        at[meet] = len(decisions.decisions)
        if isinstance(decision.then, Drop):
            for i in np.flatnonzero(meet):
                out[i] = _code(decision, packets[i], plan)
    return out


class _Column:
    """One field of all packets, as ranks: values have up to 128 bits."""

    def __init__(self, values: list[int]) -> None:
        self.known = sorted(set(values))
        ranks = {value: rank for rank, value in enumerate(self.known)}
        self.ranks = np.array([ranks[v] for v in values], np.int64)

    def within(self, s: IntervalSet) -> Bools:
        out = np.zeros(self.ranks.size, np.bool_)
        for lo, hi in s.pairs:
            out |= (self.ranks >= bisect_left(self.known, lo)) & (self.ranks < bisect_right(self.known, hi))
        return out


def _code(decision: Decision, packet: Mapping[str, int], plan: Plan) -> int:
    assert isinstance(decision.then, Drop)
    cause = decision.then.cause
    if decision.split:
        value = packet.get(decision.split_field, 0)
        cause = next(c for lo, hi, c in decision.split if lo <= value <= hi)
    return plan.coder.code(decision.then, cause)
