"""The totals at the end of random testing."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from fuzz.case import Counts
from fuzz.totals import line, table

DOCS = Path(__file__).parents[2] / "docs" / "fuzz.md"


def test_the_table_has_every_count_and_the_rows_of_the_docs() -> None:
    counts = Counts(**{f.name: 1000 + n for n, f in enumerate(fields(Counts))})
    made = table(counts, 3600)
    for f in fields(Counts):
        assert f"{getattr(counts, f.name):,}" in made, f.name
    names = [row.split("|")[1].strip() for row in made.splitlines()]
    listed = DOCS.read_text().partition("## Totals")[2].partition("## Faults")[0]
    for paragraph in listed.split("\n\n"):
        written = [row.split("|")[1].strip() for row in paragraph.splitlines() if row.startswith("| ")]
        assert [n for n in names if n in written] == written
    assert "disagreements" in listed
    assert len({len(row) for row in made.splitlines()}) == 1


def test_what_was_not_tried_has_no_row() -> None:
    made = table(Counts(rulesets=3, real_programs=1), 5)
    assert "broken texts" not in made and "refused" not in made and "without any program" not in made
    assert "1; the plan in its place: 2" in made
    assert len(line(Counts(rulesets=1234567, frames=10**9, drops=10**8))) < 110
