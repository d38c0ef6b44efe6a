"""Single values in a hash: every one of them and its neighbours, whatever else the field is tested for."""

from __future__ import annotations

import random

import numpy as np
import pytest

from emit.point_lists import point_list
from emit.random_lists import KINDS, answer, packets, random_list
from xdptables.decisions.model import DecisionList
from xdptables.emit.engine import EngineRequest
from xdptables.emit.plan import Plan, make_plan
from xdptables.emit.tables import evaluate
from xdptables.emit.tables.model import ANSWERS, FieldTable
from xdptables.emit.tables.points import place
from xdptables.emit.tables.pool import Pool
from xdptables.fields import FIELDS, Family

PASSED = 0


def source(plan: Plan) -> FieldTable:
    assert plan.tables is not None
    return next(f for d in plan.tables.families[0].dimensions for f in d.fields if f.name == "src")


def check(plan: Plan, lists: tuple[DecisionList, ...], r: random.Random) -> int:
    """How many of the answers were drops."""
    assert plan.tables is not None and not plan.cut
    top = (1 << FIELDS["src"].width(lists[0].kind.family)) - 1
    drops = 0
    for packet in packets(r, lists, 1500):
        for src in {
            packet.get("src", 0),
            max(0, packet.get("src", 0) - 1),
            min(top, packet.get("src", 0) + 1),
        }:
            for decisions in lists:
                wanted = answer(decisions, {**packet, "src": src}, plan)
                assert evaluate(plan.tables, decisions.kind, {**packet, "src": src}) == wanted, (src, packet)
                drops += wanted != PASSED
    return drops


@pytest.mark.parametrize("family", list(Family), ids=str)
@pytest.mark.parametrize(
    ("count", "ranges", "others"), [(20, 0, 0), (300, 2, 0), (3000, 30, 0), (3000, 5, 40)]
)
def test_points_and_what_is_beside_them(family: Family, count: int, ranges: int, others: int) -> None:
    r = random.Random(count + others)
    lists = tuple(point_list(r, kind, count, ranges, others) for kind in KINDS[family][:1])
    plan = make_plan(lists, request=EngineRequest("tables"))
    search = source(plan).search
    assert search is not None and search.points is not None
    assert check(plan, lists, r) > 300


@pytest.mark.parametrize("family", list(Family), ids=str)
def test_few_points_among_many_ranges_are_searched(family: Family) -> None:
    r = random.Random(5)
    lists = (point_list(r, KINDS[family][0], 90, 25, 3),)
    plan = make_plan(lists, request=EngineRequest("tables"))
    search = source(plan).search
    assert search is not None and search.points is None
    assert check(plan, lists, r) > 300


@pytest.mark.parametrize("seed", range(12))
def test_one_dimension_answers_at_once(seed: int) -> None:
    """Skips, splits and several lists of one family, where one row decides."""
    r = random.Random(seed)
    family = list(Family)[seed % 2]
    fields = [["src"], ["proto", "ttl"], ["dport", "proto"], ["dst", "tos"]][seed // 2 % 4]
    size = (3, 40, 90, 600)[seed // 3]
    lists = tuple(random_list(r, kind, size, fields, 0.1) for kind in KINDS[family])
    plan = make_plan(lists, request=EngineRequest("tables"))
    assert plan.tables is not None
    assert plan.tables.families[0].levels == ANSWERS or size > 40
    check(plan, lists, r)


def test_lists_that_always_agree_share_their_answers() -> None:
    lists = tuple(point_list(random.Random(3), kind, 200, 0, 0) for kind in KINDS[Family.IPV4][:2])
    plan = make_plan(lists, request=EngineRequest("tables"))
    assert plan.tables is not None
    first, second = (plan.tables.families[0].start(x.kind) for x in lists)
    assert first == second


def test_values_of_one_hash_are_searched() -> None:
    """No two of 64 bits have one, so the low halves are chosen against the high ones."""
    low = np.array([5, 5], np.uint64)
    high = np.array([1, 1], np.uint64)
    assert place(Pool(1 << 20), high, low, low) is None
