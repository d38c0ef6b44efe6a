"""The compiled program against netfilter and against the interpreter.

Every frame that XDP drops must be one that the interpreter is certain netfilter drops, and the frames
that come through INPUT are the same with and without the program.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pytest

from frames import boundary_frames, frames
from judge.place import Frame
from judge.random_rules import random_rules
from judge.rulesets import RULESETS, parts, single
from xdptables.emit.engine import AUTOMATIC, EngineRequest
from xdptables.fields import Family
from xdptables.kernel.load import load_program, unload_program
from xdptables.pipeline import compile_rules
from xdptables.rules.model import Ruleset, Variant
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.bench import IFNAME, Bench
from xdptables.verify.compare import compare
from xdptables.verify.flows import spread
from xdptables.verify.planned import PlanSubject
from xdptables.verify.program import attached_long_ago, loaded

pytestmark = pytest.mark.kernel

VARIANTS = (Variant.LEGACY, Variant.NFT)
#: What a variant changes is decided before the engine, so each engine goes with one of them.
ENGINES = {Variant.LEGACY: EngineRequest("linear"), Variant.NFT: EngineRequest("tables")}
SEEDS = range(*map(int, os.environ.get("XDPTABLES_SEEDS", "0:4").split(":")))
_OTHER_FAMILY = {Family.IPV4: b"\x86\xdd", Family.IPV6: b"\x08\x00"}
_XDP_LEAST = 14  # BPF_PROG_TEST_RUN takes no shorter frame


def _frames(family: Family, rulesets: Sequence[Ruleset]) -> list[Frame]:
    own = [f for f in frames() if f.data[12:14] != _OTHER_FAMILY[family]]
    return [*own, *boundary_frames(rulesets)]


def _against_interpreter(
    bench: Bench,
    rulesets: tuple[Ruleset, ...],
    sent: Sequence[Frame],
    only_plan: bool = False,
    engine: EngineRequest = AUTOMATIC,
) -> tuple[int, int]:
    """How many frames XDP drops, and how many more the interpreter would; no frame the other way round."""
    host = bench.facts()
    compiled = compile_rules(rulesets, host, engine=engine)
    sent = [f for f in sent if len(f.data) >= _XDP_LEAST]
    data = [f.data for f in sent]
    planned = PlanSubject(compiled.plan, host).rule(data)
    if only_plan:
        result = compare(rulesets, host, sent, planned, missed=True)
    else:
        with loaded(compiled.c_text, host, compiled.plan.map_values) as subject:
            result = compare(rulesets, host, sent, subject.rule(data), missed=True)
    wrong = [f"{d.frame.name}: dropped, yet {d.outcome}; {d.frame.data.hex()}" for d in result.disagreements]
    assert not wrong, "\n".join(wrong[:8])
    assert result.dropped == sum(r.drop for r in planned)
    return result.dropped, result.missed


class _Stamps:
    """The maps of a program that is attached, to make it forget which flows it has just passed."""

    def __init__(self) -> None:
        self.fds: dict[str, int] = {}

    def keep(self, fds: Mapping[str, int]) -> None:
        self.fds = {name: os.dup(fd) for name, fd in fds.items()}

    def forget(self) -> None:
        attached_long_ago(self.fds)

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)


def _check(rules: str, variant: Variant, family: Family) -> tuple[int, int]:
    with Bench() as without, Bench() as within:
        for bench in (without, within):
            bench.load(rules, variant, family)
        rulesets = read_rulesets(Source("iptables-save", without.saved(variant, family)))
        sent = _frames(family, rulesets)
        counts = _against_interpreter(without, rulesets, sent, engine=ENGINES[variant])
        data = spread([f.data for f in sent])
        expected = without.without_entries(data)
        compiled = compile_rules(rulesets, within.facts(), engine=ENGINES[variant])
        stamps = _Stamps()
        with within.pair.enter(within.pair.server):
            load_program(
                compiled.c_text, IFNAME, within.facts(),
                values=compiled.plan.map_values, mode="native", fill=stamps.keep,
            )  # fmt: skip
            try:
                got = within.without_entries(data, stamps.forget)
            finally:
                stamps.close()
                unload_program(IFNAME)
    lost = [f"{sent[i].name} {sent[i].data.hex()}" for i in sorted(expected - got)]
    gained = [f"{sent[i].name} {sent[i].data.hex()}" for i in sorted(got - expected)]
    assert (lost, gained) == ([], []), f"{variant}\n{rules}"
    return counts


# The other pairs of variant and family differ in nothing that the program does (test_kernel_agrees.py).
@pytest.mark.parametrize(
    ("variant", "family"), [(Variant.LEGACY, Family.IPV4), (Variant.NFT, Family.IPV6)], ids=str
)
def test_each_match_against_the_interpreter(variant: Variant, family: Family) -> None:
    dropped, missed = 0, 0
    with Bench() as bench:
        for negative in (False, True):
            for part in parts(family):
                bench.load(single(part, family, negative), variant, family)
                rulesets = read_rulesets(Source("iptables-save", bench.saved(variant, family)))
                # As a program once: what a rule's target is does not change its tests.
                d, m = _against_interpreter(bench, rulesets, _frames(family, rulesets), negative)
                dropped, missed = dropped + d, missed + m
    assert dropped > 1000
    # Destinations that are not local, odd TCP headers, first fragments: passed on purpose.
    assert missed < dropped * 0.15, f"{missed} certain drops are not taken, {dropped} are"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", RULESETS)
def test_rulesets(name: str, variant: Variant) -> None:
    family, rules = RULESETS[name]
    _check(rules, variant, family)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_rulesets(seed: int) -> None:
    for family in Family:
        _check(random_rules(seed, family), VARIANTS[seed % 2], family)
