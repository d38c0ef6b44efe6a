"""What is generated from the code is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_matches(tmp_path: Path) -> None:
    file = tmp_path / "matches.md"
    subprocess.run([sys.executable, ROOT / "scripts" / "match_tables.py", file], check=True)
    assert (ROOT / "docs" / "matches.md").read_text() == file.read_text(), "run: make docs"


def test_the_report_in_the_readme_is_the_real_one() -> None:
    golden = (ROOT / "tests" / "golden" / "stateful.txt").read_text()
    readme = (ROOT / "README.md").read_text()
    assert golden.rstrip() in readme


def test_links_lead_somewhere() -> None:
    for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_what_the_documents_name_exists() -> None:
    """Folders and files of the compiler in backticks."""
    for file in (ROOT / "docs").glob("*.md"):
        for name in re.findall(r"`((?:[a-z_]+/)+[\w.]*)`", file.read_text()):
            places = (ROOT / name, ROOT / "compiler" / name)
            assert any(p.exists() for p in places), f"{file.name}: {name}"
