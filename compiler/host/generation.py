"""What was read of nf_tables, kept until it changes.

Each transaction on nf_tables gives it a new generation (nf_tables_commit), iptables-nft's included; so
with 100,000 rules, which it takes seconds to read, a look that finds nothing new costs one message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from . import nft_objects

T = TypeVar("T")


class KeptByGeneration:
    """For one network namespace. Not for what else decides beside the transactions, such as devices."""

    def __init__(self) -> None:
        self._generation: int | None = None
        self._kept: dict[str, Any] = {}

    def get(self, name: str, read: Callable[[], T]) -> T:
        """What `read` gave in this generation. The number is asked for first: a change while `read` is at
        work makes the next look read again."""
        now = nft_objects.generation()
        if now is None or now != self._generation:
            self._kept.clear()
            self._generation = now
        if name not in self._kept:
            self._kept[name] = read()
        value: T = self._kept[name]
        return value
