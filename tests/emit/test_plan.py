"""A program too large is cut at its end, which only makes more packets pass."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from xdptables.emit import plan
from xdptables.emit.engine import EngineRequest
from xdptables.host.facts import ASSUMPTIONS
from xdptables.kernel import kfuncs
from xdptables.kernel.compile import compile_program
from xdptables.pipeline import Compiled, compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source

PLAIN = ASSUMPTIONS["plain"]
HOST = dataclasses.replace(PLAIN, interface=dataclasses.replace(PLAIN.interface, name="eth0"))
EDGE = (Path(__file__).resolve().parents[2] / "examples" / "edge.rules").read_text()


def compiled(monkeypatch: pytest.MonkeyPatch, most: int) -> Compiled:
    monkeypatch.setattr(plan, "MAX_TESTS", most)
    return compile_rules(read_rulesets(Source("edge", EDGE)), HOST, engine=EngineRequest("linear"))


@pytest.mark.parametrize("most", range(0, 60, 7))
def test_what_fits_is_a_head_of_the_whole(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    whole, cut = compiled(monkeypatch, 10**6), compiled(monkeypatch, most)
    assert not whole.plan.cut
    assert cut.plan.tests <= most
    assert cut.plan.cut == cut.report.cut
    for long, short in zip(whole.plan.lists, cut.plan.lists, strict=True):
        assert [d.when for d in short.decisions] == [d.when for d in long.decisions[: len(short.decisions)]]
    body = cut.c_text
    assert set(re.findall(r"goto (\w+);", body)) == set(re.findall(r"^(at_\w+):", body, re.M))


def test_the_report_says_what_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = compiled(monkeypatch, 7)
    assert cut.plan.cut > 0
    assert any(e.why == "the program would be too large" for e in cut.report.entries)


def many(kind: str) -> str:
    """Rulesets that come near MAX_TESTS, each of another kind."""
    rules = {
        "addresses": [f"-s 10.{i // 100}.{2 * (i % 100)}.1/32" for i in range(1400)],
        "addresses and ports": [
            f"-s 10.{i % 250}.{i // 250}.1/32 -p tcp --dport {i + 1}" for i in range(900)
        ],
        "IPv6": [f"-s 2001:db8:{i:x}:{i % 7:x}::/64" for i in range(1000)],
    }[kind]
    return "\n".join(
        ("*filter", ":INPUT ACCEPT [0:0]", *(f"-A INPUT {r} -j DROP" for r in rules), "COMMIT", "")
    )


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["addresses", "addresses and ports", "IPv6"])
def test_the_kernel_takes_a_full_program(kind: str) -> None:
    done = compile_rules(read_rulesets(Source("many", many(kind))), HOST, engine=EngineRequest("linear"))
    assert len(done.plan.slots) > 400
    program = compile_program(done.c_text, done.plan.map_values)
    os.close(kfuncs.load(program.instructions, program.license).fd)
