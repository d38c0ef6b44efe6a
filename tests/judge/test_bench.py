"""The bench itself: it must not lose frames, invent them, or change what the rules see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from frames import PLACE, frames
from xdptables.fields import Family
from xdptables.rules.model import Variant
from xdptables.verify.bench import IFNAME, Bench, judge
from xdptables.verify.build import build
from xdptables.verify.probe import tag_of, tagged

pytestmark = pytest.mark.kernel

_BY_NAME = {f.name: f.data for f in frames()}
_PLAIN = _BY_NAME["tcp 40000>22"]
_DROP_TCP = "*filter\n:INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n"


def test_thousands_of_frames_all_counted() -> None:
    with Bench() as bench:
        for _ in range(3):
            assert bench.survivors([_PLAIN] * 5000) == set(range(5000))


def test_nothing_dropped_is_seen() -> None:
    with Bench() as bench:
        bench.load(_DROP_TCP, Variant.NFT, Family.IPV4)
        mixed = [_PLAIN, build(Family.IPV4, {"proto": 17})] * 1000
        assert bench.survivors(mixed) == set(range(1, 2000, 2))


def test_same_frames_same_answer() -> None:
    data = [f.data for f in frames()]
    with Bench() as first, Bench() as second:
        assert first.survivors(data) == second.survivors(data)


def test_what_never_arrives() -> None:
    names = ["foreign mac", "ihl 4", "total length too long", "ip checksum bad", "vlan 5", "arp"]
    names += ["ipv4 fragments last alone: 2"]
    with Bench() as bench:
        assert bench.survivors([_BY_NAME[n] for n in names]) == set()


def test_fragments_of_one_datagram_arrive_together() -> None:
    parts = [_BY_NAME[f"ipv4 fragments all: {n}"] for n in (0, 1, 2)]
    with Bench() as bench:
        assert bench.survivors([*parts, _PLAIN]) == {0, 1, 2, 3}
        assert bench.survivors([parts[0], parts[2], _PLAIN]) == {2}


def test_probe_leaves_conntrack_off() -> None:
    with Bench() as bench:
        bench.survivors([_BY_NAME["udp 53>40000"]] * 10)
        assert bench.pair.run(bench.pair.server, ["conntrack", "-C"]).stdout.strip() == "0"
        bench.load(
            _DROP_TCP.replace("-p tcp -m tcp --dport 22", "-m state --state INVALID"),
            Variant.NFT,
            Family.IPV4,
        )
        bench.survivors([_BY_NAME["udp 53>40000"]])
        assert bench.pair.run(bench.pair.server, ["conntrack", "-C"]).stdout.strip() == "1"


def test_facts_of_the_bench() -> None:
    with Bench() as bench:
        facts = bench.facts()
    assert f"{PLACE.own4}/32" in facts.local4 and f"{PLACE.broadcast4}/32" in facts.broadcast4
    assert f"{PLACE.own6}/128" in facts.local6
    assert facts.interface.name == IFNAME and facts.interface.mac == PLACE.own_mac


@pytest.mark.parametrize(
    "name", ["tcp 40000>22", "tcp6 40000>22", "ip checksum bad", "vlan 5", "udp 53>40000"]
)
@pytest.mark.parametrize("tag", [1, 0x7FFF, 0xFFFE])
def test_a_tag_keeps_the_checksum_as_it_was(name: str, tag: int) -> None:
    before, after = _BY_NAME[name], tagged(_BY_NAME[name], tag)
    start = 18 if name == "vlan 5" else 14
    assert tag_of(after[start:]) == tag
    assert len(after) == len(before) and after[:start] == before[:start]
    if before[start] >> 4 == 4:
        assert (_sum(before[start : start + 20]) == 0xFFFF) == (_sum(after[start : start + 20]) == 0xFFFF)


def _sum(header: bytes) -> int:
    total = sum(int.from_bytes(header[i : i + 2]) for i in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_judge_tells_a_wrong_program() -> None:
    """A stand-in for a program: rules of the other back end."""

    @contextlib.contextmanager
    def drops_udp(bench: Bench) -> Iterator[None]:
        rules = _DROP_TCP.replace("-p tcp -m tcp --dport 22", "-p udp")
        bench.load(rules, Variant.LEGACY, Family.IPV4)
        yield

    udp = build(Family.IPV4, {"proto": 17})
    result = judge(_DROP_TCP, Variant.NFT, Family.IPV4, [_PLAIN, udp], drops_udp)
    assert (result.bare, result.ruled, result.programmed) == ({0, 1}, {1}, set())
    assert result.wrongly_dropped == {1} and result.wrongly_passed == set()


def test_boundaries_are_the_same_each_time_and_bounded() -> None:
    from frames import boundary_frames
    from xdptables.rules.reader import read_rulesets
    from xdptables.source import Source

    rules = read_rulesets(Source("x", _DROP_TCP), Family.IPV4)
    made = boundary_frames(rules)
    assert made == boundary_frames(rules)
    assert {int.from_bytes(f.data[36:38]) for f in made} >= {21, 22, 23}
    assert len(boundary_frames(rules, limit=5)) == 5
