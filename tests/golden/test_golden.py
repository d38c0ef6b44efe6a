"""The C and the report of every example, to the letter. A change of either shows in review."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from modules import need_conntrack
from xdptables.emit.engine import AUTOMATIC, EngineRequest
from xdptables.fields import Family
from xdptables.host.facts import ASSUMPTIONS
from xdptables.kernel import kfuncs
from xdptables.kernel.compile import compile_program
from xdptables.pipeline import Compiled, compile_rules
from xdptables.report.text import show
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.rules"))
HERE = Path(__file__).resolve().parent

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)


def compiled(path: Path, engine: EngineRequest = AUTOMATIC) -> Compiled:
    host = ASSUMPTIONS["plain"]
    host = dataclasses.replace(host, interface=dataclasses.replace(host.interface, name="eth0"))
    family = Family.IPV6 if path.stem.endswith("6") else Family.IPV4
    rulesets = read_rulesets(Source(path.name, path.read_text()), family)
    return compile_rules(rulesets, host, advise=True, engine=engine)


@each_example
def test_c(path: Path, golden: Callable[[str, str], None]) -> None:
    golden(f"{path.stem}.c", compiled(path).c_text)


@each_example
def test_report(path: Path, golden: Callable[[str, str], None]) -> None:
    out = io.StringIO()
    show(compiled(path).report, Console(file=out, highlight=False))
    golden(f"{path.stem}.txt", out.getvalue())


@each_example
def test_an_example_says_what_it_is(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_the_same_text_whatever_the_hash_seed() -> None:
    edge = next(p for p in EXAMPLES if p.stem == "edge")
    words = [sys.executable, "-m", "xdptables", "compile", str(edge), "-i", "eth0", "--dry-run"]
    texts = {
        subprocess.run(
            words, capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout.decode()
        for seed in ("0", "1", "77")
    }
    assert texts == {(HERE / "edge.c").read_text()}


@pytest.mark.kernel
@pytest.mark.stock
@each_example
def test_the_kernel_takes_it(path: Path) -> None:
    need_conntrack()
    program = compile_program((HERE / f"{path.stem}.c").read_text())
    os.close(kfuncs.load(program.instructions, program.license).fd)


@pytest.mark.kernel
@pytest.mark.stock
@each_example
def test_the_kernel_takes_it_in_tables(path: Path) -> None:
    need_conntrack()
    made = compiled(path, EngineRequest("tables"))
    program = compile_program(made.c_text, made.plan.map_values)
    os.close(kfuncs.load(program.instructions, program.license).fd)
