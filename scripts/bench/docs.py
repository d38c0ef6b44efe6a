"""make bench-docs: what the last whole run found, written into the documentation."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from xdptables.source import UserError

from . import plot, results, table
from .results import Run

SAVED = Path("build/bench.json")
PAGE, PICTURE = Path("docs/performance.md"), Path("docs/bench.svg")
_BEGIN, _END = "<!-- bench {name}: make bench-docs writes what follows -->", "<!-- bench {name}: end -->"


def write(run: Run) -> None:
    page = PAGE.read_text()
    page = _put(page, "aims", f"On {run.machine}:\n\n{_text(table.aims_table(run))}")
    page = _put(page, "figures", _text(*table.figures(run)))
    PAGE.write_text(page)
    plot.draw(run, PICTURE)


def _put(page: str, name: str, text: str) -> str:
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    if page.count(begin) != 1 or page.count(end) != 1:
        raise UserError(f"{PAGE} has no place for the {name}", f"between the lines {begin} and {end}")
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.S)


def _text(*parts: RenderableType) -> str:
    out = io.StringIO()
    console = Console(file=out, width=120, highlight=False)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text))
    lines = "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())
    return f"```text\n{lines}\n```"


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
