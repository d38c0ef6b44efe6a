"""Files that the user names."""

from __future__ import annotations

import sys
from pathlib import Path

from ..source import Source, UserError


def read_source(name: str) -> Source:
    """A file, or standard input for "-". Bytes that are no UTF-8 are kept."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as e:
        hint = "give an iptables-save file, or - for standard input"
        raise UserError(f"can't read {name}: {e.strerror}", hint) from e
    return Source("<stdin>" if name == "-" else name, data.decode(errors="surrogateescape"))
