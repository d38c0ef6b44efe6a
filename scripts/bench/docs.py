"""make bench-docs: what the last whole run found, written into the documentation."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from xdptables.source import UserError

from . import plot, results, table
from .results import Run

SAVED = Path("build/bench.json")
PAGE, PICTURE = Path("docs/performance.md"), Path("docs/bench.svg")
_BEGIN, _END = "<!-- bench: begin; make bench-docs writes what is between -->", "<!-- bench: end -->"


def write(run: Run) -> None:
    page = PAGE.read_text()
    if page.count(_BEGIN) != 1 or page.count(_END) != 1:
        raise UserError(f"{PAGE} has no place for the figures", f"between the lines {_BEGIN} and {_END}")
    said = f"On {run.machine}:\n\n```text\n{text(run)}\n```"
    PAGE.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: f"{_BEGIN}\n{said}\n{_END}", page, flags=re.S))
    plot.draw(run, PICTURE)


def text(run: Run) -> str:
    out = io.StringIO()
    table.show(run, Console(file=out, width=120, highlight=False))
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def main() -> int:
    try:
        if not SAVED.exists():
            raise UserError(f"there is no {SAVED}", "`make bench` makes it")
        run = results.read(SAVED)
        if run.quick:
            raise UserError(f"{SAVED} is of a quick run", "run `make bench`")
        write(run)
    except UserError as e:
        print(f"bench-docs: {e}", file=sys.stderr)
        return 1
    print(f"written: {PAGE}, {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
