"""rtnetlink, as much as XDP needs: read what is attached to a link, attach, replace, detach.

A netlink socket belongs to the network namespace of the thread that opens it, so `netns.in_netns` decides.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_NEWLINK, _GETLINK, _SETLINK, _ERROR, _DONE = 16, 18, 19, 2, 3
_REQUEST, _ACK, _DUMP, _ACK_TLVS, _CAPPED = 1, 4, 0x300, 0x200, 0x100
_IFNAME, _XDP, _NESTED = 3, 43, 0x8000
_XDP_FD, _XDP_FLAGS, _XDP_DRV_ID, _XDP_SKB_ID, _XDP_HW_ID, _XDP_EXPECTED_FD = 1, 3, 5, 6, 7, 8
_XDP_ATTACHED, _XDP_PROG_ID = 2, 4
_MODES = {1: "native", 2: "generic", 3: "offload"}
IF_NOEXIST, SKB_MODE, DRV_MODE, REPLACE = 1, 2, 4, 16


@dataclass(frozen=True, slots=True)
class Link:
    """A device, and the XDP programs on it: mode -> program id."""

    ifindex: int
    name: str
    xdp: dict[str, int]


class NetlinkError(OSError):
    """An errno with the kernel's own words, where it gave some."""


def links(ifindex: int | None = None) -> list[Link]:
    """All links of this namespace, or the one; empty when it is gone."""
    header = struct.pack("=BxHiII", 0, 0, ifindex or 0, 0, 0)
    flags = _REQUEST | (_DUMP if ifindex is None else 0)
    try:
        return [_link(body) for kind, body in _talk(_GETLINK, flags, header) if kind == _NEWLINK]
    except NetlinkError as e:
        if e.errno == errno.ENODEV:  # nothing else proves that it is gone
            return []
        raise


def set_xdp(ifindex: int, prog_fd: int, flags: int, expected_fd: int | None = None) -> None:
    """`prog_fd` -1 detaches. With REPLACE the kernel acts only if `expected_fd` is what is attached."""
    attributes = _attribute(_XDP_FD, struct.pack("=i", prog_fd)) + _attribute(
        _XDP_FLAGS, struct.pack("=I", flags)
    )
    if expected_fd is not None:
        attributes += _attribute(_XDP_EXPECTED_FD, struct.pack("=i", expected_fd))
    body = struct.pack("=BxHiII", 0, 0, ifindex, 0, 0) + _attribute(_XDP | _NESTED, attributes)
    for _ in _talk(_SETLINK, _REQUEST | _ACK, body):
        pass


def _talk(kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as s:
        s.setsockopt(270, 11, 1)  # SOL_NETLINK, NETLINK_EXT_ACK: the kernel's reason as text
        s.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        while True:
            data = s.recv(1 << 17)
            while len(data) >= 16:
                length, answer, answer_flags, _, _ = struct.unpack_from("=IHHII", data)
                payload, data = data[16:length], data[(length + 3) & ~3 :]
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    _raise_if_error(payload, answer_flags)
                    return
                yield answer, payload
                if not flags & _DUMP:
                    return


def _raise_if_error(payload: bytes, flags: int) -> None:
    code = -struct.unpack_from("=i", payload)[0]
    if not code:
        return
    said = ""
    if flags & _ACK_TLVS:
        echoed = 16 if flags & _CAPPED else struct.unpack_from("=I", payload, 4)[0]
        for kind, value in _attributes(payload[4 + ((echoed + 3) & ~3) :]):
            if kind == 1:  # NLMSGERR_ATTR_MSG
                said = value.split(b"\0", 1)[0].decode(errors="replace")
    raise NetlinkError(code, os.strerror(code) + (f" ({said})" if said else ""))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _link(body: bytes) -> Link:
    ifindex = struct.unpack_from("=i", body, 4)[0]
    name, xdp = "", {}
    for kind, value in _attributes(body[16:]):
        if kind == _IFNAME:
            name = value.split(b"\0", 1)[0].decode(errors="replace")
        elif kind == _XDP:
            xdp = _programs(dict(_attributes(value)))
    return Link(ifindex, name, xdp)


def _programs(attributes: dict[int, bytes]) -> dict[str, int]:
    ids = {"native": _XDP_DRV_ID, "generic": _XDP_SKB_ID, "offload": _XDP_HW_ID}
    found = {
        mode: struct.unpack("=I", attributes[kind])[0] for mode, kind in ids.items() if kind in attributes
    }
    mode = _MODES.get(attributes.get(_XDP_ATTACHED, b"\0")[0])
    if mode and _XDP_PROG_ID in attributes:
        found.setdefault(mode, struct.unpack("=I", attributes[_XDP_PROG_ID])[0])
    return found
