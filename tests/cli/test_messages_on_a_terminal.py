"""Messages are cut to the width of the terminal, so that the caret stands below its place."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios

from cli.terminal import shown, terminal

RULES = f"*filter\n-A INPUT -m comment --comment {'x' * 120} -s 1.2.3.400 -j DROP\nCOMMIT\n"


def lines(columns: int) -> list[str]:
    command = [sys.executable, "-m", "xdptables", "compile", "-"]
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    with terminal() as (ours, theirs):
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        subprocess.run(
            command, input=RULES.encode(), stdout=theirs, stderr=theirs, env=environment, check=False
        )
        return shown(ours, theirs).replace("\r", "").splitlines()


def test_a_long_line_is_shown_around_the_place() -> None:
    for columns in (50, 80, 130):
        _, line, caret, hint = lines(columns)
        assert len(line) <= columns and line[caret.index("^") :].startswith("1.2.3.400 -j")
        assert hint.startswith("    hint: ")


def test_without_a_terminal_nothing_is_cut() -> None:
    command = [sys.executable, "-m", "xdptables", "compile", "-"]
    done = subprocess.run(command, input=RULES, capture_output=True, text=True, check=False)
    assert RULES.splitlines()[1] in done.stderr
