"""IPv6 frames."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Jumbo,
    PadN,
    RouterAlert,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet, Raw

from judge.place import FLAG_SETS, PORTS, TOS, TTLS, Add, Place, dccp

_ICMP6 = (
    (1, 0),
    (1, 4),
    (2, 0),
    (3, 0),
    (4, 1),
    (128, 0),
    (129, 0),
    (130, 0),
    (131, 0),
    (133, 0),
    (137, 0),
    (139, 0),
    (143, 0),
    (151, 0),
    (255, 255),
)


def add_ipv6(add: Add, place: Place, ether: Packet) -> None:
    ip = IPv6(src=place.peer6, dst=place.own6)
    syn = TCP(sport=40000, dport=22, flags="S")
    for src in (
        "2001:db8::77",
        "2001:db9::1",
        "fe80::1",
        "fd00::1",
        "::1",
        "::",
        "ff02::1",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
    ):
        add(f"ipv6 from {src}", ether / IPv6(src=src, dst=place.own6) / syn)
    for dst in (place.peer6, "2001:db8::3", "2001:db9::3", "fe80::3", "::1", "2001:db8::"):
        add(f"ipv6 to {dst}", ether / IPv6(src=place.peer6, dst=dst) / UDP(sport=9, dport=9))
    for flags in FLAG_SETS:
        add(f"tcp6 flags {flags or 'none'}", ether / ip / TCP(sport=40000, dport=80, flags=flags))
    for sport, dport in PORTS:
        add(f"tcp6 {sport}>{dport}", ether / ip / TCP(sport=sport, dport=dport, flags="S"))
        add(f"udp6 {sport}>{dport}", ether / ip / UDP(sport=sport, dport=dport) / Raw(b"x" * 20))
        ports = sport.to_bytes(2) + dport.to_bytes(2)
        add(f"udplite6 {sport}>{dport}", ether / _ip6(place, nh=136) / Raw(ports + b"\0\x08\0\0abcd"))
        add(f"sctp6 {sport}>{dport}", ether / ip / SCTP(sport=sport, dport=dport) / SCTPChunkInit())
        add(f"dccp6 {sport}>{dport}", ether / _ip6(place, nh=33) / Raw(dccp(ports)))
    for kind, code in _ICMP6:
        add(f"icmp6 {kind}/{code}", ether / _ip6(place, nh=58) / Raw(bytes([kind, code, 0, 0]) + b"\0" * 28))
    for name, message in (
        ("echo request", ICMPv6EchoRequest()),
        ("echo reply", ICMPv6EchoReply()),
        ("neighbour solicitation", ICMPv6ND_NS(tgt=place.own6)),
        ("neighbour advertisement", ICMPv6ND_NA(tgt=place.peer6)),
        ("router advertisement", ICMPv6ND_RA()),
        ("unreachable", ICMPv6DestUnreach() / ip / syn),
        ("too big", ICMPv6PacketTooBig() / ip / syn),
        ("time exceeded", ICMPv6TimeExceeded() / ip / syn),
    ):
        add(f"icmp6 {name}", ether / _ip6(place, hlim=255) / message)
    bad = bytes(ether / _ip6(place, hlim=255) / ICMPv6ND_NS(tgt=place.own6))
    add("icmp6 neighbour solicitation, bad checksum", bad[:-1] + bytes([bad[-1] ^ 0x55]))
    for tos in TOS:
        add(f"ipv6 class {tos:#04x}", ether / _ip6(place, tc=tos) / syn)
    for ttl in TTLS:
        add(f"ipv6 hop limit {ttl}", ether / _ip6(place, hlim=ttl) / syn)
    for size in (0, 1, 100, 152, 153, 500, 1452):
        add(f"ipv6 udp of {size}", ether / ip / UDP(sport=7777, dport=7) / Raw(b"z" * size))
    pad = [PadN(optdata=b"\0" * 4)]
    hop, dst = IPv6ExtHdrHopByHop(options=pad), IPv6ExtHdrDestOpt(options=pad)
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert(), PadN(optdata=b"")])
    routing = IPv6ExtHdrRouting(type=4, segleft=0, addresses=[])
    for name, chain in (
        ("hop-by-hop", hop),
        ("destination", dst),
        ("routing", routing),
        ("hop-by-hop, destination", hop / dst),
        ("hop-by-hop, destination, routing", hop / dst / routing),
        ("two destination", dst / dst),
        ("router alert", alert),
        ("destination, routing, destination", dst / routing / dst),
        ("atomic fragment", IPv6ExtHdrFragment(id=7)),
        ("hop-by-hop, atomic fragment", hop / IPv6ExtHdrFragment(id=8)),
    ):
        add(f"ipv6 {name}, tcp", ether / ip / chain / syn)
        add(f"ipv6 {name}, udp", ether / ip / chain / UDP(sport=5000, dport=53) / Raw(b"q"))
    strange = bytes([6, 0, 0x1E, 4, 1, 2, 3, 4])  # an option of an unknown type that may be skipped
    answered = bytes([6, 0, 0x9E, 4, 1, 2, 3, 4])  # one that asks for a parameter problem
    for name, options in (("skippable", strange), ("answered", answered)):
        for kind, where in ((0, "hop-by-hop"), (60, "destination")):
            head = _ip6(place, nh=kind, plen=28)
            add(f"ipv6 {where} with a {name} option", ether / head / Raw(options + bytes(syn)))
    add("ipv6 hop-by-hop second", ether / ip / dst / hop / syn)
    add("ipv6 jumbo", ether / ip / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70000)]) / syn)
    add(
        "ipv6 ah", ether / _ip6(place, nh=51) / AH(spi=0x100, seq=1, icv=b"\0" * 12, nh=6, payloadlen=4) / syn
    )
    add("ipv6 esp", ether / _ip6(place, nh=50) / ESP(spi=0x100, seq=1, data=b"e" * 24))
    add(
        "ipv6 destination, esp",
        ether
        / ip
        / IPv6ExtHdrDestOpt(nh=50, options=pad)
        / Raw(bytes(ESP(spi=0x101, seq=1, data=b"e" * 24))),
    )
    add("ipv6 no next header", ether / _ip6(place, nh=59) / Raw(b"n" * 8))
    add("ipv6 protocol 253", ether / _ip6(place, nh=253) / Raw(b"n" * 30))
    add("ipv6 gre", ether / _ip6(place, nh=47) / Raw(b"\0" * 30))
    add("ipv6 mobility", ether / _ip6(place, nh=135) / Raw(b"\x3b\0\0\0\0\0\0\0"))
    whole = bytes(UDP(sport=40000, dport=80, len=72, chksum=1) / Raw(b"f" * 64))
    for label, ident, wanted in (
        ("all", 100, (0, 1, 2)),
        ("first alone", 101, (0,)),
        ("middle alone", 102, (1,)),
        ("last alone", 103, (2,)),
    ):
        for number in wanted:
            head = IPv6ExtHdrFragment(id=ident, offset=number * 3, m=int(number < 2), nh=17)
            add(
                f"ipv6 fragments {label}: {number}",
                ether / ip / head / Raw(whole[number * 24 : number * 24 + 24]),
            )
    group = Ether(src=place.peer_mac, dst="33:33:00:00:00:01")
    add(
        "ipv6 all nodes", group / IPv6(src=place.peer6, dst="ff02::1", hlim=255) / UDP(sport=5353, dport=5353)
    )
    add("ipv6 mdns", group / IPv6(src=place.peer6, dst="ff02::fb", hlim=255) / UDP(sport=5353, dport=5353))
    add("ipv6 site multicast", group / IPv6(src=place.peer6, dst="ff05::1:3") / UDP(sport=5353, dport=5353))
    add("mld report", group / IPv6(src="fe80::2", dst="ff02::16", hlim=1) / alert / ICMPv6MLReport2())
    add("ipv6 foreign mac", Ether(src=place.peer_mac, dst="02:00:00:00:00:99") / ip / syn)
    add("ipv6 another sender", Ether(src="02:00:00:00:00:77", dst=place.own_mac) / ip / syn)
    add("dhcpv6", ether / ip / UDP(sport=547, dport=546) / Raw(b"\x02abc"))


def _ip6(place: Place, **fields: Any) -> Packet:
    return IPv6(src=place.peer6, dst=place.own6, **fields)
