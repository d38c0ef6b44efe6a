"""What is delivered here: local, broadcast and anycast routes; where they do not tell the type of an
address; and routing rules."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass

from . import netlink

_GETROUTE, _GETRULE = 26, 34
_ANY, _LOCAL, _BROADCAST, _ANYCAST, _MULTICAST = 0, 2, 3, 4, 5
_DST, _OIF, _TABLE = 1, 4, 15
_DEAD_OR_DOWN = 1 | 16  # RTNH_F_DEAD, RTNH_F_LINKDOWN
_PRIORITY, _SUPPRESS_LENGTH, _FRA_TABLE, _TO_TABLE = 6, 14, 15, 1
_PLAIN_RULE = frozenset((_PRIORITY, _SUPPRESS_LENGTH, _FRA_TABLE, 21))  # ... who made it
_NONE = 0xFFFFFFFF
_LOCAL_TABLE = 255
_LINK_LOCAL = ipaddress.ip_network("fe80::/10")
_FWMARK, _FWMASK, _DSCP, _DSCP_MASK = 10, 16, 26, 30


@dataclass(frozen=True, slots=True)
class Addresses:
    local4: tuple[str, ...]
    broadcast4: tuple[str, ...]
    local6: tuple[str, ...]
    unclear4: tuple[str, ...]
    unclear6: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    fwmark4: bool
    fwmark6: bool
    tos4: bool
    tos6: bool
    local_first4: bool
    local_first6: bool


@dataclass(frozen=True, slots=True)
class _Route:
    prefix: str
    kind: int
    table: int
    ifindex: int
    whole: bool  # for every tos and every source
    plain: bool  # ... and alive


def addresses(ifindex: int) -> Addresses:
    """As seen by what arrives on the interface: the link-local addresses of others are not local there."""
    four = [r for kind in (_LOCAL, _BROADCAST, _ANYCAST) for r in _routes(socket.AF_INET, kind)]
    six = [r for kind in (_LOCAL, _ANYCAST) for r in _routes(socket.AF_INET6, kind)]
    here6 = [r for r in six if r.ifindex == ifindex or not _is_link_local(r.prefix)]
    return Addresses(
        _local(four, _LOCAL, _ANYCAST),
        _local(four, _BROADCAST),
        _local(here6, _LOCAL, _ANYCAST),
        _unclear(socket.AF_INET, four),
        _unclear(socket.AF_INET6, six),
    )


def _local(routes: list[_Route], *kinds: int) -> tuple[str, ...]:
    """Other tables than "local" are for some packets only (ip rules, VRFs), and so are routes for a tos or a
    source; all others may be owed an ICMP error."""
    return _sorted({r.prefix for r in routes if r.kind in kinds and r.table == _LOCAL_TABLE and r.whole})


def _unclear(family: int, routes: list[_Route]) -> tuple[str, ...]:
    """Where inet_addr_type and its IPv6 kin may find something else than the table "local" says."""
    held = _routes(family, _ANY, _LOCAL_TABLE)
    elsewhere = [r for r in (*routes, *_routes(family, _MULTICAST)) if r.table != _LOCAL_TABLE]
    odd = [r for r in held if r.kind not in (_LOCAL, _BROADCAST, _MULTICAST) or not r.plain]
    return _sorted({r.prefix for r in (*elsewhere, *odd)})


def _is_link_local(prefix: str) -> bool:
    network = ipaddress.ip_network(prefix)
    return network.version == 6 and network.overlaps(_LINK_LOCAL)


def _sorted(prefixes: set[str]) -> tuple[str, ...]:
    return tuple(sorted(prefixes, key=lambda p: (ipaddress.ip_network(p).network_address, p)))


def _routes(family: int, kind: int, table: int = 0) -> list[_Route]:
    """The kernel filters by type or table, so that a router's full table is not read."""
    if family == socket.AF_INET6 and not socket.has_ipv6:
        return []
    body = struct.pack("=8BI", family, 0, 0, 0, table, 0, 0, kind, 0)
    try:
        answers = netlink.dump(netlink.ROUTE, _GETROUTE, body)
    except netlink.NetlinkError as e:
        # A kernel without IPv6, or a table that does not exist yet.
        if family == socket.AF_INET6 or (table and e.errno == errno.ENOENT):
            return []
        raise
    found = []
    for answer in answers:
        length, answered_kind, flags = answer[1], answer[7], netlink.u32(answer[8:12])
        if answer[0] != family or kind not in (_ANY, answered_kind):
            continue
        attributes = netlink.attribute_map(answer, 12)
        of_table = netlink.u32(attributes.get(_TABLE))
        if table not in (0, of_table):
            continue
        size = 4 if family == socket.AF_INET else 16
        prefix = ipaddress.ip_network((attributes.get(_DST, bytes(size)), length))
        whole = not answer[2] and not answer[3]  # the length of its source prefix, tos
        plain = whole and not flags & _DEAD_OR_DOWN
        oif = netlink.u32(attributes.get(_OIF))
        found.append(_Route(str(prefix), answered_kind, of_table, oif, whole, plain))
    return found


def rules() -> Rules:
    marks4, tos4, local_first4 = _rules(socket.AF_INET)
    marks6, tos6, local_first6 = _rules(socket.AF_INET6)
    return Rules(marks4, marks6, tos4, tos6, local_first4, local_first6)


def _rules(family: int) -> tuple[bool, bool, bool]:
    """By mark, by tos, and whether the first rule asks the table "local" for every packet."""
    try:
        answers = netlink.dump(netlink.ROUTE, _GETRULE, struct.pack("=8BI", family, *[0] * 7, 0))
    except netlink.NetlinkError:  # no policy routing in this kernel, or no IPv6
        return False, False, True
    marks = tos = local_first = False
    lowest = None
    for answer in answers:
        if answer[0] != family:
            continue
        a = netlink.attribute_map(answer, 12)
        marks |= _FWMARK in a or _FWMASK in a
        tos |= bool(answer[3]) or _DSCP in a or _DSCP_MASK in a
        priority = netlink.u32(a.get(_PRIORITY))
        if lowest is None or priority < lowest:  # dumped in their order; of equal ones the first counts
            lowest = priority
            local_first = _asks_local(answer, a)
    return marks, tos, local_first


def _asks_local(rule: bytes, a: dict[int, bytes]) -> bool:
    """ "from all lookup local", and nothing else: no prefix, tos, flag or further attribute."""
    plain = not any(rule[1:4]) and not netlink.u32(rule[8:12]) and rule[7] == _TO_TABLE
    plain &= netlink.u32(a.get(_SUPPRESS_LENGTH), _NONE) == _NONE
    return plain and netlink.u32(a.get(_FRA_TABLE)) == _LOCAL_TABLE and set(a) <= _PLAIN_RULE
