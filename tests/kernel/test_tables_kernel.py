"""The kernel reads the tables as Python does: whole programs of random lists, judged by verdict and counters.

The answer by the list's own definition is the third, so a class that is wrong in both readers shows too.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import random
from collections import Counter

import pytest

from emit.answers import answers
from emit.point_lists import point_list
from emit.random_lists import every_bound, packets, random_list, stretched_list
from xdptables.decisions.model import DecisionList
from xdptables.emit import Plan, generate, make_plan
from xdptables.emit.engine import EngineRequest
from xdptables.emit.tables import evaluate, order
from xdptables.emit.tables.model import FamilyTables
from xdptables.fields import Family
from xdptables.host.facts import ASSUMPTIONS
from xdptables.kernel import maps, syscall
from xdptables.kernel.compile import compile_program
from xdptables.matches.view import Kind
from xdptables.verify.build import build

pytestmark = pytest.mark.kernel

build_tables = importlib.import_module("xdptables.emit.tables.build")
PLAIN = ASSUMPTIONS["plain"]
HOST = dataclasses.replace(
    PLAIN, interface=dataclasses.replace(PLAIN.interface, name="eth0", mac="02:00:00:00:00:0b")
)
DROP, SLOT = 1, (1 << 31) - 1
#: Of a packet that the frame builder writes as it is asked to, in the order of the headers.
FIELD_NAMES = ("src", "dst", "proto", "sport", "dport", "icmp", "spi", "ttl", "tos", "length", "mac_src")
TRANSPORTS = (6, 17, 136, 1, 58, 50)


def as_frame(family: Family, packet: dict[str, int]) -> tuple[bytes, dict[str, int]]:
    """A frame, and the fields as the program reads them out of it."""
    frame = build(family, packet)
    ip = frame[14:]
    four = family is Family.IPV4
    head = 20 if four else 40
    proto, l4 = (ip[9] if four else ip[6]), ip[head:]
    seen = {
        "mac_src": int.from_bytes(frame[6:12]),
        "proto": proto,
        "tos": ip[1] if four else int.from_bytes(ip[:2]) >> 4 & 0xFF,
        "ttl": ip[8] if four else ip[7],
        "length": int.from_bytes(ip[2:4]) if four else int.from_bytes(ip[4:6]) + 40,
        "src": int.from_bytes(ip[12:16] if four else ip[8:24]),
        "dst": int.from_bytes(ip[16:20] if four else ip[24:40]),
    }
    if proto in (6, 17, 136):
        seen |= {"sport": int.from_bytes(l4[:2]), "dport": int.from_bytes(l4[2:4])}
    elif proto in (1, 58):
        seen["icmp"] = int.from_bytes(l4[:2])
    elif proto == 50:
        seen["spi"] = int.from_bytes(l4[:4])
    return frame, seen


@pytest.mark.parametrize(
    ("seed", "size", "skips", "most_grain", "grain"),
    [
        (0, 20, 0.1, 2, 0),
        (1, 60, 0, 2, 0),
        (2, 300, 0.03, 2, 0),
        (3, 300, 0, 2, 0),
        (14, 3000, 0, 2, 0),
        (5, 3000, 0.01, 2, 0),
        (6, 12000, 0, 0, 0),
        (7, 9000, 0, 0, 0),
        (8, 7000, 0, 2, 2),
        (9, 4000, 0.0005, 2, 1),
        (10, 3500, 0.002, 2, 2),
    ],
)
def test_the_kernel_answers_as_the_list(
    seed: int, size: int, skips: float, most_grain: int, grain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`most_grain`: 0 keeps long lists in two levels of summaries, 2 in one as long as they fit."""
    monkeypatch.setattr(order, "SHORT", 200)
    monkeypatch.setattr(build_tables, "MAX_GRAIN", most_grain)
    r = random.Random(seed)
    family = (Family.IPV4, Family.IPV6)[seed % 2]
    kind = Kind(family.value)
    fields = (*r.sample(FIELD_NAMES, 4), "src")
    lists = (random_list(r, kind, size, sorted(set(fields)), skips, local=False),)
    plan = make_plan(lists, request=EngineRequest("tables"))
    assert plan.tables is not None and not plan.cut
    made = plan.tables.families[0]
    assert made.grain == grain
    expected, passed = run(plan, lists[0], r)
    assert expected.total() > 300 or (passed > 300 and len(expected) > 3)


