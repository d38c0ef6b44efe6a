"""The packet fields that a decision can test: one table for lowering, C and docs.

A field is what XDP can read out of a frame as one unsigned integer. Interfaces are not here:
a program serves one interface, so `-i` is decided when it is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @property
    def spoken(self) -> str:
        """For sentences."""
        return self.value.replace("ip", "IP")


@dataclass(frozen=True, slots=True)
class Field:
    """`bits`: width (IPv4, IPv6 where they differ).

    `layer`: "link", "ip" or "l4" (needs the transport header).
    `in_fragments`: readable and binding in a fragment (semantics: source, destination, protocol).
    `flow_constant`: the same in every packet of a conntrack flow in one direction, so a verdict
    that rests on such fields alone treats a whole flow alike (nf_conntrack_tuple).
    """

    name: str
    bits: int
    layer: str
    doc: str
    bits6: int = 0
    in_fragments: bool = False
    flow_constant: bool = False

    def width(self, family: Family) -> int:
        return self.bits6 if family is Family.IPV6 and self.bits6 else self.bits


FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        Field("src", 32, "ip", "source address", 128, in_fragments=True, flow_constant=True),
        Field("dst", 32, "ip", "destination address", 128, in_fragments=True, flow_constant=True),
        # IPv6: a later fragment's next header binds nothing (RFC 8200 4.5), see matches/view.py.
        Field("proto", 8, "ip", "protocol, past IPv6 extensions", in_fragments=True, flow_constant=True),
        Field("sport", 16, "l4", "source port (TCP, UDP, UDP-Lite, SCTP, DCCP)", flow_constant=True),
        Field("dport", 16, "l4", "destination port (TCP, UDP, UDP-Lite, SCTP, DCCP)", flow_constant=True),
        Field("icmp", 16, "l4", "ICMP type << 8 | code", flow_constant=True),
        # Bit 8 is ours: set when the segment carries data, since only those are merged by GRO.
        Field("tcp_flags", 9, "l4", "TCP flags (byte 13), and 0x100 if the segment carries data"),
        # The option that every stack puts first in its SYN; others are not looked for.
        Field("mss", 17, "l4", "TCP option MSS; 0x10000 without options, 0x10001 if another comes first"),
        Field("spi", 32, "l4", "ESP or AH security parameters index"),
        Field("tos", 8, "ip", "IPv4 TOS or IPv6 traffic class"),
        Field("ttl", 8, "ip", "IPv4 TTL or IPv6 hop limit"),
        Field("length", 17, "ip", "IP total length (IPv6: payload + 40)"),
        Field("exthdr", 3, "ip", "IPv6 headers met: 1 hop-by-hop, 2 routing, 4 destination options"),
        Field("mac_src", 48, "link", "Ethernet source address"),
        Field("pkttype", 2, "link", "0 to this host, 1 broadcast, 2 multicast, by Ethernet destination"),
    )
}
