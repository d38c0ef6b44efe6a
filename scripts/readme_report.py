"""The report that README.md shows, from tests/golden: python scripts/readme_report.py"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "$ xdptables compile examples/stateful.rules -i eth0\n"


def main() -> None:
    readme = ROOT / "README.md"
    head, _, rest = readme.read_text().partition(BEFORE)
    _, fence, tail = rest.partition("```\n")
    report = (ROOT / "tests" / "golden" / "stateful.txt").read_text()
    readme.write_text(f"{head}{BEFORE}{report}{fence}{tail}")


if __name__ == "__main__":
    main()
