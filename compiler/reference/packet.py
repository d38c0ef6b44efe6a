"""A frame as netfilter would see it, read from the bytes alone.

Written apart from fields.py and from the generated C, so that a mistake there is not repeated here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..fields import Family

TCP, UDP, ICMP, ICMP6, DCCP, SCTP, UDPLITE, ESP, AH = 6, 17, 1, 58, 33, 132, 136, 50, 51
HOPOPTS, ROUTING, FRAGMENT, NONE, DSTOPTS = 0, 43, 44, 59, 60
WITH_PORTS = frozenset({TCP, UDP, UDPLITE, SCTP, DCCP})

# The bytes that the kernel's matches ask for before they answer.
_LEAST = {TCP: 20, UDP: 8, UDPLITE: 8, SCTP: 12, DCCP: 12, ICMP: 8, ICMP6: 8, ESP: 8, AH: 12}
_MOST_EXTENSIONS = 16


@dataclass(frozen=True, slots=True)
class Packet:
    """`protocol` is the one that -p sees; `l4` is everything behind the IP headers, up to the IP length.

    `fragment`: part of a datagram; `later_fragment`: what it holds is not looked at; `first_fragment`: it is
    the beginning, all the same. `options`: IPv4 options, or IPv6 destination options beyond padding and
    router alert. `hop_options`: the same of the hop-by-hop header, which is read before any hook.
    `extensions`: IPv6 extension headers in their order.
    """

    family: Family
    mac_src: int
    mac_dst: int
    src: int
    dst: int
    protocol: int
    tos: int
    ttl: int
    length: int
    l4: bytes
    fragment: bool = False
    later_fragment: bool = False
    first_fragment: bool = False
    options: bool = False
    hop_options: bool = False
    extensions: tuple[int, ...] = ()

    @property
    def bits(self) -> int:
        return 32 if self.family is Family.IPV4 else 128

    @property
    def ports(self) -> tuple[int, int] | None:
        if self.fragment or self.protocol not in WITH_PORTS:
            return None
        sport, dport = struct.unpack_from("!HH", self.l4)
        return sport, dport

    @property
    def tcp_flags(self) -> int:
        return self.l4[13]

    @property
    def tcp_malformed(self) -> bool:
        """Its header ends before its fixed part does, or behind the packet."""
        if self.protocol != TCP or self.fragment:
            return False
        header = (self.l4[12] >> 4) * 4
        return header < 20 or header > len(self.l4)

    @property
    def tcp_has_data(self) -> bool:
        header = (self.l4[12] >> 4) * 4
        return header < 20 or len(self.l4) > header

    @property
    def icmp(self) -> int:
        """type << 8 | code"""
        return self.l4[0] << 8 | self.l4[1]

    @property
    def pkttype(self) -> int:
        if self.mac_dst == (1 << 48) - 1:
            return 1
        return 2 if self.mac_dst >> 40 & 1 else 0


class Unreadable(Exception):
    """No rule decides such a frame here: it is not IP, or odd. The message says why."""


def parse(frame: bytes) -> Packet:
    if len(frame) < 14:
        raise Unreadable("truncated Ethernet header")
    mac_dst, mac_src = int.from_bytes(frame[:6]), int.from_bytes(frame[6:12])
    ethertype = int.from_bytes(frame[12:14])
    data = frame[14:]
    if ethertype in (0x8100, 0x88A8, 0x9100):
        raise Unreadable("VLAN tag")
    if ethertype == 0x0800:
        return _ipv4(data, mac_src, mac_dst)
    if ethertype == 0x86DD:
        return _ipv6(data, mac_src, mac_dst)
    raise Unreadable(f"not IP: ethertype {ethertype:#06x}")


def _ipv4(data: bytes, mac_src: int, mac_dst: int) -> Packet:
    if len(data) < 20:
        raise Unreadable("truncated IPv4 header")
    if data[0] >> 4 != 4:
        raise Unreadable("IP version is not 4")
    header = (data[0] & 15) * 4
    total = int.from_bytes(data[2:4])
    if header < 20 or header > len(data):
        raise Unreadable("bad IPv4 header length")
    if total < header or total > len(data):
        raise Unreadable("bad IPv4 total length")
    offset = int.from_bytes(data[6:8]) & 0x3FFF
    packet = Packet(
        family=Family.IPV4,
        mac_src=mac_src,
        mac_dst=mac_dst,
        src=int.from_bytes(data[12:16]),
        dst=int.from_bytes(data[16:20]),
        protocol=data[9],
        tos=data[1],
        ttl=data[8],
        length=total,
        l4=data[header:total],
        fragment=offset != 0,
        later_fragment=offset & 0x1FFF != 0,
        first_fragment=offset == 0x2000,
        options=header > 20,
    )
    _check_l4(packet)
    return packet


def _ipv6(data: bytes, mac_src: int, mac_dst: int) -> Packet:
    if len(data) < 40:
        raise Unreadable("truncated IPv6 header")
    word, payload, following, hops = struct.unpack_from("!IHBB", data)
    if word >> 28 != 6:
        raise Unreadable("IP version is not 6")
    if payload == 0:
        raise Unreadable("IPv6 payload length 0 (jumbogram)")
    if payload + 40 > len(data):
        raise Unreadable("bad IPv6 payload length")
    rest = data[40 : 40 + payload]
    extensions: list[int] = []
    fragment = later = first = options = hop_options = False
    while following in (HOPOPTS, ROUTING, FRAGMENT, DSTOPTS):
        if len(extensions) >= _MOST_EXTENSIONS:
            raise Unreadable("too many IPv6 extension headers")
        if following == HOPOPTS and extensions:
            raise Unreadable("hop-by-hop options are not the first header")
        if len(rest) < 8:
            raise Unreadable("truncated IPv6 extension header")
        size = 8 if following == FRAGMENT else (rest[1] + 1) * 8
        if size > len(rest):
            raise Unreadable("truncated IPv6 extension header")
        extensions.append(following)
        if following == FRAGMENT:
            # What is behind it is not looked at: the protocol that -p sees is maybe, as in a later fragment.
            fragment = later = True
            first = int.from_bytes(rest[2:4]) & 0xFFF8 == 0
        elif following == HOPOPTS:
            hop_options = _beyond_padding(rest[2:size])
        elif following == DSTOPTS:
            options = options or _beyond_padding(rest[2:size])
        following, rest = rest[0], rest[size:]
        if later:
            break
    if following == AH and not later:
        raise Unreadable("IPv6 AH, where legacy and nft differ")
    packet = Packet(
        family=Family.IPV6,
        mac_src=mac_src,
        mac_dst=mac_dst,
        src=int.from_bytes(data[8:24]),
        dst=int.from_bytes(data[24:40]),
        protocol=following,
        tos=word >> 20 & 0xFF,
        ttl=hops,
        length=payload + 40,
        l4=rest,
        fragment=fragment,
        later_fragment=later,
        first_fragment=first,
        options=options,
        hop_options=hop_options,
        extensions=tuple(extensions),
    )
    _check_l4(packet)
    return packet


def _check_l4(packet: Packet) -> None:
    if packet.fragment:  # reassembled first, or its header is not looked at
        return
    if len(packet.l4) < _LEAST.get(packet.protocol, 0):
        raise Unreadable(f"truncated header of protocol {packet.protocol}")


def _beyond_padding(options: bytes) -> bool:
    """Whether there is an option other than padding and router alert."""
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == 0:  # Pad1
            at += 1
            continue
        if kind not in (1, 5) or at + 1 >= len(options):  # PadN, router alert
            return True
        at += 2 + options[at + 1]
    return at != len(options)
