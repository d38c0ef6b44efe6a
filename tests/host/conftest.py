from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/, for the helpers beside this folder

from netns import NetnsPair


@pytest.fixture
def pair() -> Iterator[NetnsPair]:
    with NetnsPair() as pair:
        yield pair
