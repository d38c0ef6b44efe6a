"""Ethernet frames with right checksums: conntrack judges a packet with a wrong one INVALID."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from xdptables.fields import Family

SERVER_MAC, SENDER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
TCP, UDP = 6, 17
SYN, ACK = 0x02, 0x10
#: Both are multiples of 8, so that the generator copies whole words; what exceeds the packet is padding.
FRAME_SIZE = {Family.IPV4: 64, Family.IPV6: 80}


@dataclass(frozen=True, slots=True)
class Packet:
    """Addresses as numbers. `flags`: of TCP."""

    source: int
    destination: int
    protocol: int
    sport: int
    dport: int
    flags: int = 0


def frame(packet: Packet, family: Family, *, drop: bool) -> bytes:
    """`drop`: the packet's right fate, written where no rule looks (IPv4 identification, IPv6 flow
    label): the program that shows the limit obeys it."""
    size = 4 if family is Family.IPV4 else 16
    source, destination = packet.source.to_bytes(size, "big"), packet.destination.to_bytes(size, "big")
    length = 20 if packet.protocol == TCP else 8
    pseudo = source + destination + struct.pack("!II", length, packet.protocol)
    if packet.protocol == TCP:
        ports = struct.pack("!HHII", packet.sport, packet.dport, 1, 1 if packet.flags & ACK else 0)
        rest = struct.pack("!BBH", 0x50, packet.flags, 64240)
        l4 = ports + rest + struct.pack("!HH", checksum(pseudo + ports + rest), 0)
    else:
        ports = struct.pack("!HHH", packet.sport, packet.dport, length)
        l4 = ports + struct.pack("!H", checksum(pseudo + ports) or 0xFFFF)
    if family is Family.IPV4:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, int(drop), 0x4000, 64, packet.protocol, 0)
        ip += source + destination
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        ethertype = b"\x08\x00"
    else:
        ip = struct.pack("!IHBB", 6 << 28 | int(drop), length, packet.protocol, 64) + source + destination
        ethertype = b"\x86\xdd"
    return (SERVER_MAC + SENDER_MAC + ethertype + ip + l4).ljust(FRAME_SIZE[family], b"\0")


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def number(address: str) -> int:
    return int(ipaddress.ip_address(address))
