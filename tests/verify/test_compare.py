"""Plan and program against the judge; and that a plan or program that is broken is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from verify.test_frames import EXAMPLES, HOST, PLACE, compiled
from xdptables.decisions.model import Decision, DecisionList, Drop
from xdptables.emit import Plan, generate
from xdptables.emit.engine import EngineRequest
from xdptables.fields import Family
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Cube
from xdptables.pipeline import compile_rules
from xdptables.rules.model import Ruleset
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.compare import compare
from xdptables.verify.derive import derive
from xdptables.verify.model import Comparison, Frame
from xdptables.verify.planned import PlanSubject
from xdptables.verify.program import loaded
from xdptables.verify.run import verify

STATEFUL = Path(__file__).parents[2] / "examples" / "stateful.rules"


def frames_of(rulesets: tuple[Ruleset, ...], plan: Plan, limit: int = 1500) -> list[Frame]:
    return list(derive(rulesets, plan.lists, PLACE, limit=limit))


def checked(rulesets: tuple[Ruleset, ...], plan: Plan, frames: list[Frame]) -> Comparison:
    rulings = PlanSubject(plan, HOST).rule([f.data for f in frames])
    return compare(rulesets, HOST, frames, rulings)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_plans_of_the_examples(path: Path) -> None:
    rulesets, done = compiled(path.read_text())
    result = checked(rulesets, done.plan, frames_of(rulesets, done.plan))
    assert result.disagreements == ()
    assert result.dropped == result.judged > 50
    assert set(result.causes) == set(done.plan.slots)


@pytest.mark.kernel
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_program_does_what_the_plan_does(path: Path) -> None:
    rulesets, done = compiled(path.read_text())
    frames = frames_of(rulesets, done.plan)
    data = [f.data for f in frames]
    planned = PlanSubject(done.plan, HOST).rule(data)
    with loaded(done.c_text, HOST) as subject:
        ran = subject.rule(data)
    differing = [
        f"{f.name}: {p} {r} {f.data.hex()}"
        for f, p, r in zip(frames, planned, ran, strict=True)
        if (p.drop, p.drop and p.gated) != (r.drop, r.gated)
    ]
    assert differing == []
    assert sum(r.gated for r in ran) > 50 or path.stem != "stateful"


def widened(item: Decision) -> list[Decision]:
    """Every way to get one of its interval sets wrong by one. Not the protocol: others
    have no ports."""
    out = []
    for name, allowed in item.when.sets:
        for lo, hi in allowed.pairs[:1] if name != "proto" else ():
            for wrong in ((lo - 1, hi), (lo, hi + 1)):
                if wrong[0] >= 0:
                    sets = {**dict(item.when.sets), name: IntervalSet.range(*wrong)}
                    out.append(replace(item, when=Cube(tuple(sorted(sets.items())))))
    return out


def broken(plan: Plan) -> list[tuple[Plan, Decision]]:
    """Plans with one dropping decision that takes more than it should."""
    out = []
    for at, decisions in enumerate(plan.lists):
        for index, item in enumerate(decisions.decisions):
            if not isinstance(item.then, Drop) or decisions.kind.is_fragment or item.split:
                continue
            wider = [*widened(item), replace(item, when=Cube())]
            for wrong in wider:
                items = (*decisions.decisions[:index], wrong, *decisions.decisions[index + 1 :])
                lists = (*plan.lists[:at], DecisionList(decisions.kind, items), *plan.lists[at + 1 :])
                out.append((replace(plan, lists=lists), wrong))
    return out


WALL = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 20:25 -j DROP
-A INPUT -p udp -m udp --sport 123 -j DROP
-A INPUT -p icmp -m icmp --icmp-type 13 -j DROP
-A INPUT -p tcp -m ttl --ttl-lt 5 -j DROP
COMMIT
"""


def test_a_boundary_that_is_wrong_by_one_is_found() -> None:
    rulesets, done = compiled(WALL)
    # The frames are derived from the broken plan: nobody has another one.
    plans = broken(done.plan)
    assert len(plans) > 10
    for plan, wrong in plans:
        result = checked(rulesets, plan, frames_of(rulesets, plan, 2500))
        assert result.disagreements, wrong
        assert all(d.outcome.verdict != "drop" for d in result.disagreements)


