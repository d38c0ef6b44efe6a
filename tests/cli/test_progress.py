"""The bar: on a terminal only, and only for what takes long."""

from __future__ import annotations

import subprocess
import sys

from cli.terminal import shown, terminal

CODE = """
import sys, time
from xdptables.cli.progress import progress_bar
with progress_bar(float(sys.argv[1])) as progress:
    progress("deciding", 1, 2)
    time.sleep(0.3)
print("done")
"""


def on_a_terminal(after: float) -> tuple[str, str]:
    """Standard output, and what the terminal shows."""
    with terminal() as (ours, theirs):
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(after)], stdout=subprocess.PIPE, stderr=theirs, check=True
        )
        return done.stdout.decode(), shown(ours, theirs)


def test_what_takes_long_is_shown() -> None:
    printed, seen = on_a_terminal(0.01)
    assert "deciding" in seen
    assert printed == "done\n"


def test_what_is_quick_is_not() -> None:
    assert on_a_terminal(60.0) == ("done\n", "")


def test_no_bar_in_a_pipe() -> None:
    done = subprocess.run([sys.executable, "-c", CODE, "0.01"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
