"""JSON on standard output, and how wide a terminal is for what goes to standard error."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from ..source import LONGEST


def excerpt() -> int:
    """Characters of a line that a message shows: on a terminal so few that the caret is in place."""
    if not sys.stderr.isatty():
        return LONGEST
    return max(shutil.get_terminal_size().columns - len("    ......"), 20)


def print_json(data: Any, err: bool = False) -> None:
    """A list has one item a line, so that 100,000 rules can be read by eye and by line."""
    out = sys.stderr if err else sys.stdout
    out.writelines(_pieces(data, "\n"))
    out.write("\n")


def _pieces(value: Any, newline: str) -> Iterator[str]:
    """`newline` ends in the indentation. An object without lists or objects in it stays on its line."""
    inner = newline + "  "
    if isinstance(value, dict) and any(isinstance(v, dict | list) for v in value.values()):
        for at, (key, item) in enumerate(value.items()):
            yield f"{',' if at else '{'}{inner}{json.dumps(key)}: "
            yield from _pieces(item, inner)
        yield newline + "}"
    elif isinstance(value, list) and value:
        for at, item in enumerate(value):
            yield f"{',' if at else '['}{inner}"
            yield from _pieces(item, inner)
        yield newline + "]"
    else:
        yield json.dumps(value)
