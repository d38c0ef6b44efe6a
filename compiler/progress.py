"""What is being done now, told to whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable

#: What is done now, how much of it is done, and how much there is; 0: not known.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Nobody is told."""
