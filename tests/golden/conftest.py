from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the file of that name here; --update-golden writes it instead."""

    def compare(name: str, text: str) -> None:
        file = HERE / name
        if request.config.getoption("--update-golden"):
            file.write_text(text)
        wanted = file.read_text() if file.exists() else ""
        assert text == wanted, f"{name} differs; if that is meant: pytest tests/golden --update-golden"

    return compare
