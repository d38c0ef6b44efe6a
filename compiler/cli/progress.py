"""A bar on the terminal for what takes longer than a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

from ..progress import Progress, silent

PATIENCE = 1.0  # seconds


@contextmanager
def progress_bar(after: float = PATIENCE) -> Iterator[Progress]:
    """Tells nobody where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    # A descriptor of its own: while clang is at work, what is written to 2 is caught.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal:
        bar = Bar(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
            console=Console(file=terminal, force_terminal=True), transient=True,
        )  # fmt: skip
        task = bar.add_task("", total=None)
        later = Timer(after, bar.start)
        later.daemon = True
        later.start()
        try:
            yield lambda what, done, total: bar.update(
                task, description=what, completed=done, total=total or None
            )
        finally:
            later.cancel()
            later.join()
            bar.stop()
