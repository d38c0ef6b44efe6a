"""Where a run is: one line that is written anew on a terminal, a line for each phase elsewhere."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal,
            auto_refresh=False,
        )  # fmt: skip
        self._task = self._bars.add_task("")

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, what: str, steps: int) -> None:
        if self._bars.disable:
            print(f"{what} ({steps})", file=sys.stderr, flush=True)
        self._bars.reset(self._task, description=what, total=steps)
        self._bars.refresh()

    def step(self) -> None:
        self._bars.advance(self._task)
        self._bars.refresh()
