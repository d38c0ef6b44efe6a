"""Tables answer as the list does: random lists, packets at every bound of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emit.random_lists import KINDS, answer, packets, random_list
from xdptables.decisions.model import Accept, Decision, DecisionList, Drop, Skip
from xdptables.emit.engine import EngineRequest
from xdptables.emit.plan import Plan, make_plan
from xdptables.emit.tables import evaluate, order
from xdptables.fields import FIELDS, Family
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Cube
from xdptables.matches.view import Kind

FIELD_NAMES = sorted(set(FIELDS) - {"exthdr", "pkttype"})
SIZES = (1, 5, 30, 60, 300, 1500)


def lists_of(r: random.Random, size: int) -> tuple[DecisionList, ...]:
    family = r.choice(list(Family))
    fields = r.sample(FIELD_NAMES, r.randint(1, 6))
    skips = r.choice((0, 0.05))
    return tuple(
        random_list(r, kind, r.choice((size, size // 3, 0)), fields, skips) for kind in KINDS[family]
    )


def check(plan: Plan, lists: tuple[DecisionList, ...], r: random.Random, count: int) -> int:
    """How many of the answers were drops."""
    drops = 0
    for packet in packets(r, lists, count):
        for decisions in lists:
            wanted = answer(decisions, packet, plan)
            got = evaluate(plan.tables, decisions.kind, packet) if plan.tables else 0
            assert got == wanted, (decisions.kind, packet)
            drops += wanted != 0
    return drops


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SIZES))
def test_tables_answer_as_the_list(seed: int, size: int) -> None:
    r = random.Random(seed)
    lists = lists_of(r, size)
    plan = make_plan(lists, request=EngineRequest("tables"))
    assert not plan.cut
    check(plan, lists, r, 60)


@pytest.mark.parametrize(
    ("seed", "size", "skips", "levels", "grain"),
    [
        (0, 700, 0.005, 1, 0),
        (1, 700, 0.005, 1, 0),
        (2, 2400, 0.0005, 1, 1),
        (3, 2400, 0.0005, 1, 1),
        (4, 3500, 0.0003, 1, 2),
        (5, 3500, 0.001, 1, 2),
        (6, 8000, 0.005, 2, 0),
        (7, 8000, 0.005, 2, 0),
    ],
)
def test_long_lists_in_groups(
    seed: int, size: int, skips: float, levels: int, grain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decisions of one list moved apart, with skips between stretches: one level of summaries, its bits for
    1, 2 and 4 words, and two levels."""
    monkeypatch.setattr(order, "SHORT", 100)
    r = random.Random(seed)
    family = list(Family)[seed % 2]
    fields = r.sample(FIELD_NAMES, 3)
    lists = tuple(random_list(r, k, size // 2, fields, skips) for k in KINDS[family])
    plan = make_plan(lists, request=EngineRequest("tables"))
    assert plan.tables is not None
    made = plan.tables.families[0]
    assert made.order >= 0 and made.skips and (made.levels, made.grain) == (levels, grain)
    assert check(plan, lists, r, 150) > 30


@pytest.mark.parametrize("seed", range(3))
def test_what_does_not_fit_passes_and_is_counted(seed: int) -> None:
    """Heads of the lists stay in tables; a packet gets their answer, or passes."""
    r = random.Random(seed)
    family = list(Family)[seed % 2]
    lists = tuple(random_list(r, k, 900, ["src", "dst", "sport", "dport"], 0.01) for k in KINDS[family])
    whole = make_plan(lists, request=EngineRequest("tables"))
    assert whole.tables is not None
    for memory in (whole.tables.size // 2, 1 << 16, 1 << 10, 0):
        plan = make_plan(lists, request=EngineRequest("tables", memory))
        assert plan.cut > 0
        assert (plan.tables.size if plan.tables else 0) <= memory
        for packet in packets(r, lists, 40):
            for full, kept in zip(lists, plan.lists, strict=True):
                got = evaluate(plan.tables, kept.kind, packet) if plan.tables else 0
                wanted = answer(kept, packet, plan)
                assert got == wanted
                if got:  # by the same rule as without the limit
                    rule = whole.slots[(answer(full, packet, whole) & 0xFFFFFF) - 1]
                    assert plan.slots[(got & 0xFFFFFF) - 1] == rule


def test_a_skip_leads_to_the_beginning_of_what_was_moved() -> None:
    """The decision that it names may stand behind others of its stretch."""

    def when(**values: int) -> Cube:
        return Cube(tuple((name, IntervalSet(((v, v),))) for name, v in sorted(values.items())))

    many = order.SHORT + 100
    both = [Decision(when(dport=i, src=i), Accept(None)) for i in range(many)]
    onward = many + 1
    decisions = [
        Decision(when(proto=17), Skip(onward)),
        *both,
        Decision(when(src=70000), Accept(None)),
        *both,
    ]
    drop = next(
        d.then
        for d in random_list(random.Random(1), Kind.IPV4, 50, ["src"], 0).decisions
        if isinstance(d.then, Drop) and not d.split
    )
    decisions.append(Decision(Cube(), drop))
    lists = (DecisionList(Kind.IPV4, tuple(decisions)),)
    plan = make_plan(lists, request=EngineRequest("tables"))
    assert plan.tables is not None and plan.tables.families[0].order >= 0
    for proto in (6, 17):
        for src, dport in ((5, 5), (5, 6), (70000, 5), (many - 1, many - 1)):
            packet = {"proto": proto, "src": src, "dport": dport}
            assert evaluate(plan.tables, Kind.IPV4, packet) == answer(lists[0], packet, plan), packet
