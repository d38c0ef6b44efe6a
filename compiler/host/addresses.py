"""What is delivered here: local, broadcast and anycast routes. And routing rules."""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

from . import netlink

_GETROUTE, _GETRULE = 26, 34
_LOCAL, _BROADCAST, _ANYCAST = 2, 3, 4
_DST, _OIF, _TABLE = 1, 4, 15
_LOCAL_TABLE = 255
_LINK_LOCAL = ipaddress.ip_network("fe80::/10")
_FWMARK, _FWMASK, _DSCP, _DSCP_MASK = 10, 16, 26, 30


@dataclass(frozen=True, slots=True)
class Addresses:
    local4: tuple[str, ...]
    broadcast4: tuple[str, ...]
    local6: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    fwmark4: bool
    fwmark6: bool
    tos4: bool
    tos6: bool


def addresses(ifindex: int) -> Addresses:
    """As seen by what arrives on the interface: the link-local addresses of others are not local there."""
    inet, inet6 = socket.AF_INET, socket.AF_INET6
    return Addresses(
        _sorted(_routes(inet, _LOCAL) | _routes(inet, _ANYCAST)),
        _sorted(_routes(inet, _BROADCAST)),
        _sorted(_routes(inet6, _LOCAL, ifindex) | _routes(inet6, _ANYCAST, ifindex)),
    )


def _sorted(prefixes: set[str]) -> tuple[str, ...]:
    return tuple(sorted(prefixes, key=lambda p: (ipaddress.ip_network(p).network_address, p)))


def _routes(family: int, kind: int, ifindex: int = 0) -> set[str]:
    """The kernel filters by type, so that a router's full table is not read. `ifindex`: the one whose
    link-local addresses are wanted. Other tables than "local" are for some packets only (ip rules, VRFs);
    the rest may be owed an ICMP error."""
    if family == socket.AF_INET6 and not socket.has_ipv6:
        return set()
    body = struct.pack("=8BI", family, 0, 0, 0, 0, 0, 0, kind, 0)
    try:
        answers = netlink.dump(netlink.ROUTE, _GETROUTE, body)
    except netlink.NetlinkError:
        if family == socket.AF_INET6:  # a kernel without IPv6
            return set()
        raise
    found = set()
    for answer in answers:
        length, answered_kind = answer[1], answer[7]
        if answer[0] != family or answered_kind != kind:
            continue
        size = 4 if family == socket.AF_INET else 16
        attributes = netlink.attribute_map(answer, 12)
        if attributes.get(_TABLE) != struct.pack("=I", _LOCAL_TABLE):
            continue
        prefix = ipaddress.ip_network((attributes.get(_DST, bytes(size)), length))
        foreign = struct.pack("=I", ifindex) != attributes.get(_OIF)
        if foreign and prefix.version == 6 and prefix.overlaps(_LINK_LOCAL):
            continue
        found.add(str(prefix))
    return found


def rules() -> Rules:
    marks4, tos4 = _rules(socket.AF_INET)
    marks6, tos6 = _rules(socket.AF_INET6)
    return Rules(marks4, marks6, tos4, tos6)


def _rules(family: int) -> tuple[bool, bool]:
    try:
        answers = netlink.dump(netlink.ROUTE, _GETRULE, struct.pack("=8BI", family, *[0] * 7, 0))
    except netlink.NetlinkError:  # no policy routing in this kernel, or no IPv6
        return False, False
    marks = tos = False
    for answer in answers:
        if answer[0] != family:
            continue
        a = netlink.attribute_map(answer, 12)
        marks |= _FWMARK in a or _FWMASK in a
        tos |= bool(answer[3]) or _DSCP in a or _DSCP_MASK in a
    return marks, tos
