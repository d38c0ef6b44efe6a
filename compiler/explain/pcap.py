"""Frames from a capture: classic pcap and pcapng, Ethernet and raw IP. By hand: no library is that small.

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng. Times, names and options are not read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from ..source import UserError

_ETHERNET, _RAW = 1, (101, 12, 14, 228, 229)
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": "<",
    b"\x4d\x3c\xb2\xa1": "<",
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xa1\xb2\x3c\x4d": ">",
}
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED, _OLD = 0x0A0D0D0A, 1, 3, 6, 2
_HINT = "write it with `tcpdump -w FILE`"


def read_frames(path: str) -> Iterator[bytes]:
    """Raises UserError for what is no capture, or one of links that are not read."""
    try:
        data = Path(path).read_bytes()
    except OSError as e:
        raise UserError(f"can't read {path}: {e.strerror}", _HINT) from e
    if data[:4] in _MAGIC:
        yield from _classic(data, _MAGIC[data[:4]], path)
    elif data[:4] == b"\x0a\x0d\x0d\x0a":
        yield from _pcapng(data, path)
    else:
        raise UserError(f"{path} is no pcap or pcapng file", _HINT)


def _classic(data: bytes, order: str, path: str) -> Iterator[bytes]:
    if len(data) < 24:
        return
    link = struct.unpack_from(f"{order}I", data, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack_from(f"{order}I", data, at + 8)[0]
        if at + 16 + size > len(data):  # cut off while it was written
            return
        yield _as_ethernet(data[at + 16 : at + 16 + size], link, path)
        at += 16 + size


def _pcapng(data: bytes, path: str) -> Iterator[bytes]:
    order, links, at = "<", list[int](), 0
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if size < 12 or at + size > len(data):
            return
        body = data[at + 8 : at + size - 4]
        if kind == _INTERFACE:
            links.append(struct.unpack_from(f"{order}H", body)[0])
        elif kind in (_ENHANCED, _OLD) and len(body) >= 20:
            which = struct.unpack_from(f"{order}{'I' if kind == _ENHANCED else 'H'}", body)[0]
            length = struct.unpack_from(f"{order}I", body, 12)[0]
            yield _as_ethernet(body[20 : 20 + length], links[which] if which < len(links) else -1, path)
        elif kind == _SIMPLE and links:
            length = struct.unpack_from(f"{order}I", body)[0]
            yield _as_ethernet(body[4 : 4 + length], links[0], path)
        at += size


def _as_ethernet(packet: bytes, link: int, path: str) -> bytes:
    """Raw IP gets a header without a destination, which stands for any station."""
    if link == _ETHERNET:
        return packet
    if link in _RAW and packet:
        return bytes(12) + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet
    raise UserError(f"{path} holds packets of link type {link}, not Ethernet", "capture on one interface")
