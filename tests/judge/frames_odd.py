"""Frames that are not IP, or odd, or cut short."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    PadN,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from judge.place import Add, Place


def add_odd(add: Add, place: Place, ether: Packet) -> None:
    ip = IP(src=place.peer4, dst=place.own4)
    six = IPv6(src=place.peer6, dst=place.own6)
    syn = TCP(sport=40000, dport=22, flags="S")
    add(
        "arp",
        Ether(src=place.peer_mac, dst="ff:ff:ff:ff:ff:ff")
        / ARP(op=1, hwsrc=place.peer_mac, psrc=place.peer4, pdst=place.own4),
    )
    add("lldp", Ether(src=place.peer_mac, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(b"\0" * 46))
    add(
        "802.3", bytes.fromhex((place.own_mac + place.peer_mac).replace(":", "")) + b"\x00\x2e" + b"\x42" * 46
    )
    add("vlan 5", ether / Dot1Q(vlan=5) / ip / syn)
    add("vlan 0", ether / Dot1Q(vlan=0) / ip / syn)
    add("qinq", ether / Dot1AD(vlan=5) / Dot1Q(vlan=6) / ip / syn)
    add("vlan 5, ipv6", ether / Dot1Q(vlan=5) / six / syn)
    for protocol, sizes in (
        (6, (0, 3, 4, 8, 19)),
        (17, (0, 3, 4, 7)),
        (1, (0, 1, 2, 4, 7)),
        (132, (0, 4, 11)),
        (33, (0, 4, 11)),
        (136, (0, 4, 7)),
        (50, (0, 4, 7)),
        (51, (0, 4, 11)),
    ):
        for size in sizes:
            payload = Raw((b"\x9c\x40\x00\x16" + b"\0" * 20)[:size])
            add(f"ipv4 protocol {protocol} cut to {size}", ether / _ip(place, proto=protocol) / payload)
            if protocol not in (1, 51):
                add(f"ipv6 protocol {protocol} cut to {size}", ether / _ip6(place, nh=protocol) / payload)
    for size in (0, 2, 4, 7):
        add(f"icmp6 cut to {size}", ether / _ip6(place, nh=58) / Raw(b"\x80\0\0\0\0\0\0"[:size]))
    add("ihl 4", ether / _ip(place, ihl=4) / syn)
    add("ihl 15", ether / _ip(place, ihl=15) / syn)
    add("version 5", ether / _ip(place, version=5) / syn)
    add("ipv6 version 4", ether / _ip6(place, version=4) / syn)
    add("total length too long", ether / _ip(place, len=200) / syn)
    add("total length too short", ether / _ip(place, len=19) / syn)
    add("total length cuts tcp", ether / _ip(place, len=30) / syn)
    add("ip checksum bad", ether / _ip(place, chksum=1) / syn)
    add("ipv6 payload too long", ether / _ip6(place, plen=200) / syn)
    add("ipv6 payload cuts tcp", ether / _ip6(place, plen=10) / syn)
    add("ipv6 cut extension", ether / _ip6(place, nh=60) / Raw(b"\x06\x05\x01\x02\0\0\0\0"))
    add("ipv6 long chain", ether / six / _chain(9) / syn)
    add("padding", bytes(ether / ip / syn) + b"\xaa" * 40)
    add("padding, udp of 1", bytes(ether / ip / UDP(sport=1, dport=53) / Raw(b"u")) + b"\xaa" * 40)
    add("ipv6 padding", bytes(ether / six / syn) + b"\xaa" * 40)
    add("cut ethernet", bytes(ether / ip)[:13])
    add("cut ipv4", bytes(ether / ip / syn)[:30])
    add("cut ipv6", bytes(ether / six / syn)[:50])


def _chain(length: int) -> Packet:
    chain = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    for _ in range(length - 1):
        chain = chain / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    return chain


def _ip(place: Place, **fields: Any) -> Packet:
    return IP(src=place.peer4, dst=place.own4, **fields)


def _ip6(place: Place, **fields: Any) -> Packet:
    return IPv6(src=place.peer6, dst=place.own6, **fields)
