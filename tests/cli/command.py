"""The command as a user runs it: another process, its status and both outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def xdptables(
    *words: str | Path,
    input: str | bytes = b"",
    user: int | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "xdptables", *map(str, words)],
        input=input.encode() if isinstance(input, str) else input,
        capture_output=True,
        check=False,
        cwd=ROOT,
        user=user,
        env={**os.environ, **(env or {})},
    )
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert "Traceback" not in out + err, err
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def fine(*words: str | Path, **kwargs: object) -> subprocess.CompletedProcess[str]:
    done = xdptables(*words, **kwargs)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done
