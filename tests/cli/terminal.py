"""A terminal for a command to write to."""

from __future__ import annotations

import contextlib
import os
import pty
from collections.abc import Iterator


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Our end, and the command's, which `shown` closes."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def shown(ours: int, theirs: int) -> str:
    """All that was written, once the command has ended."""
    os.close(theirs)
    text = b""
    while True:
        try:
            text += os.read(ours, 65536)
        except OSError:  # the other end is closed and all is read
            return text.decode()
