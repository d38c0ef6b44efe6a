"""Where more passes than has to, a line says so; and no look-up takes more rounds than the bound for it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from emit.answers import answers
from emit.random_lists import KINDS, packets, random_list, stretched_list
from xdptables.decisions.model import DecisionList
from xdptables.emit.engine import EngineRequest
from xdptables.emit.limits import limits, most_rounds
from xdptables.emit.plan import Plan, make_plan
from xdptables.emit.tables import evaluate, order
from xdptables.fields import Family

TABLES = EngineRequest("tables")
FIELDS = ("src", "dst", "sport", "dport")


def lists_of(seed: int, size: int, long: int = 0) -> tuple[DecisionList, ...]:
    """`long`: of stretches; 0: skips of any kind."""
    r = random.Random(seed)
    kinds = KINDS[list(Family)[seed % 2]]
    if not long:
        return tuple(random_list(r, k, size, FIELDS, 0.05) for k in kinds)
    return tuple(stretched_list(r, k, size, FIELDS, long) for k in kinds)


def with_rounds(plan: Plan, rounds: int) -> Plan:
    assert plan.tables is not None
    families = tuple(replace(f, rounds=rounds) for f in plan.tables.families)
    return replace(plan, tables=replace(plan.tables, families=families))


@pytest.mark.parametrize(
    ("size", "long", "short"), [(150, 0, 512), (700, 0, 512), (900, 0, 50), (700, 50, 50), (3000, 100, 100)]
)
def test_no_packet_takes_more_rounds_than_the_bound(
    size: int, long: int, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "SHORT", short)
    for seed in range(2):
        lists = lists_of(seed, size, long)
        plan = make_plan(lists, request=TABLES)
        assert plan.tables is not None
        most = most_rounds(plan.tables.families[0], plan.lists)
        bounded, r = with_rounds(plan, most), random.Random(seed)
        assert bounded.tables is not None
        assert limits(bounded) == () and (most == 0 or len(limits(with_rounds(plan, most - 1))) == 1)
        for decisions in lists:
            asked = list(packets(r, (decisions,), 300))
            for packet, wanted in zip(asked, answers(decisions, asked, plan), strict=True):
                assert evaluate(bounded.tables, decisions.kind, packet) == wanted


def test_short_lists_end_in_time() -> None:
    for size in (15, 40, 400):
        assert limits(make_plan(lists_of(size, size, 0), request=TABLES)) == ()


def test_each_limit_has_its_line() -> None:
    lists = lists_of(0, 700, 50)
    assert "decisions did not fit" in " ".join(
        limits(make_plan(lists, request=EngineRequest("tables", 1 << 14)))
    )
    smaller = make_plan(lists, request=TABLES.smaller.smaller)
    assert "made smaller 2 times" in limits(smaller)[0]
    assert "ipv4: a packet whose look-up takes more than" in limits(with_rounds(smaller, 5))[1]
    straight = make_plan(lists, request=EngineRequest("linear").smaller)
    assert [line.split(" ", 1)[1] for line in limits(straight)][:1] == [
        "decisions did not fit into the program and are left to netfilter"
    ]
