"""How patient tests are: a processor that is emulated is ten to twenty times slower."""

from __future__ import annotations

import os

SLOW = float(os.environ.get("XDPTABLES_SLOW", "1"))


def seconds(n: float) -> float:
    """A wait of `n` seconds on an ordinary machine."""
    return n * SLOW
