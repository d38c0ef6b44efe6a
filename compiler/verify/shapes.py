"""What else a frame can be: fragments, options, extension headers, cut, tagged, for others, not IP."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from ..fields import Family
from .build import PLACE, Spec, build, mac_bytes
from .model import Frame, Place

Twist = Callable[[bytes], bytes]

FLAGS = (0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x01, 0x00, 0x20, 0x29, 0x03, 0x06, 0xC2, 0xFF, 0x22, 0x30)
_ICMP4 = ((8, 0), (0, 0), (3, 1), (3, 4), (4, 0), (5, 1), (9, 0), (10, 0), (11, 0), (13, 0), (17, 0), (19, 0),
          (40, 0), (255, 0))  # fmt: skip
_ICMP6 = ((1, 4), (2, 0), (3, 0), (4, 1), (128, 0), (129, 0), (130, 0), (133, 0), (135, 0), (136, 0),
          (143, 0), (151, 0), (255, 255))  # fmt: skip


def _at(offset: int, value: bytes) -> Twist:
    return lambda frame: frame[:offset] + value + frame[offset + len(value) :]


def _behind_macs(tag: bytes) -> Twist:
    return lambda frame: frame[:12] + tag + frame[12:]


def _cut(size: int) -> Twist:
    return lambda frame: frame[:size]


#: Done to a whole frame. Lengths and checksums are left as they were: that is the point of some.
TWISTS: tuple[tuple[str, Twist], ...] = (
    ("VLAN 5", _behind_macs(b"\x81\x00\x00\x05")),
    ("VLAN 0", _behind_macs(b"\x81\x00\x00\x00")),
    ("QinQ", _behind_macs(b"\x88\xa8\x00\x05\x81\x00\x00\x06")),
    ("for another MAC", _at(0, bytes.fromhex("020000000099"))),
    ("a broadcast frame", _at(0, b"\xff" * 6)),
    ("a multicast frame", _at(0, bytes.fromhex("01005e0000fb"))),
    ("another sender's MAC", _at(6, bytes.fromhex("020000000077"))),
    ("cut in the IP header", _cut(30)),
    ("cut in the transport header", lambda frame: frame[: 14 + (20 if frame[14] >> 4 == 4 else 40) + 6]),
    ("padded", lambda frame: frame + b"\xaa" * 18),
    ("a bad checksum", lambda frame: frame[:-1] + bytes([frame[-1] ^ 0x55])),
    ("another ethertype", _at(12, b"\x88\xb5")),
    ("another IP version", lambda frame: frame[:14] + bytes([0x55]) + frame[15:]),
    ("a total length that is too long", lambda frame: _with_length(frame, 40)),
    ("a total length that cuts the transport header", lambda frame: _with_length(frame, -14)),
)
#: Changes of a spec.
VARIANTS: tuple[tuple[str, Spec], ...] = (
    ("first fragment", {"fragment": 1}),
    ("later fragment", {"fragment": 2}),
    ("IP options", {"options": 1}),
    ("hop-by-hop header", {"exthdr": 1}),
    ("routing header", {"exthdr": 2}),
    ("destination options", {"exthdr": 4}),
    ("three extension headers", {"exthdr": 7}),
    ("with data", {"tcp_flags": 0x118}),
    ("SYN+ACK", {"tcp_flags": 0x12}),
    ("ACK", {"tcp_flags": 0x10}),
    ("RST", {"tcp_flags": 0x04}),
    ("FIN+ACK", {"tcp_flags": 0x11}),
    ("no flags", {"tcp_flags": 0}),
    ("SYN+FIN", {"tcp_flags": 3}),
    ("TTL 1", {"ttl": 1}),
    ("a large packet", {"length": 1400}),
    ("TOS 0x10", {"tos": 0x10}),
)


def _with_length(frame: bytes, more: int) -> bytes:
    at = 16 if frame[14] >> 4 == 4 else 18
    value = max(0, int.from_bytes(frame[at : at + 2]) + more) & 0xFFFF
    return frame[:at] + value.to_bytes(2) + frame[at + 2 :]


def shapes(family: Family, place: Place = PLACE) -> Iterator[Frame]:
    """Frames that do not depend on the rules."""
    four = family is Family.IPV4

    def made(name: str, **spec: int) -> Frame:
        return Frame(f"{family}: {name}", build(family, spec, place))

    for flags in FLAGS:
        yield made(f"tcp flags {flags:#04x}", tcp_flags=flags, dport=80)
        yield made(f"tcp flags {flags:#04x} with data", tcp_flags=flags | 0x100, dport=80)
    for port in (22, 53, 67, 68, 80, 123, 443, 546, 547, 0, 65535):
        for proto in (6, 17, 33, 132, 136):
            yield made(f"protocol {proto} to port {port}", proto=proto, dport=port)
            yield made(f"protocol {proto} from port {port}", proto=proto, sport=port)
    for kind, code in _ICMP4 if four else _ICMP6:
        yield made(f"icmp {kind}/{code}", proto=1 if four else 58, icmp=kind << 8 | code)
    for proto in (*range(0 if four else 1, 6), 41, 47, 50, 51, 59, 88, 89, 103, 112, 253, 255):
        yield made(f"protocol {proto}", proto=proto)
    for tos in (0, 1, 2, 3, 8, 16, 40, 184, 255):
        yield made(f"tos {tos:#04x}", tos=tos)
    for ttl in (0, 1, 63, 64, 65, 128, 255):
        yield made(f"ttl {ttl}", ttl=ttl)
    for length in (41, 60, 100, 200, 576, 1400):
        yield made(f"length {length}", length=length, proto=17)
    for what, texts in _ADDRESSES4.items() if four else _ADDRESSES6.items():
        for text in texts:
            for name in ("src", "dst"):
                yield made(f"{name} {what} {text}", **{name: int(ipaddress.ip_address(text)), "proto": 17})
    if four:
        every = {"dst": int(ipaddress.ip_address(place.broadcast4)), "pkttype": 1}
        yield made("directed broadcast", proto=17, dport=137, **every)
        yield made("broadcast ping", proto=1, **every)
    plain = build(family, {"dport": 22}, place)
    for name, twist in TWISTS:
        yield Frame(f"{family}: {name}", twist(plain))
    for size in (14, 20, 33, 34, 37, 41, 54, 60):
        yield Frame(f"{family}: cut to {size}", plain[:size])
    yield from _options(family, place) if four else _strange_headers(place)


def not_ip(place: Place = PLACE) -> Iterator[Frame]:
    head = mac_bytes("ff:ff:ff:ff:ff:ff") + mac_bytes(place.peer_mac)
    for name, kind in (
        ("ARP", 0x0806),
        ("LLDP", 0x88CC),
        ("802.3 length", 0x2E),
        ("PPPoE", 0x8864),
        ("MPLS", 0x8847),
    ):
        yield Frame(name, head + kind.to_bytes(2) + bytes(46))


def _options(family: Family, place: Place) -> Iterator[Frame]:
    for proto in (6, 17, 1):
        yield Frame(f"IPv4 options, protocol {proto}", build(family, {"proto": proto, "options": 1}, place))
        for part in (1, 2):
            yield Frame(
                f"fragment {part}, protocol {proto}", build(family, {"proto": proto, "fragment": part}, place)
            )


def _strange_headers(place: Place) -> Iterator[Frame]:
    """Options that the stack answers or skips, chains out of order or too long, a jumbogram."""
    whole = build(Family.IPV6, {"dport": 22}, place)
    head, tcp = whole[:54], whole[54:]
    pad, unknown, answered = b"\x01\x04\0\0\0\0", b"\x1e\x04\1\2\3\4", b"\x9e\x04\1\2\3\4"
    alert, jumbo = b"\x05\x02\0\0\x01\0", b"\xc2\x04\0\1\0\0"

    def chained(*parts: tuple[int, bytes]) -> bytes:
        kinds = [kind for kind, _ in parts[1:]] + [6]
        headers = b"".join(
            bytes([following, 0]) + body for following, (_, body) in zip(kinds, parts, strict=True)
        )
        length = (len(headers) + len(tcp)).to_bytes(2)
        return head[:18] + length + bytes([parts[0][0]]) + head[21:] + headers + tcp

    for name, parts in (
        ("an unknown hop-by-hop option", [(0, unknown)]),
        ("a hop-by-hop option to be answered", [(0, answered)]),
        ("router alert", [(0, alert)]),
        ("a jumbogram's option", [(0, jumbo)]),
        ("an unknown destination option", [(60, unknown)]),
        ("hop-by-hop second", [(60, pad), (0, pad)]),
        ("two destination headers", [(60, pad), (60, pad)]),
        ("routing between destination headers", [(60, pad), (43, b"\x04\0\0\0\0\0"), (60, pad)]),
        ("a chain of 9", [(60, pad)] * 9),
        ("an atomic fragment", [(44, b"\0\0\0\0\0\x07")]),
        ("two fragment headers", [(44, b"\0\0\0\0\0\x07"), (44, b"\0\0\0\0\0\x07")]),
    ):
        yield Frame(f"ipv6: {name}", chained(*parts))
    for proto in (6, 17, 58):
        for part in (1, 2):
            spec = {"proto": proto, "fragment": part}
            yield Frame(f"ipv6: fragment {part}, protocol {proto}", build(Family.IPV6, spec, place))
            spec["exthdr"] = 4
            yield Frame(f"ipv6: fragment {part} behind a header", build(Family.IPV6, spec, place))


_ADDRESSES4 = {
    "private": ("10.0.0.1", "172.16.5.4", "192.168.1.1"),
    "foreign": ("8.8.8.8", "198.51.100.77"),
    "special": ("0.0.0.0", "127.0.0.1", "255.255.255.255", "240.0.0.1", "169.254.1.1"),
    "multicast": ("224.0.0.1", "224.0.0.251", "239.1.2.3"),
}
_ADDRESSES6 = {
    "private": ("fd00::1", "fe80::1"),
    "foreign": ("2001:db9::1",),
    "special": ("::", "::1", "::ffff:10.0.0.1"),
    "multicast": ("ff02::1", "ff02::fb", "ff05::1:3"),
}
