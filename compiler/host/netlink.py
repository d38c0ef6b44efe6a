"""Reading by netlink: one dump, and attributes taken apart.

A socket belongs to the network namespace of the thread that opens it, so each dump opens its own.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

ROUTE, NETFILTER = 0, 12
_ERROR, _DONE, _OVERRUN = 2, 3, 4
_REQUEST, DUMP = 0x1, 0x300
_MULTI, _INTERRUPTED = 0x2, 0x10
_SOL_NETLINK, _STRICT = 270, 12
_TRIES = 5


class NetlinkError(OSError):
    """The kernel's answer is an error."""


class Interrupted(Exception):
    """What was read changed meanwhile, again and again."""


def dump(protocol: int, kind: int, body: bytes, *, flags: int = DUMP) -> list[bytes]:
    """All answers (without their header) to one request; read again where it changed under the dump."""
    for _ in range(_TRIES):
        try:
            return [answer for _, answer in _talk(protocol, kind, body, flags)]
        except Interrupted:
            continue
    raise Interrupted("what was read kept changing")


def stream(protocol: int, kind: int, body: bytes, *, flags: int = DUMP) -> Iterator[bytes]:
    """As `dump`, one by one: for tables too large to hold. A caller that has seen enough just stops."""
    for _, answer in _talk(protocol, kind, body, flags):
        yield answer


def _talk(protocol: int, kind: int, body: bytes, flags: int) -> Iterator[tuple[int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as s:
        if protocol == ROUTE:
            s.setsockopt(_SOL_NETLINK, _STRICT, 1)  # filters in the header are obeyed
        s.settimeout(10)
        s.bind((0, 0))
        s.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, 1, 0) + body)
        while True:
            data = s.recv(1 << 18)
            for answer, answer_flags, payload in messages(data):
                if answer_flags & _INTERRUPTED:
                    raise Interrupted
                if answer in (_ERROR, _DONE):
                    code = -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0
                    if code > 0:
                        raise NetlinkError(code, os.strerror(code))
                    return
                if answer == _OVERRUN:
                    raise Interrupted
                yield answer, payload
                if not flags & DUMP:
                    return


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and payload of each message in one datagram."""
    at = 0
    while len(data) - at >= 16:
        length, kind, flags = struct.unpack_from("=IHH", data, at)
        if length < 16:
            return
        yield kind, flags, data[at + 16 : at + length]
        at += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> list[tuple[int, bytes]]:
    found = []
    end = len(data)
    while end - offset >= 4:
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found.append((kind & 0x3FFF, data[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return found


def attribute_map(data: bytes, offset: int = 0) -> dict[int, bytes]:
    return dict(attributes(data, offset))


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode(errors="replace")


def u32(value: bytes | None, default: int = 0) -> int:
    return int(struct.unpack_from("=I", value)[0]) if value is not None and len(value) >= 4 else default


def nfgenmsg(family: int = 0) -> bytes:
    return struct.pack("=BBH", family, 0, 0)
