"""`make coverage` counts right, and its table in the documents is of these rulesets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from rules import corpus

ROOT = Path(__file__).resolve().parents[2]
OPEN = "*filter\n:INPUT ACCEPT\n-A INPUT -s 192.0.2.1 -j DROP\n-A INPUT -m u32 --u32 0=0 -j DROP\nCOMMIT\n"
SHUT = "*filter\n:INPUT DROP\n-A INPUT -m state --state ESTABLISHED -j ACCEPT\nCOMMIT\n"


def test_a_table_of_two_rulesets(tmp_path: Path) -> None:
    folder = tmp_path / "rulesets"
    folder.mkdir()
    (folder / "open.v4").write_text(OPEN)
    (folder / "shut.v4").write_text(SHUT)
    (folder / "empty.v4").write_text("*filter\nCOMMIT\n")
    document = tmp_path / "coverage.md"
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "coverage.py", document],
        check=True, capture_output=True, env={**os.environ, "XDPTABLES_CORPUS": str(tmp_path)},
    )  # fmt: skip
    text = document.read_text()
    assert re.search(r"\| plain \| a server with one interface \| 2 \| 3 \| 2 \| \d \| 1 \|", text)
    assert re.search(r"--log-budget auto` \| 2 \| 3 \| 2 \|", text)
    assert "| -m u32: bytes chosen by an expression | 1 | 1 | 1 | 1 |" in text
    assert "| open.v4 | 1 of 2 | 1 of 2 | 1 of 2 | 1 -m u32: bytes chosen by an expression |" in text
    assert "| empty.v4 | – | – | – |  |" in text


def test_every_real_ruleset_is_in_the_documents() -> None:
    corpus.require()
    text = (ROOT / "docs" / "coverage.md").read_text()
    for file in corpus.files("rulesets"):
        assert f"| {file.name} |" in text, "run: make coverage"
