"""Where the real rulesets are: test data that the project does not carry itself."""

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"
ROOT = Path(os.environ.get("XDPTABLES_CORPUS", _DEFAULT))


def files(folder: str, pattern: str = "*") -> list[Path]:
    return sorted((ROOT / folder).glob(pattern))


def require() -> None:
    """Skip without the corpus, or fail where nothing may be skipped."""
    if not ROOT.is_dir():
        reason = f"no corpus at {ROOT}; set XDPTABLES_CORPUS"
        if os.environ.get("XDPTABLES_STRICT") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