@pytest.mark.parametrize(
    ("seed", "long", "size", "most_grain"),
    [(0, 100, 500, 2), (1, 100, 1000, 2), (2, 250, 3000, 2), (3, 100, 4000, 0), (4, order.SHORT, 4000, 2)],
)
def test_the_kernel_skips_among_long_stretches(
    seed: int, long: int, size: int, most_grain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "SHORT", long)
    monkeypatch.setattr(build_tables, "MAX_GRAIN", most_grain)
    r = random.Random(seed)
    family = (Family.IPV4, Family.IPV6)[seed % 2]
    fields = r.sample(("src", "dst", "sport", "dport", "proto"), 4)
    plan, made = in_tables(stretched_list(r, Kind(family.value), size, fields, long, local=False))
    assert made.order >= 0 and made.skips
    expected, passed = run(plan, plan.lists[0], r, bounds=2500)
    assert expected.total() > 300 and passed > 300


def in_tables(decisions: DecisionList) -> tuple[Plan, FamilyTables]:
    plan = make_plan((decisions,), request=EngineRequest("tables"))
    assert plan.tables is not None and not plan.cut
    return plan, plan.tables.families[0]


@pytest.mark.parametrize("family", list(Family), ids=str)
@pytest.mark.parametrize(("count", "ranges", "others"), [(40, 0, 0), (2000, 20, 0), (2000, 3, 60)])
def test_the_kernel_finds_points(family: Family, count: int, ranges: int, others: int) -> None:
    r = random.Random(count + others)
    lists = (point_list(r, Kind(family.value), count, ranges, others),)
    plan = make_plan(lists, request=EngineRequest("tables"))
    assert plan.tables is not None
    fields = [f for d in plan.tables.families[0].dimensions for f in d.fields]
    assert any(f.search and f.search.points for f in fields)
    expected, passed = run(plan, lists[0], r)
    assert expected.total() > 300 and passed > 100


def run(
    plan: Plan, decisions: DecisionList, r: random.Random, bounds: int = 1000
) -> tuple[Counter[int], int]:
    """The program against the list, also at up to `bounds` of the bounds of its intervals: drops by slot, and
    how many packets passed."""
    assert plan.tables is not None
    kind = decisions.kind
    program = compile_program(generate(plan), plan.map_values)
    fd = syscall.prog_load(program.instructions, program.license).fd
    try:
        maps.fill(program.maps, HOST)
        expected: Counter[int] = Counter()
        passed = 0
        own = list(every_bound(r, (decisions,)))
        asked = [*packets(r, (decisions,), 1500), *r.sample(own, min(bounds, len(own)))]
        sent = [x for x in (_sent(r, kind.family, p) for p in asked) if x[1].get("dport") not in (67, 68)]
        for (frame, seen), wanted in zip(sent, answers(decisions, [s for _, s in sent], plan), strict=True):
            assert evaluate(plan.tables, kind, seen) == wanted, seen
            verdict, _, _ = syscall.test_run(fd, frame)
            assert (verdict == DROP) == (wanted != 0), seen
            if wanted:
                expected[(wanted & SLOT) - 1] += 1
            passed += not wanted
        counted = maps.read_counters(program.maps).rules
        assert {i: c.packets for i, c in enumerate(counted) if c.packets} == expected
    finally:
        os.close(fd)
    return expected, passed


def _sent(r: random.Random, family: Family, packet: dict[str, int]) -> tuple[bytes, dict[str, int]]:
    if packet.get("proto") not in TRANSPORTS or r.random() < 0.5:
        packet["proto"] = r.choice(TRANSPORTS)
    packet["length"] = min(packet.get("length", 0), 1500)
    return as_frame(family, packet)
