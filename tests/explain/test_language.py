"""The words for a packet, both ways."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from xdptables.explain.language import read_packet
from xdptables.fields import Family
from xdptables.reference.connection import State
from xdptables.reference.packet import Packet, Unreadable, parse
from xdptables.rules.reader import read_rulesets
from xdptables.source import InputError, Source
from xdptables.verify.derive import derive
from xdptables.verify.model import Place
from xdptables.verify.readable import readable

PLACE = Place()
SAID = ["src", "dst", "protocol", "ttl", "tos", "ports", "pkttype", "first_fragment", "fragment", "options"]


def packet(text: str) -> Packet:
    return parse(read_packet(text, PLACE).frame)


def test_the_example_of_the_readme() -> None:
    p = packet("tcp 203.0.113.9:4444 > 192.0.2.1:22 syn")
    assert (p.ports, p.tcp_flags, p.protocol, p.ttl) == ((4444, 22), 2, 6, 64)
    assert p.src == 0xCB007109 and p.dst == 0xC0000201 and not p.tcp_has_data


def test_names_for_the_host_and_others() -> None:
    p = packet("udp any > me:53")
    assert (p.src, p.dst, p.ports) == (0xC0000202, 0xC0000201, (40000, 53))
    six = packet("udp [2001:db8::5]:7 > [2001:db8::1]:53")
    assert six.ports == (7, 53) and six.bits == 128
    assert packet("icmp6 2001:db8::5 > me").dst == int("20010db8000000000000000000000001", 16)


def test_ports_by_name() -> None:
    assert packet("tcp any:https > me:ssh").ports == (443, 22)
    assert packet("udp [2001:db8::5]:domain > me:SNMP").ports == (53, 161)


def test_brackets_tell_a_port_from_a_part_of_the_address() -> None:
    for text, dst, port in (
        ("[2001:db8::2]:22", "2001:db8::2", 22), ("[2001:db8::2:22]", "2001:db8::2:22", 50000),
        ("2001:db8::1", "2001:db8::1", 50000), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", 50000),
        ("2001:db8::2:ab", "2001:db8::2:ab", 50000),
    ):  # fmt: skip
        p = packet(f"tcp 2001:db8::1 > {text}")
        assert (p.dst, p.ports and p.ports[1]) == (int(ip_address(dst)), port)
    # Where there are no ports there is no doubt.
    for text in ("icmp6 2001:db8::1 > 2001:db8::2:22", "tcp 2001:db8::1 > 2001:db8::2:22 fragment later"):
        assert packet(text).dst == int(ip_address("2001:db8::2:22"))


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("syn+ack", "tcp_flags", 0x12),
        ("syn,ack,urg", "tcp_flags", 0x32),
        ("fin psh urg", "tcp_flags", 0x29),
        ("noflags", "tcp_flags", 0),
        ("flags 0xff", "tcp_flags", 0xFF),
        ("ack data", "tcp_has_data", True),
        ("ttl 7", "ttl", 7),
        ("tos 0x10", "tos", 0x10),
        ("dscp 46", "tos", 184),
        ("length 80", "length", 80),
        ("mac 02:00:00:00:00:77", "mac_src", 0x020000000077),
        ("fragment first", "fragment", True),
        ("fragment later", "later_fragment", True),
        ("options", "options", True),
        ("broadcast", "pkttype", 1),
        ("multicast", "pkttype", 2),
        ("dport 9", "ports", (40000, 9)),
    ],
)
def test_words(words: str, field: str, value: object) -> None:
    assert getattr(packet(f"tcp any > me {words}"), field) == value


def test_protocols_and_their_own_words() -> None:
    assert packet("icmp any > me type ping").icmp == 0x0800
    assert packet("icmp any > me type 3/4").icmp == 0x0304
    for name in ("icmp6", "icmpv6", "ipv6-icmp"):
        assert packet(f"{name} any > me type echo-request").icmp == 0x8000
    assert packet("esp any > me spi 0x101").l4[:4] == b"\0\0\1\1"
    assert packet("proto 253 any > me").protocol == 253
    assert packet("udp [2001:db8::2]:1 > [2001:db8::1]:2 hopopts routing dstopts").extensions == (0, 60, 43)


def test_a_state() -> None:
    assert read_packet("tcp any > me:22 state new", PLACE).state is State.NEW
    assert read_packet("tcp any > me:22", PLACE).state is None


def test_a_frame_in_hex() -> None:
    frame = read_packet("tcp any > me:22", PLACE).frame
    for text in (frame.hex(), f"0x{frame.hex()}", frame.hex(" "), frame.hex(":").upper()):
        assert read_packet(text, PLACE).frame == frame


@pytest.mark.parametrize("words", ["tcp any > me:22", "udp [2001:db8::2]:53 > me:4000"])
def test_an_ip_packet_in_hex_as_tcpdump_prints_it(words: str) -> None:
    data = read_packet(words, PLACE).frame
    lines = [f"\t0x{at:04x}:  {data[14 + at : 30 + at].hex(' ', 2)}" for at in range(0, len(data) - 14, 16)]
    assert read_packet("\n".join(lines), PLACE).frame == bytes(12) + data[12:]


def test_the_family_of_the_rules_where_no_word_tells() -> None:
    for words, bits in (("tcp any > me:22", 128), ("icmp any > me", 32), ("tcp any > 192.0.2.1:22", 32)):
        assert parse(read_packet(words, PLACE, Family.IPV6).frame).bits == bits


def test_fragments_of_ipv6_are_told_apart() -> None:
    for which in ("first", "later"):
        frame = read_packet(f"udp [2001:db8::2]:53 > [2001:db8::1]:4000 fragment {which}", PLACE).frame
        assert f" fragment {which} " in readable(frame)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "a protocol is missing"),
        ("tpc any > me", 1, "no protocol"),
        ("proto 300 any > me", 7, "not a number from 0 to 255"),
        ("tcp", 4, "an address is missing"),
        ("tcp 1.2.3 > me", 5, "no address"),
        ("tcp any me", 9, "`>` is expected"),
        ("tcp any:70000 > me", 5, "no port"),
        ("tcp any > me:nothing", 11, "no port"),
        ("tcp 2001:db8::1 > 2001:db8::2:22", 19, "may be an address, or one with a port"),
        ("icmp any > me:7", 12, "no ports"),
        ("tcp 1.2.3.4 > 2001:db8::1", 15, "different families"),
        ("tcp any > me:22 sin", 17, "not known here"),
        ("tcp any > me ttl", 17, "a number is missing"),
        ("tcp any > me ttl 256", 18, "not a number from 0 to 255"),
        ("tcp any > me state old", 20, "no connection state"),
        ("udp any > me type 8", 14, "only icmp"),
        ("icmp any > me type pong", 20, "no ICMP type"),
        ("udp any > me syn", 14, "only tcp has flags"),
        ("tcp any > me mac 02", 18, "no MAC address"),
        ("tcp any > me fragment middle", 23, "no part of a datagram"),
        ("icmp6 1.2.3.4 > me", 17, "icmp6 with IPv6"),
        ("tcp 1.2.3.4 > me routing ttl 5", 18, "no extension headers"),
        ("udp any > me syn+ack ttl 5", 14, "only tcp has flags"),
        ("udp [2001:db8::2]:1 > me options", 26, "no such options"),
        ("icmp any > me dport 7", 15, "no ports"),
        ("tcp any > me spi 7", 14, "only esp and ah"),
        ("tcp any > me length 10 ttl 5", 21, "its headers alone have 40 bytes"),
        ("tcp any > me fragment", 22, "`first` or `later` is missing"),
        ("tcp any > me state", 19, "a state is missing"),
        ("dead beef", 1, "4 bytes are no frame"),
        ("4500 0028 0", 1, "9 hex digits are no whole bytes"),
    ],
)
def test_errors_point_at_the_word(text: str, column: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_packet(text, PLACE)
    (found,) = caught.value.diagnostics
    assert message in found.message and found.span.column == column
    assert found.hint and "^" in found.render()


@pytest.mark.parametrize("family", Family)
def test_what_is_printed_can_be_read_again(family: Family) -> None:
    rulesets = read_rulesets(
        Source("r", "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n"),
        family,
    )
    checked = 0
    for frame in derive(rulesets, (), PLACE, limit=600):
        try:
            before = parse(frame.data)
        except Unreadable:
            continue
        # The MAC, odd options and what is behind the first 8 bytes of odd protocols are not said.
        odd = before.options or before.hop_options or len(before.extensions) > 1
        if family is Family.IPV6 and odd:
            continue
        if (before.pkttype == 0 and before.mac_dst != 0x02000000000B) or before.length > 1500:
            continue
        again = packet(readable(frame.data))
        for name in SAID:
            assert getattr(again, name) == getattr(before, name), (name, readable(frame.data), frame)
        if before.protocol == 6 and not before.fragment:
            assert (again.tcp_flags, again.tcp_has_data) == (before.tcp_flags, before.tcp_has_data)
        if before.protocol in (1, 58) and not before.fragment:
            assert again.icmp == before.icmp
        checked += 1
    assert checked > 250
