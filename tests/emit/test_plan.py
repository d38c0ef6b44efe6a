"""A program too large is cut at its end, which only makes more packets pass."""

from __future__ import annotations

import dataclasses
import os
import random
import re
from pathlib import Path

import pytest

from emit.random_lists import answer, packets, random_list
from xdptables.decisions.model import Decision, Undecided
from xdptables.emit import plan
from xdptables.emit.engine import EngineRequest
from xdptables.emit.outcome import PASS
from xdptables.fields import Family
from xdptables.host.facts import ASSUMPTIONS
from xdptables.intervals import IntervalSet
from xdptables.kernel import kfuncs
from xdptables.kernel.compile import compile_program
from xdptables.matches.condition import Cube
from xdptables.matches.view import Kind
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


def test_a_list_that_need_not_be_asked_drops_nothing_that_is_looked_up() -> None:
    met = {True: 0, False: 0}
    for seed in range(200):
        r = random.Random(seed)
        family = r.choice(list(Family))
        kind = Kind(family.value)
        listed = random_list(r, kind, r.randint(2, 9), ("proto", "dport", "src"), skips=0.2)
        end = Decision(Cube.of({"proto": IntervalSet.of(6, 17)}) or Cube(), Undecided("why", None))
        decisions = (*listed.decisions[:-2], end, *listed.decisions[-1:])
        made = plan.make_plan([dataclasses.replace(listed, decisions=decisions)])
        spared = family in made.only_gated
        met[spared] += 1
        if spared:
            for packet in packets(r, made.lists, 40):
                for proto in (6, 17):
                    assert answer(made.lists[0], {**packet, "proto": proto}, made) == PASS, seed
    assert min(met.values()) > 20, met


def test_an_ordinary_stateful_firewall_asks_one_list() -> None:
    def only_gated(*rules: str) -> bool:
        state = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        text = "\n".join(("*filter", ":INPUT DROP [0:0]", *(r or state for r in rules), "COMMIT", ""))
        made = compile_rules(read_rulesets(Source("r", text), Family.IPV4), HOST)
        return Family.IPV4 in made.plan.only_gated

    assert only_gated("", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT")
    assert not only_gated("-A INPUT -s 192.0.2.1/32 -j DROP", "")
    assert only_gated("-A INPUT -s 192.0.2.1/32 -p icmp -j DROP", "")


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
