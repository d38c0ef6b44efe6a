from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/, for the helpers beside this folder

from netns import NetnsPair
from xdptables.kernel import settle


@pytest.fixture
def netns_pair() -> Iterator[NetnsPair]:
    """Records of programs that went away with their namespace are removed at the end."""
    with NetnsPair() as pair:
        yield pair
    settle.repair()
