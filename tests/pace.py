"""How patient tests are: a processor that is emulated is ten to twenty times slower."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

SLOW = float(os.environ.get("XDPTABLES_SLOW", "1"))


def seconds(n: float) -> float:
    """A wait of `n` seconds on an ordinary machine."""
    return n * SLOW


def within(limit: float, look: Callable[[], Any], what: str) -> Any:
    """What `look` finds, once it finds something."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        if got := look():
            return got
        time.sleep(0.05)
    raise AssertionError(f"not within {limit} s: {what}")
