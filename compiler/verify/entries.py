"""Entries in conntrack's table, made by hand: so that a program that asks it finds something.

ctnetlink, IPCTNL_MSG_CT_NEW (linux/netfilter/nfnetlink_conntrack.h).
"""

from __future__ import annotations

import os
import socket
import struct

from ..fields import Family
from ..reference.packet import TCP, Packet

_NEW, _CREATE = 0x100, 0x605  # NLM_F_REQUEST, ACK, CREATE, EXCL
_ORIG, _REPLY, _PROTOINFO, _TIMEOUT = 1, 2, 4, 7
_NESTED = 0x8000
_ESTABLISHED = 3
_SECONDS = 300


def add_entry(packet: Packet, reply: bool) -> None:
    """Of the flow of a TCP or UDP packet, in this namespace. `reply`: the packet goes against the direction
    of the one that began the flow. Raises OSError."""
    family = socket.AF_INET if packet.family is Family.IPV4 else socket.AF_INET6
    there, back = _tuple(packet, False), _tuple(packet, True)
    body = struct.pack("=BBH", family, 0, 0)
    body += _attribute(_ORIG | _NESTED, back if reply else there)
    body += _attribute(_REPLY | _NESTED, there if reply else back)
    body += _attribute(_TIMEOUT, struct.pack("!I", _SECONDS))
    if packet.protocol == TCP:
        state = _attribute(1 | _NESTED, _attribute(1, bytes([_ESTABLISHED])))
        body += _attribute(_PROTOINFO | _NESTED, state)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as s:  # NETLINK_NETFILTER
        s.send(struct.pack("=IHHII", 16 + len(body), _NEW, _CREATE, 1, 0) + body)
        error = struct.unpack_from("=i", s.recv(4096), 16)[0]
        if error:
            raise OSError(-error, f"conntrack: {os.strerror(-error)}")


def _tuple(packet: Packet, turned: bool) -> bytes:
    size, first = (4, 1) if packet.family is Family.IPV4 else (16, 3)
    ends = [packet.src.to_bytes(size), packet.dst.to_bytes(size)]
    ports = [packet.l4[:2], packet.l4[2:4]]
    if turned:
        ends.reverse()
        ports.reverse()
    addresses = _attribute(first, ends[0]) + _attribute(first + 1, ends[1])
    protocol = _attribute(1, bytes([packet.protocol])) + _attribute(2, ports[0]) + _attribute(3, ports[1])
    return _attribute(1 | _NESTED, addresses) + _attribute(2 | _NESTED, protocol)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
