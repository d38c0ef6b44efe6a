"""What is generated from the code is up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_matches(tmp_path: Path) -> None:
    file = tmp_path / "matches.md"
    subprocess.run([sys.executable, ROOT / "scripts" / "match_tables.py", file], check=True)
    assert (ROOT / "docs" / "matches.md").read_text() == file.read_text(), "run: make docs"
