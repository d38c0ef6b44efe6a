"""Python's search for unreachable cycles, put off while much is made that is all needed.

Rules and decisions are trees, freed by their counts. While 100,000 of them are made the collector would go
through those there are again and again, which takes longer than all the rest.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Also as a decorator. Nested: the outermost one turns it on again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
