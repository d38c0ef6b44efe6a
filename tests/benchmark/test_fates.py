"""The gate of the benchmark: right fates pass it, and a wrong one can't."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_ENV = {**os.environ, "PYTHONPATH": str(_ROOT / "scripts")}

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=_ROOT, env=_ENV, check=False
    )


def test_the_gate_sees_a_wrong_fate() -> None:
    done = _run(str(Path(__file__).with_name("fates.py")))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    # What netfilter does with the rules is what the bench works out from them, in both families.
    right = [key for key in said if key.endswith("as they are")]
    assert {key: said[key] for key in right} == dict.fromkeys(right, "")
    missing, too_many = (said[f"blocklist iptables one {what}"] for what in ("missing", "too many"))
    assert re.fullmatch(r"\d+ of 4096 packets that had to be dropped came through", missing)
    assert re.fullmatch(r"\d+ of 4096 packets that had to be accepted did not come through", too_many)


def test_a_tiny_run() -> None:
    words = "-m bench --workload blocklist --size 10 --rounds 2 --contestant limit --contestant iptables"
    done = _run(*words.split())
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line[:25].strip(): line[25:].split() for line in done.stdout.splitlines()}
    limit, iptables = (float(rows[name][0]) for name in ("parse and drop", "iptables-legacy INPUT"))
    assert limit > iptables > 0, done.stdout
    assert "WRONG" not in done.stdout
    assert not list(Path("/run/netns").glob("bench*"))
