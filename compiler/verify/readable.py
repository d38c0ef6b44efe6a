"""A frame as one line, in the words that `xdptables explain` takes (explain/language.py)."""

from __future__ import annotations

import ipaddress

from ..fields import Family
from ..reference.packet import DSTOPTS, HOPOPTS, ROUTING, Packet, Unreadable, parse

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51,
    "icmp6": 58, "ospf": 89, "pim": 103, "vrrp": 112, "sctp": 132, "udplite": 136,
}  # fmt: skip
FLAG_BITS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128}
_NAMES = {number: name for name, number in PROTOCOLS.items()}
_USUAL_TTL = 64


def readable(frame: bytes) -> str:
    """What is not as usual is said. A frame that no rule decides is named, with its bytes in hex."""
    try:
        packet = parse(frame)
    except Unreadable as e:
        shown = frame.hex() if len(frame) <= 64 else f"{frame[:64].hex()}… ({len(frame)} bytes)"
        return f"{e}: {shown}"
    return " ".join([_protocol(packet), _ends(packet), *_rest(packet)])


def _protocol(packet: Packet) -> str:
    """By number as well where the name would be the other family's."""
    other = 58 if packet.family is Family.IPV4 else 1
    number = f"proto {packet.protocol}"
    return number if packet.protocol == other else _NAMES.get(packet.protocol, number)


def _ends(packet: Packet) -> str:
    ports = packet.ports
    if ports is None:
        return f"{_address(packet, packet.src)} > {_address(packet, packet.dst)}"
    return f"{_with_port(packet, packet.src, ports[0])} > {_with_port(packet, packet.dst, ports[1])}"


def _address(packet: Packet, value: int) -> str:
    four = packet.family is Family.IPV4
    return str(ipaddress.IPv4Address(value) if four else ipaddress.IPv6Address(value))


def _with_port(packet: Packet, value: int, port: int) -> str:
    text = _address(packet, value)
    return f"{text}:{port}" if packet.family is Family.IPV4 else f"[{text}]:{port}"


def _rest(packet: Packet) -> list[str]:
    words = _of_transport(packet)
    if packet.fragment:
        words.append("fragment first" if packet.first_fragment else "fragment later")
    for kind, word in ((HOPOPTS, "hopopts"), (ROUTING, "routing"), (DSTOPTS, "dstopts")):
        if kind in packet.extensions:
            words.append(word)
    if packet.family is Family.IPV4 and packet.options:
        words.append("options")
    if packet.pkttype:
        words.append("broadcast" if packet.pkttype == 1 else "multicast")
    if packet.tos:
        words.append(f"tos {packet.tos:#04x}")
    if packet.ttl != _USUAL_TTL:
        words.append(f"ttl {packet.ttl}")
    words.append(f"length {packet.length}")
    return words


def _of_transport(packet: Packet) -> list[str]:
    if packet.fragment:
        return []
    match packet.protocol:
        case 6:
            flags = "+".join(name for name, bit in FLAG_BITS.items() if packet.tcp_flags & bit) or "noflags"
            return [flags, "data"] if packet.tcp_has_data else [flags]
        case 1 | 58:
            return [f"type {packet.icmp >> 8}/{packet.icmp & 255}"]
        case 50 | 51:
            at = 0 if packet.protocol == 50 else 4
            return [f"spi {int.from_bytes(packet.l4[at : at + 4]):#x}"]
    return []
