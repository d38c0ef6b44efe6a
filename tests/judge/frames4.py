"""IPv4 frames."""

from __future__ import annotations

from typing import Any

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import GRE, ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert, IPOption_RR
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit
from scapy.packet import Packet, Raw

from judge.place import FLAG_SETS, PORTS, TOS, TTLS, Add, Place, dccp

_ICMP = (
    (8, 0),
    (0, 0),
    (3, 0),
    (3, 1),
    (3, 3),
    (3, 4),
    (4, 0),
    (5, 1),
    (8, 1),
    (9, 0),
    (10, 0),
    (11, 0),
    (11, 1),
    (12, 0),
    (13, 0),
    (17, 0),
    (19, 0),
    (40, 0),
    (255, 0),
)


def add_ipv4(add: Add, place: Place, ether: Packet) -> None:
    ip = IP(src=place.peer4, dst=place.own4)
    syn = TCP(sport=40000, dport=22, flags="S")
    for src in (
        "192.0.2.2",
        "192.0.2.77",
        "10.0.0.1",
        "10.255.255.255",
        "11.0.0.0",
        "198.51.100.7",
        "203.0.113.9",
        "172.16.5.4",
        "1.2.3.4",
        "0.255.255.255",
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.9",
        place.own4,
    ):
        add(f"ipv4 from {src}", ether / IP(src=src, dst=place.own4) / syn)
    for dst in (place.peer4, "192.0.2.3", "198.51.100.1", "10.0.0.1", "127.0.0.1", "0.0.0.0", "240.0.0.1"):
        add(f"ipv4 to {dst}", ether / IP(src=place.peer4, dst=dst) / UDP(sport=9, dport=9))
    for flags in FLAG_SETS:
        for payload in (b"", b"data"):
            head = TCP(sport=40000, dport=80, flags=flags)
            add(f"tcp flags {flags or 'none'}{' data' if payload else ''}", ether / ip / head / Raw(payload))
    for sport, dport in PORTS:
        add(f"tcp {sport}>{dport}", ether / ip / TCP(sport=sport, dport=dport, flags="S"))
        add(f"udp {sport}>{dport}", ether / ip / UDP(sport=sport, dport=dport) / Raw(b"x" * 20))
        ports = sport.to_bytes(2) + dport.to_bytes(2)
        add(f"udplite {sport}>{dport}", ether / _ip(place, proto=136) / Raw(ports + b"\0\x08\0\0abcd"))
        add(f"sctp {sport}>{dport}", ether / ip / SCTP(sport=sport, dport=dport) / SCTPChunkInit())
        add(f"dccp {sport}>{dport}", ether / _ip(place, proto=33) / Raw(dccp(ports)))
    add("sctp data", ether / ip / SCTP(sport=1, dport=2) / SCTPChunkData(data=b"hello"))
    add("udp checksum 0", ether / ip / UDP(sport=5, dport=6, chksum=0) / Raw(b"abc"))
    add("udp checksum bad", ether / ip / UDP(sport=5, dport=6, chksum=1) / Raw(b"abc"))
    add("udp bad length", ether / ip / UDP(sport=5, dport=6, len=200) / Raw(b"abc"))
    add("tcp checksum bad", ether / ip / TCP(sport=5, dport=6, flags="S", chksum=1))
    add("tcp doff 4", ether / ip / TCP(sport=5, dport=6, flags="S", dataofs=4))
    add("tcp doff 15", ether / ip / TCP(sport=5, dport=6, flags="S", dataofs=15))
    add(
        "tcp options",
        ether
        / ip
        / TCP(sport=5, dport=6, flags="S", options=[("MSS", 1460), ("SAckOK", b""), ("WScale", 7)]),
    )
    for kind, code in _ICMP:
        add(f"icmp {kind}/{code}", ether / ip / ICMP(type=kind, code=code) / Raw(bytes(ip / syn)[:28]))
    for tos in TOS:
        add(f"ipv4 tos {tos:#04x}", ether / _ip(place, tos=tos) / syn)
    for ttl in TTLS:
        add(f"ipv4 ttl {ttl}", ether / _ip(place, ttl=ttl) / syn)
    for size in (0, 1, 100, 172, 173, 500, 1472):
        add(f"ipv4 udp of {size}", ether / ip / UDP(sport=7777, dport=7) / Raw(b"z" * size))
    add("ipv4 options nop", ether / _ip(place, options=[IPOption_NOP()] * 4) / syn)
    add("ipv4 options router alert", ether / _ip(place, options=[IPOption_Router_Alert()]) / syn)
    add(
        "ipv4 options record route",
        ether / _ip(place, options=[IPOption_RR(length=11, routers=["0.0.0.0"] * 2)]) / syn,
    )
    whole = UDP(sport=40000, dport=80, len=72, chksum=0) / Raw(b"f" * 64)
    parts = [bytes(whole)[i : i + 24] for i in (0, 24, 48)]
    for label, ident, wanted in (
        ("all", 100, (0, 1, 2)),
        ("first alone", 101, (0,)),
        ("middle alone", 102, (1,)),
        ("last alone", 103, (2,)),
        ("reversed", 104, (2, 1, 0)),
    ):
        for number in wanted:
            flags = 1 if number < 2 else 0
            head = _ip(place, id=ident, flags=flags, frag=number * 3, proto=17)
            add(f"ipv4 fragments {label}: {number}", ether / head / Raw(parts[number]))
    add("ipv4 fragment offset 1", ether / _ip(place, id=105, frag=1, proto=6) / Raw(b"y" * 24))
    add("ipv4 df", ether / _ip(place, flags=2) / syn)
    add("ah", ether / ip / AH(spi=0x100, seq=1, icv=b"\0" * 12, nh=6, payloadlen=4) / syn)
    for spi in (0x100, 0x101, 0x1FF, 0x200, 0xFFFFFFFF):
        add(f"esp {spi:#x}", ether / ip / ESP(spi=spi, seq=1, data=b"e" * 24))
        add(
            f"ah {spi:#x}",
            ether / ip / AH(spi=spi, seq=1, icv=b"\0" * 12, nh=17, payloadlen=4) / UDP(sport=1, dport=2),
        )
    add("gre", ether / ip / GRE() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP())
    add("ip in ip", ether / ip / IP(src="10.0.0.1", dst="10.0.0.2") / UDP())
    add("ipv4 protocol 253", ether / _ip(place, proto=253) / Raw(b"w" * 30))
    add("ipv4 protocol 0", ether / _ip(place, proto=0) / Raw(b"w" * 30))
    add("ipv4 no payload", ether / _ip(place, proto=253))
    add(
        "igmp",
        Ether(src=place.peer_mac, dst="01:00:5e:00:00:01")
        / IP(src=place.peer4, dst="224.0.0.1", proto=2, ttl=1)
        / Raw(b"\x11\x64\xee\x9b\0\0\0\0"),
    )
    every = Ether(src=place.peer_mac, dst="ff:ff:ff:ff:ff:ff")
    add("limited broadcast", every / IP(src=place.peer4, dst="255.255.255.255") / UDP(sport=138, dport=138))
    add("directed broadcast", every / IP(src=place.peer4, dst=place.broadcast4) / UDP(sport=137, dport=137))
    add(
        "network address",
        every / IP(src=place.peer4, dst=place.broadcast4.replace(".255", ".0")) / UDP(sport=137, dport=137),
    )
    add("unicast in a broadcast frame", every / ip / UDP(sport=137, dport=137))
    add("broadcast icmp", every / IP(src=place.peer4, dst=place.broadcast4) / ICMP())
    group = Ether(src=place.peer_mac, dst="01:00:5e:00:00:fb")
    add("mdns", group / IP(src=place.peer4, dst="224.0.0.251", ttl=255) / UDP(sport=5353, dport=5353))
    add("all hosts", group / IP(src=place.peer4, dst="224.0.0.1", ttl=1) / UDP(sport=5353, dport=5353))
    add("multicast 239", group / IP(src=place.peer4, dst="239.1.2.3") / UDP(sport=5000, dport=5000))
    add("unicast in a multicast frame", group / ip / UDP(sport=137, dport=137))
    add("foreign mac", Ether(src=place.peer_mac, dst="02:00:00:00:00:99") / ip / syn)
    add("another sender", Ether(src="02:00:00:00:00:77", dst=place.own_mac) / ip / syn)
    add(
        "dhcp discover",
        every
        / IP(src="0.0.0.0", dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / BOOTP()
        / DHCP(options=[("message-type", 1), "end"]),
    )
    add(
        "dhcp offer",
        ether / ip / UDP(sport=67, dport=68) / BOOTP(op=2) / DHCP(options=[("message-type", 2), "end"]),
    )


def _ip(place: Place, **fields: Any) -> Packet:
    return IP(src=place.peer4, dst=place.own4, **fields)
