"""Frames in rounds: no two of one flow, and what makes the program careful comes last."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from xdptables.fields import Family
from xdptables.reference.packet import parse
from xdptables.verify.build import build, checksum
from xdptables.verify.flows import USUAL_PORT, as_answer, flow_of, rounds, spread
from xdptables.verify.known import frames_in_flows
from xdptables.verify.model import Frame, Ruling


def reply(family: Family) -> bytes:
    """To a packet from port 40000 to port 22."""
    there = parse(build(family, {"dport": 22}))
    return build(family, {"src": there.dst, "dst": there.src, "sport": 22, "dport": USUAL_PORT})


@pytest.mark.parametrize("family", Family)
def test_both_directions_are_one_flow(family: Family) -> None:
    first = build(family, {"dport": 22, "tcp_flags": 2})
    assert flow_of(first) == flow_of(reply(family)) == flow_of(build(family, {"dport": 22, "tcp_flags": 4}))
    assert flow_of(first) != flow_of(build(family, {"dport": 22, "proto": 17}))


def test_no_flow_twice_in_a_round() -> None:
    frames = [build(Family.IPV4, {"dport": 22 + n % 3, "tcp_flags": n}) for n in range(9)]
    frames += [build(Family.IPV4, {"proto": 17, "fragment": 1}), frames[0][:30]]
    groups = rounds(frames)
    assert sorted(i for g in groups for i in g) == list(range(11))
    assert groups == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("proto", [6, 17, 136])
def test_ports_of_their_own(family: Family, proto: int) -> None:
    frames = [build(family, {"proto": proto, "dport": 22, "ttl": n}) for n in range(40)]
    changed = spread(frames)
    packets = [parse(f) for f in changed]
    assert len({p.ports for p in packets}) == 40 and all(p.ports and p.ports[1] == 22 for p in packets)
    size = 4 if family is Family.IPV4 else 16
    for p in packets:
        pseudo = p.src.to_bytes(size) + p.dst.to_bytes(size) + len(p.l4).to_bytes(4) + proto.to_bytes(4)
        assert checksum(pseudo + p.l4) == 0
    assert all(a[:12] == b[:12] and len(a) == len(b) for a, b in zip(frames, changed, strict=True))
    assert all(a.ports != b.ports for a, b in pairwise(packets))


def test_a_port_that_something_asked_for_stays() -> None:
    frame = build(Family.IPV4, {"sport": 53})
    assert spread([frame, frame[:20]]) == [frame, frame[:20]]


def test_a_wrong_checksum_stays_wrong() -> None:
    frame = build(Family.IPV4, {"proto": 17})
    wrong = frame[:40] + b"\x12\x34" + frame[42:]
    (changed,) = spread([wrong])
    p = parse(changed)
    pseudo = p.src.to_bytes(4) + p.dst.to_bytes(4) + len(p.l4).to_bytes(4) + (17).to_bytes(4)
    assert checksum(pseudo + p.l4) != 0


@pytest.mark.parametrize("family", Family)
def test_a_syn_as_a_packet_inside_its_connection(family: Family) -> None:
    frame = build(family, {"dport": 22, "tcp_flags": 2})
    answer = as_answer(frame)
    assert parse(answer).tcp_flags == 0x10 and flow_of(answer) == flow_of(frame)
    assert answer == build(family, {"dport": 22, "tcp_flags": 0x10})
    for other in (answer, build(family, {"proto": 17}), frame[:30]):
        assert as_answer(other) == other


def test_most_of_the_flows_are_such_as_a_program_drops_without_an_entry() -> None:
    made = [build(Family.IPV4, {"dport": n, "sport": 1000 + n, "tcp_flags": 2}) for n in range(1000)]
    frames = [Frame("", f) for f in (*made, build(Family.IPV4, {"proto": 1}), made[0][:40])]
    rulings = [Ruling(n % 4 == 0, gated=n % 8 == 0) for n in range(len(frames))]
    known = frames_in_flows(frames, rulings)
    ports = [p for f in known if (p := parse(f.data).ports) is not None]
    assert len(ports) == len(known) and len({dport for _, dport in ports}) == len(ports)
    kinds = Counter("gated" if d % 8 == 0 else "dropped" if d % 4 == 0 else "passed" for _, d in ports)
    assert kinds["gated"] == 125 and 60 < kinds["dropped"] <= 64 and 50 < kinds["passed"] <= 64
    assert {parse(f.data).tcp_flags for f in known} == {0x02, 0x10}
    assert frames_in_flows([], []) == []
