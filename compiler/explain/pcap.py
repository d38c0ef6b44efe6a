"""Frames from a capture: classic pcap and pcapng, Ethernet and raw IP. By hand: no library is that small.

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng. Times, names and options are not read.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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
#: No frame is longer; and a frame cut by the capture has its headers if this much is there.
_LONGEST, _HEADERS = 14 + 65535 + 40, 96


@dataclass(frozen=True, slots=True)
class Capture:
    """`notes`: what about the file its reader should know."""

    frames: tuple[bytes, ...]
    notes: tuple[str, ...] = ()


class _Broken(Exception):
    """The file makes no sense from here on, or ends."""


def read_capture(path: str) -> Capture:
    """ "-" is standard input. Raises UserError for what is no capture, or one of links that are not read."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as e:
        raise UserError(f"can't read {path}: {e.strerror}", _HINT) from e
    if data[:4] in _MAGIC and len(data) >= 24:
        packets = _classic(data, _MAGIC[data[:4]])
    elif data[:4] == b"\x0a\x0d\x0d\x0a":
        packets = _pcapng(data)
    else:
        raise UserError(f"{path} is no pcap or pcapng file", _HINT)
    frames, notes, cut = list[bytes](), list[str](), 0
    try:
        for link, packet, length in packets:
            whole = length <= len(packet)
            cut += not whole
            # What the capture left out is data that no header test reads.
            filled = packet if whole or len(packet) < _HEADERS else packet.ljust(min(length, _LONGEST), b"\0")
            frames.append(_as_ethernet(filled, link, path))
    except _Broken:
        notes.append(f"{path} is broken, or was cut off, behind packet {len(frames)}: the rest is not read")
    if cut:
        notes.append(f"{cut} packets were captured in part; those without their headers pass (tcpdump -s 0)")
    if not frames and not notes:
        notes.append(f"{path} holds no packets")
    return Capture(tuple(frames), tuple(notes))


def with_ethernet(packet: bytes) -> bytes:
    """An IP packet behind a header without addresses, which stands for any station."""
    return bytes(12) + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def _classic(data: bytes, order: str) -> Iterator[tuple[int, bytes, int]]:
    """Of each packet its link type, what was captured, and how long it was."""
    link = struct.unpack_from(f"{order}I", data, 20)[0] & 0xFFFF
    at = 24
    while at < len(data):
        if at + 16 > len(data):
            raise _Broken
        size, length = struct.unpack_from(f"{order}II", data, at + 8)
        if at + 16 + size > len(data):  # cut off while it was written
            raise _Broken
        yield link, data[at + 16 : at + 16 + size], length
        at += 16 + size


def _pcapng(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    order, links, at = "<", list[int](), 0
    while at < len(data):
        if at + 12 > len(data):
            raise _Broken
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if size < 12 or at + size > len(data):
            raise _Broken
        body = data[at + 8 : at + size - 4]
        if kind == _INTERFACE and len(body) >= 2:
            links.append(struct.unpack_from(f"{order}H", body)[0])
        elif kind in (_ENHANCED, _OLD) and len(body) >= 20:
            which = struct.unpack_from(f"{order}{'I' if kind == _ENHANCED else 'H'}", body)[0]
            size_here, length = struct.unpack_from(f"{order}II", body, 12)
            yield links[which] if which < len(links) else -1, body[20 : 20 + size_here], length
        elif kind == _SIMPLE and links and len(body) >= 4:
            length = struct.unpack_from(f"{order}I", body)[0]
            yield links[0], body[4 : 4 + length], length
        at += size


def _as_ethernet(packet: bytes, link: int, path: str) -> bytes:
    if link == _ETHERNET:
        return packet
    if link in _RAW and packet:
        return with_ethernet(packet)
    raise UserError(f"{path} holds packets of link type {link}, not Ethernet", "capture on one interface")
