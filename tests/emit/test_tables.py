"""Tables answer as the list does: random lists, packets at every bound of them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from emit.answers import answers
from emit.random_lists import KINDS, answer, every_bound, packets, random_list, stretched_list
from xdptables.decisions.model import Accept, Decision, DecisionList, Drop, Skip
from xdptables.emit.engine import EngineRequest
from xdptables.emit.plan import Plan, make_plan
from xdptables.emit.tables import evaluate, order
from xdptables.fields import FIELDS, Family
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Cube
from xdptables.matches.view import Kind

FIELD_NAMES = sorted(set(FIELDS) - {"exthdr", "pkttype"})
#: With enough values for long stretches to differ in.
WIDE = ("src", "dst", "sport", "dport", "icmp", "length", "spi", "mac_src")
SIZES = (1, 5, 30, 60, 300, 1500)


def lists_of(r: random.Random, size: int) -> tuple[DecisionList, ...]:
    family = r.choice(list(Family))
    fields = r.sample(FIELD_NAMES, r.randint(1, 6))
    skips = r.choice((0, 0.05))
    return tuple(
        random_list(r, kind, r.choice((size, size // 3, 0)), fields, skips) for kind in KINDS[family]
    )


def check(plan: Plan, lists: tuple[DecisionList, ...], r: random.Random, count: int, bounds: int) -> int:
    """`count` random packets for every list, and for each up to `bounds` of those at its own bounds. How many
    of the answers were drops."""
    drops = 0
    mixed = list(packets(r, lists, count))
    for decisions in lists:
        own = list(every_bound(r, (decisions,)))
        asked = [*mixed, *(own if len(own) <= bounds else r.sample(own, bounds))]
        for packet, wanted in zip(asked, answers(decisions, asked, plan), strict=True):
            got = evaluate(plan.tables, decisions.kind, packet) if plan.tables else 0
            assert got == wanted, (decisions.kind, packet)
            drops += wanted != 0
    return drops


def endless(plan: Plan) -> Plan:
    """With rounds for every packet: one that needs more than there are passes, which hides its answer."""
    assert plan.tables is not None
    families = tuple(replace(f, rounds=1 << 13) for f in plan.tables.families)
    return replace(plan, tables=replace(plan.tables, families=families))


# A smaller seed is no simpler case.
@settings(max_examples=40, deadline=None, phases=(Phase.reuse, Phase.generate))
@given(st.integers(0, 2**32), st.sampled_from(SIZES))
def test_tables_answer_as_the_list(seed: int, size: int) -> None:
    r = random.Random(seed)
    lists = lists_of(r, size)
    plan = make_plan(lists, request=EngineRequest("tables"))
    assert not plan.cut
    check(plan, lists, r, 60, 1500)


@pytest.mark.parametrize("seed", range(4))
def test_many_packets_at_once_get_what_each_gets(seed: int) -> None:
    r = random.Random(seed)
    lists = (
        random_list(r, Kind.IPV4, 80, FIELD_NAMES[:4]),
        stretched_list(r, Kind.IPV6, 400, FIELD_NAMES, 40),
    )
    plan = make_plan(lists)
    for decisions in lists:
        asked = [*packets(r, (decisions,), 200), *every_bound(r, (decisions,))]
        assert answers(decisions, asked, plan) == [answer(decisions, p, plan) for p in asked]


@pytest.mark.parametrize("again", range(3))
@pytest.mark.parametrize(
    ("long", "size", "levels", "grain"),
    [
        (100, 900, 1, 0),
        (250, 3000, 1, 2),
        (100, 8000, 2, 0),
        (order.SHORT, 2400, 1, 0),
        (order.SHORT, 4000, 1, 1),
        (order.SHORT, 6000, 1, 2),
        (order.SHORT, 9000, 2, 0),
    ],
)
def test_skips_among_long_stretches(
    again: int, long: int, size: int, levels: int, grain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decisions of several lists moved apart, with skips to, into and past what was moved: one level of
    summaries, its bits for 1, 2 and 4 words, and two levels."""
    monkeypatch.setattr(order, "SHORT", long)
    r = random.Random(f"{again} {long} {size}")
    kinds = KINDS[list(Family)[again % 2]]
    for _ in range(20):  # how many words lists take hangs on chance
        fields = r.sample(WIDE, 3)
        lists = tuple(stretched_list(r, k, size // len(kinds), fields, long) for k in kinds)
        plan = make_plan(lists, request=EngineRequest("tables"))
        assert plan.tables is not None and not plan.cut
        made = plan.tables.families[0]
        if (made.levels, made.grain) == (levels, grain):
            break
    else:
        pytest.fail("no lists of this shape")
    assert made.order >= 0 and made.skips
    assert check(endless(plan), lists, r, 400, 1000) > 300


@pytest.mark.parametrize("size", [300, 700, 1500])
def test_every_bound_of_every_interval(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "SHORT", 64)
    r = random.Random(size)
    for family in Family:
        make = (random_list, stretched_list)
        lists = tuple(
            make[i % 2](r, k, size // 3, r.sample(FIELD_NAMES, 4), 0.02 if i % 2 == 0 else 64)
            for i, k in enumerate(KINDS[family])
        )
        plan = make_plan(lists, request=EngineRequest("tables"))
        check(endless(plan), lists, r, 0, 1 << 30)


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
