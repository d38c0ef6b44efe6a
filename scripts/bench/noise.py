"""What a set of noisy times says."""

from __future__ import annotations

from collections.abc import Sequence

LOW = 0.1
#: Differences smaller than this are ties: what the machine does from one run to the next.
TIE = 0.15


def low(values: Sequence[float]) -> float:
    """The tenth percentile: noise only ever adds time, in bursts that may spoil half of the rounds."""
    return sorted(values)[int(LOW * (len(values) - 1))]


def spread(values: Sequence[float]) -> float:
    """How far the median lies above that, as a share."""
    return sorted(values)[len(values) // 2] / low(values) - 1
