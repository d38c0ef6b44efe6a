"""A file for each family, in one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.command import fine, xdptables

_RULES = """*filter
:INPUT DROP [0:0]
-A INPUT -s {net} -j DROP
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    four, six = tmp_path / "rules.v4", tmp_path / "rules.v6"
    four.write_text(_RULES.format(net="10.0.0.0/8"))
    six.write_text(_RULES.format(net="2001:db8:1::/48"))
    return four, six


def test_compile_names_lines_with_their_file(files: tuple[Path, Path]) -> None:
    out = fine("compile", *files, "-i", "eth0").stdout
    assert f"line 3 of {files[0]} filter" in out and f"line 3 of {files[1]} filter" in out
    assert "4 of 4 dropping rules run in XDP" in out
    assert " of " not in fine("compile", files[0], "-i", "eth0").stdout.splitlines()[0]


def test_verify_tells_equal_rules_of_both_apart(files: tuple[Path, Path]) -> None:
    found = json.loads(fine("verify", "--plan", "--json", *files, "-i", "eth0").stdout)
    assert found["ok"] and found["unmet"] == [] and found["decisions"]["unreached"] == []
    assert {d["rule"] for d in found["drops"]} > {
        "-A INPUT -s 10.0.0.0/8 -j DROP", "-A INPUT -s 2001:db8:1::/48 -j DROP"
    }  # fmt: skip


def test_explain_takes_the_rules_of_the_packet(files: tuple[Path, Path]) -> None:
    assert f"by line 3 of {files[1]}" in fine("explain", *files, "udp [2001:db8:1::5]:9 > me:9").stdout
    assert f"by line 3 of {files[0]}" in fine("explain", *files, "udp 10.1.1.1:9 > me:9").stdout
    assert f"line 3 of {files[1]}: " in fine("explain", *files, "--rule", f"{files[1]}:3").stdout


def test_a_line_of_which_file(files: tuple[Path, Path]) -> None:
    done = xdptables("explain", *files, "--rule", "3")
    assert done.returncode == 1
    assert f"say which: --rule {files[0]}:3 or --rule {files[1]}:3" in done.stderr
    assert "no number of a line" in xdptables("explain", *files, "--rule", "three").stderr
    assert "holds no rule" in xdptables("explain", *files, "--rule", f"{files[0]}:1").stderr


def test_what_does_not_go_together(files: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.v4"
    other.write_text(files[0].read_text())
    done = xdptables("verify", files[0], other)
    assert done.returncode == 1
    assert f"{other}:1:1: error: the IPv4 rules are in {files[0]} already" in done.stderr
    assert "given twice" in xdptables("compile", files[0], files[0]).stderr
    assert "what one file holds" in xdptables("compile", *files, "-4").stderr


def test_the_errors_of_both(files: tuple[Path, Path]) -> None:
    for file in files:
        file.write_text(file.read_text().replace("--dport 22", "--dport 99999"))
    done = xdptables("compile", *files)
    assert [line.split(": ")[0] for line in done.stderr.splitlines() if ": error:" in line] == [
        f"{file}:4:32" for file in files
    ]
