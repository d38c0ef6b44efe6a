"""What a comment or a chain is called never becomes code, nor does it command the terminal."""

from __future__ import annotations

import os
import re

import pytest

from cli.command import fine
from xdptables.kernel import kfuncs
from xdptables.kernel.compile import compile_program

HOSTILE = [
    "*/ } int evil(void) { return 1; } /*",
    "/* // */ #include <linux/nothing.h>",
    "ends in a backslash \\\\",
    "a trigraph ??/",
    "??/??/*/??=define u32 u64",
    "{{ 7 * 7 }}{% raw %}{# #}",
    "é 火 \u2028 \u202e \x85",
    "[bold red]markup[/bold red] [/]",
    "\x1b[2J\x1b]0;title\x07 \x08\x08\x7f\x0c\x0b",
    "%s%n %d",
]
CHAINS = ["*/}int(x)??/", "a\\", "{{x}}", "//", "/*", "#if", "??/"]


def rules(comments: list[str], chains: list[str]) -> str:
    lines = ["*filter", ":INPUT ACCEPT [0:0]"]
    lines += [f":{chain} - [0:0]" for chain in chains]
    lines += [
        f'-A INPUT -s 198.51.100.{i}/32 -m comment --comment "{text}" -j DROP'
        for i, text in enumerate(comments)
    ]
    lines += [f"-A INPUT -s 203.0.113.{i}/32 -j {chain}" for i, chain in enumerate(chains)]
    lines += [f"-A {chain} -p {'tcp' if i % 2 else 'udp'} -j DROP" for i, chain in enumerate(chains)]
    return "\n".join((*lines, "COMMIT", ""))


def code(c_text: str) -> str:
    """Without comments, in the order of translation in C: trigraphs, joined lines, comments."""
    c_text = c_text.replace("??/", "\\").replace("\\\n", "")
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", c_text, flags=re.S)


def test_the_code_is_that_of_harmless_names() -> None:
    hostile = fine("compile", "-", "-i", "eth0", "--dry-run", input=rules(HOSTILE, CHAINS))
    plain = fine(
        "compile", "-", "-i", "eth0", "--dry-run",
        input=rules(["x"] * len(HOSTILE), [f"c{i}" for i in range(len(CHAINS))]),
    )  # fmt: skip
    assert code(hostile.stdout) == code(plain.stdout)
    assert hostile.stdout.isascii()


@pytest.mark.kernel
def test_the_kernel_takes_it() -> None:
    done = fine("compile", "-", "-i", "eth0", "--dry-run", input=rules(HOSTILE, CHAINS))
    program = compile_program(done.stdout)
    os.close(kfuncs.load(program.instructions, program.license).fd)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_the_report_shows_it_and_no_more(encoding: str) -> None:
    done = fine("compile", "-", input=rules(HOSTILE, CHAINS), env={"PYTHONIOENCODING": encoding})
    assert all(c == "\n" or c.isprintable() for c in done.stdout)
    assert "[bold red]markup[/bold red] [/]" in done.stdout
    assert "*/ } int evil(void)" in done.stdout


def test_bytes_that_are_no_text() -> None:
    text = rules(["X"], []).encode().replace(b"X", b"\xff\xfe\x80")
    done = fine("compile", "-", "--dry-run", input=text)
    assert done.stdout.isascii()
    assert '--comment "???"' in done.stderr


def test_a_line_end_inside_a_comment_is_refused() -> None:
    from cli.command import xdptables

    done = xdptables("compile", "-", input=rules(["one\n-A INPUT -j ACCEPT"], []))
    assert done.returncode == 1
    assert "the quoted string does not end on this line" in done.stderr
