"""One frame from a few numbers, with nothing but the standard library."""

from __future__ import annotations

import ipaddress
import struct

from ..fields import Family
from .model import Place

PLACE = Place()
#: Field name to value. The names are those of fields.py, and: "fragment" (1: the first one, 2: a later one),
#: "options" (1: IPv4 options that say nothing).
Spec = dict[str, int]

TCP, UDP, UDPLITE, ICMP, ICMP6, ESP, AH = 6, 17, 136, 1, 58, 50, 51
_HAS_DATA = 0x100
_NO_OPTIONS = 0x10000
_MOST = 1500
_PADN = b"\x01\x04\0\0\0\0"
_LATER = 24  # bytes into the datagram


def build(family: Family, spec: Spec, place: Place = PLACE) -> bytes:
    """A frame with these fields, plain values for the others, and right checksums.

    Where fields exclude each other (a length too small for the headers, a long segment without data), the
    headers win; so the frame is to be read again by whoever needs to know."""
    four = family is Family.IPV4
    proto = spec.get("proto", TCP)
    src = _address(spec, "src", place.peer4 if four else place.peer6)
    dst = _address(spec, "dst", place.own4 if four else place.own6)
    chain = b"" if four else _extensions(spec.get("exthdr", 0))
    options = b"\x01" * 4 * spec.get("options", 0) if four else b""
    header = 20 + len(options) if four else 40 + len(chain) // 8 * 8
    payload = _transport(proto, spec, four, spec.get("length", 0) - header)
    payload = _with_checksum(payload, proto, src + dst, four)
    fragment = spec.get("fragment", 0)
    if fragment:
        payload = payload + bytes(-len(payload) % 8)
    tos, ttl = spec.get("tos", 0), spec.get("ttl", 64)
    if four:
        place_in = {0: 0, 1: 0x2000, 2: _LATER // 8}[fragment]
        words = len(options) // 4 + 5
        ip = struct.pack("!BBHHHBBH", 0x40 | words, tos, header + len(payload), 1, place_in, ttl, proto, 0)
        ip += src + dst + options
        ip = ip[:10] + checksum(ip).to_bytes(2) + ip[12:]
    else:
        headers, first = _chained(chain, proto, fragment)
        ip = struct.pack("!IHBB", 6 << 28 | tos << 20, len(headers) + len(payload), first, ttl) + src + dst
        ip += headers
    return _ether(spec, place, four) + ip + payload


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ether(spec: Spec, place: Place, four: bool) -> bytes:
    to = (place.own_mac, "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01" if four else "33:33:00:00:00:01")
    mac_dst = mac_bytes(to[spec.get("pkttype", 0) % 3])
    mac_src = spec["mac_src"].to_bytes(6) if "mac_src" in spec else mac_bytes(place.peer_mac)
    return mac_dst + mac_src + (b"\x08\x00" if four else b"\x86\xdd")


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _address(spec: Spec, name: str, default: str) -> bytes:
    address = ipaddress.ip_address(default)
    return spec.get(name, int(address)).to_bytes(address.max_prefixlen // 8)


def _extensions(bits: int) -> bytes:
    """The chain as bytes of (kind, header of 8 bytes without its next header)."""
    found = b""
    for bit, kind, body in ((1, 0, b"\0" + _PADN), (4, 60, b"\0" + _PADN), (2, 43, b"\0\x04\0\0\0\0\0")):
        if bits & bit:
            found += bytes([kind]) + body
    return found


def _chained(chain: bytes, proto: int, fragment: int) -> tuple[bytes, int]:
    """The headers with their next headers, and the first one's kind."""
    parts = [(chain[at], chain[at + 1 : at + 8]) for at in range(0, len(chain), 8)]
    if fragment:
        parts.append((44, b"\0" + (_LATER if fragment == 2 else 1).to_bytes(2) + (7).to_bytes(4)))
    headers, following = b"", proto
    for kind, body in reversed(parts):
        headers, following = bytes([following]) + body + headers, kind
    return headers, following


def _transport(proto: int, spec: Spec, four: bool, room: int) -> bytes:
    """`room`: the bytes that the length asks for, if it does."""
    ports = spec.get("sport", 40000).to_bytes(2) + spec.get("dport", 50000).to_bytes(2)
    spi = spec.get("spi", 0x1234).to_bytes(4)
    room = min(room, _MOST) if "length" in spec else 0

    def padded(least: bytes, usual: int) -> bytes:
        size = max(room, len(least)) if room > 0 else len(least) + usual
        return least.ljust(size, b"\0")

    match proto:
        case 6:
            return _tcp(ports, spec, room)
        case 17 | 136:
            return padded(ports + bytes(4), 8)
        case 1 | 58:
            return padded(spec.get("icmp", 0x0800 if four else 0x8000).to_bytes(2) + bytes(6), 24)
        case 50:
            return padded(spi + bytes(4), 16)
        case 51:
            return padded(b"\x3b\x01\0\0" + spi + bytes(4), 16)
    return padded(ports + bytes([4, 0, 0, 0, 1, 0, 0, 0]), 20)


def _tcp(ports: bytes, spec: Spec, room: int) -> bytes:
    flags = spec.get("tcp_flags", 2)
    size = max(room, 20) if room > 0 else 20
    words = 5
    if not flags & _HAS_DATA:
        words = max(5, min(15, size // 4))  # options fill what data must not
    elif size == 20:
        size = 24
    options = b""
    if spec.get("mss", _NO_OPTIONS) < _NO_OPTIONS:
        options = b"\x02\x04" + spec["mss"].to_bytes(2)
    elif spec.get("mss", _NO_OPTIONS) > _NO_OPTIONS:  # a no-op, then an MSS
        options = b"\x01\x02\x04\x02\x18\x01\x01\x01"
    words = max(words, 5 + len(options) // 4)
    head = ports + bytes(8) + bytes([words << 4, flags & 0xFF]) + b"\x20\0\0\0\0\0" + options
    data = 4 if options and flags & _HAS_DATA else 0
    return head.ljust(words * 4, b"\x01").ljust(max(size, words * 4 + data), b"d")


def _with_checksum(payload: bytes, proto: int, addresses: bytes, four: bool) -> bytes:
    at = {6: 16, 17: 6, 136: 6, 1: 2, 58: 2}.get(proto)
    if at is None:
        return payload
    if proto in (17, 136):
        payload = payload[:4] + len(payload).to_bytes(2) + payload[6:]
    pseudo = addresses + struct.pack("!II", len(payload), proto)
    value = checksum(payload if proto == 1 and four else pseudo + payload)
    return payload[:at] + (value or 0xFFFF).to_bytes(2) + payload[at + 2 :]
