"""A slice of `make fuzz`; and that it would tell."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fuzz import extensions, trial
from fuzz.case import Case
from fuzz.rulesets import Dump, Rule, Rules, Table, random_rules
from fuzz.run import own_state, run
from fuzz.shrink import shrink
from fuzz.traffic import Event
from fuzz.trial import PLAN, Arena, again, arenas
from rules import corpus
from xdptables.emit import Plan, generate
from xdptables.fields import Family
from xdptables.loading import Prepared
from xdptables.matches.condition import Cube
from xdptables.rules.model import Variant
from xdptables.verify.build import build
from xdptables.verify.model import Frame

pytestmark = pytest.mark.kernel

_SEEDS = 12
_PART = 110


def test_a_slice() -> None:
    counts, _ = run(seed=0, seconds=60, trials=_SEEDS)
    assert counts.disagreements == 0
    assert counts.rulesets + counts.refused_by_iptables == _SEEDS and counts.rulesets > _SEEDS // 2
    # It would tell little if nothing came through, or nothing was dropped.
    assert counts.drops > 300 and counts.came_through_input > 200 and counts.packets_of_the_host > 50
    assert counts.real_programs >= _SEEDS // 4 and counts.drops_after_a_look_at_conntrack > 100


def test_a_slice_of_the_extensions() -> None:
    corpus.require()
    counts, _ = extensions.run(step=_PART)
    assert counts.disagreements == 0 and counts.drops > 500
    assert counts.rulesets > 20 and counts.came_through_input > 200


def test_the_same_seed_gives_the_same_rules() -> None:
    assert [random_rules(7, f).short for f in Family] == [random_rules(7, f).short for f in Family]
    assert random_rules(7, Family.IPV4).short != random_rules(8, Family.IPV4).short


def _frame(**fields: int) -> Event:
    return Event(Frame(str(fields), build(Family.IPV4, fields)))


@pytest.mark.parametrize("real", [True, False], ids=["program", "plan"])
def test_a_plan_that_drops_too_much_is_found(monkeypatch: pytest.MonkeyPatch, real: bool) -> None:
    rules = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n"
    case = Case(
        (Dump(Family.IPV4, rules),),
        (_frame(proto=6, dport=22), _frame(proto=6, dport=23), _frame(proto=17, dport=53)),
        engine="linear",
        real=real,
    )
    with own_state(), arenas() as arena_of:
        ring = arena_of(Variant.NFT, case.rulesets)
        assert again(ring, case).wrong == []
        sound = Arena.prepared

        def broken(self: Arena, rulesets: tuple[Rules, ...], *how: Any) -> Prepared:
            prepared = sound(self, rulesets, *how)
            assert isinstance(prepared, Prepared)
            plan = _without_conditions(prepared.compiled.plan)
            compiled = dataclasses.replace(prepared.compiled, plan=plan, c_text=generate(plan))
            return dataclasses.replace(prepared, compiled=compiled)

        monkeypatch.setattr(trial.Arena, "prepared", broken)
        wrong = again(ring, case).wrong
    lost = "lost with the program" if real else "lost with the plan"
    assert {(w.what, w.index) for w in wrong if w.index is not None} == {
        (what, index) for what in (lost, PLAN) for index in (1, 2)
    }
    # To port 23 the host answers with a reset, to port 53 that it is unreachable.
    assert sum(w.what == "answers lost" for w in wrong) == 2


def _without_conditions(plan: Plan) -> Plan:
    lists = tuple(
        dataclasses.replace(d, decisions=tuple(dataclasses.replace(x, when=Cube()) for x in d.decisions))
        for d in plan.lists
    )
    return dataclasses.replace(plan, lists=lists)


def _accept(number: int) -> Rule:
    return Rule("INPUT", ("-p tcp", f"-s 10.0.0.{number}"), "-j ACCEPT")


def test_a_failure_is_shrunk_to_what_shows_it() -> None:
    rules = Rules(
        Family.IPV4,
        (
            Table("raw", (), (), (Rule("PREROUTING", ("-p udp",), "-j DROP"),)),
            Table(
                "filter",
                (("INPUT", "DROP"),),
                ("c0",),
                (*(_accept(n) for n in range(20)), Rule("c0", (), "-j DROP")),
            ),
        ),
    )
    case = Case((rules,), tuple(_frame(dport=n) for n in range(50)))

    def fails(candidate: Case) -> bool:
        texts = " ".join(r.short for r in candidate.rulesets)
        ports = {e.frame.name for e in candidate.events}
        return "10.0.0.13" in texts and {"{'dport': 7}", "{'dport': 40}"} <= ports

    small = shrink(case, fails)
    assert [e.frame.name for e in small.events] == ["{'dport': 7}", "{'dport': 40}"]
    assert [t.rules for t in small.rulesets[0].tables] == [(Rule("INPUT", ("-s 10.0.0.13",), "-j ACCEPT"),)]
    assert small.rulesets[0].tables[0].policies == () and small.rulesets[0].tables[0].chains == ()