def test_a_missing_look_at_conntrack_is_found() -> None:
    """The decisions for packets without an entry, taken for all packets."""
    rulesets, done = compiled(STATEFUL.read_text())
    by_kind = {d.kind: d for d in done.plan.lists}
    lists = tuple(
        replace(by_kind[next(k for k in by_kind if k.value == f"{d.kind}_no_entry")], kind=d.kind)
        if d.kind.value in ("ipv4", "ipv6")
        else d
        for d in done.plan.lists
    )
    plan = replace(done.plan, lists=lists)
    result = checked(rulesets, plan, frames_of(rulesets, plan))
    assert result.disagreements


@pytest.mark.kernel
def test_a_broken_program_is_found() -> None:
    rulesets, done = compiled(WALL)
    plan, wrong = broken(done.plan)[0]
    frames = frames_of(rulesets, plan)
    with loaded(generate(plan), HOST) as subject:
        result = compare(rulesets, HOST, frames, subject.rule([f.data for f in frames]))
    assert result.disagreements, wrong


@pytest.mark.kernel
@pytest.mark.parametrize("family", Family)
def test_what_conntrack_knows_is_not_dropped(family: Family) -> None:
    text = (
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
        "-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n"
    )
    rulesets = read_rulesets(Source("rules", text), family)
    done = compile_rules(rulesets, HOST)
    rulings = PlanSubject(done.plan, HOST)
    data = [f.data for f in frames_of(rulesets, done.plan)]
    data = [f for f in data if rulings.ruling(f).drop and rulings.ruling(f).gated]
    assert len(data) > 50
    with loaded(done.c_text, HOST) as subject:
        assert all(r.drop and r.gated for r in subject.rule(data))
        assert not any(r.drop for r in subject.with_entries(data))


@pytest.mark.kernel
def test_a_program_that_drops_what_conntrack_knows_is_found() -> None:
    rulesets, done = compiled(STATEFUL.read_text())
    sound = "        xt_ct_release(entry);\n        return 1;\n"
    assert done.c_text.count(sound) == 1
    broken = replace(done, c_text=done.c_text.replace(sound, sound.replace("return 1", "return 0")))
    found = verify(rulesets, HOST, broken, in_kernel=True)
    assert found.comparison.known > 50
    assert found.comparison.judged == found.comparison.dropped  # without entries nothing is wrong with it
    assert len(found.disagreements) == found.comparison.known
    assert not verify(rulesets, HOST, done, in_kernel=True).disagreements


def test_the_clock_cuts_all_causes_alike() -> None:
    rulesets, done = compiled(WALL)
    frames = frames_of(rulesets, done.plan)
    rulings = PlanSubject(done.plan, HOST).rule([f.data for f in frames])
    result = compare(rulesets, HOST, frames, rulings, until=0.0)
    assert result.judged == 0 < result.dropped


@pytest.mark.kernel
def test_a_look_up_that_takes_too_long_passes_in_the_plan_too() -> None:
    """Each rule is of its own kind, so that a packet for the last one takes a step for each before it."""
    targets = ("DROP", "ACCEPT", "RETURN")
    lines = "".join(
        f"-A c{n % 2} -s 198.51.100.{n} -p tcp -m tcp --dport {n} -j {targets[n % 3]}\n"
        f"-A INPUT -m tos --tos {n % 8 * 4:#x}/0xff -j c{n % 2}\n"
        for n in range(1, 120)
    )
    text = f"*filter\n:INPUT DROP [0:0]\n:c0 - [0:0]\n:c1 - [0:0]\n{lines}COMMIT\n"
    rulesets = read_rulesets(Source("rules", text), Family.IPV4)
    done = compile_rules(rulesets, HOST, engine=EngineRequest("tables", halvings=5))
    frames = [f.data for f in frames_of(rulesets, done.plan)]
    bounded = PlanSubject(done.plan, HOST).rule(frames)
    assert {r.why for r in bounded if "more steps than" in r.why} and any(r.drop for r in bounded)
    with loaded(done.c_text, HOST, done.plan.map_values) as subject:
        ran = subject.rule(frames)
    assert [r.drop for r in ran] == [r.drop for r in bounded]
