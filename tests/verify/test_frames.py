"""Frames from rules and decisions: that each decision is reached, and that frames are what they say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from xdptables.fields import Family
from xdptables.host.facts import PLAIN_HOST
from xdptables.pipeline import Compiled, compile_rules
from xdptables.reference.packet import Unreadable
from xdptables.reference.packet import parse as as_judge
from xdptables.rules.model import Ruleset
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.build import build
from xdptables.verify.derive import derive
from xdptables.verify.model import Frame
from xdptables.verify.place import settle
from xdptables.verify.planned import PlanSubject, parse
from xdptables.verify.regions import Regions, spec_of

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.rules"))
HOST, PLACE = settle(PLAIN_HOST, "eth0")
MAC = int(PLACE.own_mac.replace(":", ""), 16)


def compiled(text: str) -> tuple[tuple[Ruleset, ...], Compiled]:
    rulesets = read_rulesets(Source("rules", text))
    return rulesets, compile_rules(rulesets, HOST)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_each_decision_of_the_examples_is_reached(path: Path) -> None:
    rulesets, done = compiled(path.read_text())
    frames = list(derive(rulesets, done.plan.lists, PLACE, limit=2000))
    rulings = PlanSubject(done.plan, HOST).rule([f.data for f in frames])
    reached = Counter(key for r in rulings for key in r.reached)
    for decisions in done.plan.lists:
        for index, item in enumerate(decisions.decisions):
            assert reached[decisions.kind, index], (decisions.kind, index, item)


HIDDEN = """*filter
:INPUT ACCEPT [0:0]
:a - [0:0]
:b - [0:0]
-A INPUT -s 10.0.0.0/8 -j a
-A INPUT -p udp -m multiport ! --dports 53,123 -j ACCEPT
-A INPUT -p udp -m udp --sport 1024:65535 -j ACCEPT
-A INPUT -p udp -m ttl --ttl-lt 20 -j b
-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
-A INPUT -p tcp -m mac ! --mac-source 02:00:00:00:00:77 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 7 -j DROP
-A a -p tcp -j RETURN
-A a -s 10.1.0.0/16 -j DROP
-A b -d 192.0.2.1/32 -p udp -m udp --dport 123 -j DROP
COMMIT
"""


def test_a_region_behind_others_is_found() -> None:
    _, done = compiled(HIDDEN)
    for decisions in done.plan.lists:
        regions = Regions(decisions, PLACE)
        for index, item in enumerate(decisions.decisions):
            packet = regions.sample(index)
            assert packet is not None, (decisions.kind, index, item)
            if not decisions.kind.is_fragment:
                read = parse(build(decisions.kind.family, spec_of(packet), PLACE), MAC).fields
                assert all(read[n] in s for n, s in item.when.sets), (index, item, read)


def test_the_same_frames_each_time_and_none_twice() -> None:
    rulesets, done = compiled(HIDDEN)
    first = list(derive(rulesets, done.plan.lists, PLACE, limit=1500))
    assert first == list(derive(rulesets, done.plan.lists, PLACE, limit=1500))
    assert len({f.data for f in first}) == len(first) > 500
    other = list(derive(rulesets, done.plan.lists, PLACE, limit=1500, seed=2))
    assert other != first


def test_a_limit_leaves_no_source_out() -> None:
    rulesets, done = compiled(HIDDEN)
    names = [f.name for f in derive(rulesets, done.plan.lists, PLACE, limit=120)]
    for part in ("decision", "INPUT 1", "tcp flags", "ARP"):
        assert any(part in n for n in names), part


def readable(frame: Frame) -> str:
    try:
        as_judge(frame.data)
    except Unreadable as e:
        return str(e)
    return ""


def test_the_judge_can_read_what_is_not_meant_to_be_odd() -> None:
    rulesets, done = compiled(HIDDEN)
    odd = Counter(readable(f) for f in derive(rulesets, done.plan.lists, PLACE))
    assert odd[""] > sum(odd.values()) * 0.8
    for wanted in ("VLAN tag", "not IP: ethertype 0x0806", "truncated IPv4 header", "IP version is not 4"):
        assert odd[wanted], wanted


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    "spec",
    [
        {"proto": 6, "tcp_flags": 0x112, "sport": 7, "dport": 65535},
        {"proto": 6, "tcp_flags": 0x10, "length": 80},
        {"proto": 6, "tcp_flags": 0x110, "length": 1000},
        {"proto": 17, "dport": 53, "ttl": 1, "tos": 0xB8, "length": 48},
        {"proto": 132, "sport": 1, "dport": 2, "mac_src": 0x77, "pkttype": 2},
        {"proto": 50, "spi": 0xFFFFFFFF, "pkttype": 1},
        {"proto": 253, "length": 60},
        {"proto": 17, "src": 7, "dst": 9},
    ],
)
def test_a_frame_has_the_fields_that_it_was_built_with(family: Family, spec: dict[str, int]) -> None:
    if family is Family.IPV6 and "length" in spec:
        spec = {**spec, "length": spec["length"] + 20}
    fields = parse(build(family, spec, PLACE), MAC).fields
    assert {k: fields[k] for k in spec} == spec


def test_extension_headers_and_fragments() -> None:
    for bits in range(8):
        read = parse(build(Family.IPV6, {"exthdr": bits, "dport": 22}, PLACE), MAC).fields
        assert (read["exthdr"], read["dport"]) == (bits, 22)
    for family in Family:
        for part in (1, 2):
            packet = as_judge(build(family, {"proto": 17, "fragment": part}, PLACE))
            # Behind an IPv6 fragment header nobody looks, so a first one counts as a later one.
            assert packet.fragment and packet.later_fragment == (part == 2 or family is Family.IPV6)
    assert as_judge(build(Family.IPV4, {"options": 1}, PLACE)).options


def test_a_host_that_is_not_known_gets_addresses() -> None:
    assert "192.0.2.1/32" in HOST.local4 and HOST.interface.mac == PLACE.own_mac
    seen, place = settle(
        replace(HOST, local4=("127.0.0.0/8", "10.1.2.3/32"), broadcast4=("10.1.2.255/32",)), "lan0"
    )
    assert (place.own4, place.broadcast4, seen.interface.name) == ("10.1.2.3", "10.1.2.255", "lan0")
