"""Frames as the judge reads them, against what scapy made them of."""

from __future__ import annotations

import pytest

from frames import PLACE, frames
from xdptables.fields import Family
from xdptables.reference.packet import Packet, Unreadable, parse
from xdptables.verify.build import build

_BY_NAME = {f.name: f.data for f in frames()}


def _read(name: str) -> Packet:
    return parse(_BY_NAME[name])


@pytest.mark.parametrize("family", Family)
def test_what_was_built_is_read(family: Family) -> None:
    spec = {"sport": 1234, "dport": 22, "tcp_flags": 0x12, "ttl": 7, "tos": 0xB9, "mac_src": 0x0200000000FF}
    packet = parse(build(family, {**spec, "proto": 6, "pkttype": 1}))
    assert packet.family is family and packet.ports == (1234, 22) and packet.tcp_flags == 0x12
    assert (packet.ttl, packet.tos, packet.mac_src, packet.pkttype) == (7, 0xB9, 0x0200000000FF, 1)
    assert packet.length == (40 if family is Family.IPV4 else 60)
    assert not (packet.fragment or packet.options or packet.tcp_has_data)


@pytest.mark.parametrize(
    ("name", "protocol", "extensions"),
    [
        ("ipv6 hop-by-hop, destination, routing, tcp", 6, (0, 60, 43)),
        ("ipv6 destination, routing, destination, udp", 17, (60, 43, 60)),
        ("ipv6 atomic fragment, tcp", 6, (44,)),
        ("ipv6 no next header", 59, ()),
        ("ipv6 mobility", 135, ()),
        ("ipv6 destination, esp", 50, (60,)),
        ("ipv6 fragments all: 1", 17, (44,)),
    ],
)
def test_extension_headers(name: str, protocol: int, extensions: tuple[int, ...]) -> None:
    packet = _read(name)
    assert (packet.protocol, packet.extensions) == (protocol, extensions)


def test_fragments() -> None:
    first, middle = _read("ipv4 fragments all: 0"), _read("ipv4 fragments all: 1")
    assert first.fragment and not first.later_fragment
    assert middle.fragment and middle.later_fragment and middle.ports is None
    assert not _read("ipv4 df").fragment


def test_padding_is_not_length() -> None:
    assert _read("padding").length == 40 and not _read("padding").tcp_has_data
    assert _read("tcp flags PA data").tcp_has_data


def test_options() -> None:
    assert _read("ipv4 options nop").options
    assert not _read("ipv6 router alert, tcp").hop_options
    assert _read("ipv6 hop-by-hop with a skippable option").hop_options
    destination = _read("ipv6 destination with a answered option")
    assert destination.options and not destination.hop_options


@pytest.mark.parametrize(
    "name",
    [
        "arp", "lldp", "802.3", "vlan 5", "vlan 0", "qinq", "ihl 4", "ihl 15", "version 5", "ipv6 version 4",
        "total length too long", "total length too short", "total length cuts tcp", "ipv6 payload too long",
        "ipv6 payload cuts tcp", "ipv6 cut extension", "ipv6 hop-by-hop second", "ipv6 ah", "cut ethernet",
        "cut ipv4", "cut ipv6",
        "ipv4 protocol 6 cut to 19", "ipv4 protocol 17 cut to 7", "ipv4 protocol 1 cut to 7",
        "ipv6 protocol 132 cut to 11", "icmp6 cut to 7", "ipv4 protocol 50 cut to 7",
        "ipv4 protocol 51 cut to 11",
    ],
)  # fmt: skip
def test_unreadable(name: str) -> None:
    with pytest.raises(Unreadable):
        _read(name)


def test_every_prefix_of_every_frame_is_read_or_refused() -> None:
    for frame in frames():
        for end in range(len(frame.data)):
            try:
                packet = parse(frame.data[:end])
            except Unreadable:
                continue
            assert packet.length <= end - 14


def test_names_are_unique_and_frames_stay_the_same() -> None:
    assert len(_BY_NAME) == len(frames())
    assert frames() == frames(PLACE)
