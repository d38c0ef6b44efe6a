"""What connection tracking holds in this namespace: entries, NATed entries, helpers, expectations."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass
from pathlib import Path

from . import netlink

_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_GET, _GET_EXPECTATIONS = 0x101, 0x201
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _HELP = 1, 2, 3, 5
_NAT = 1 << 4 | 1 << 5  # IPS_SRC_NAT, IPS_DST_NAT
_IP, _PROTO = 1, 2


@dataclass(frozen=True, slots=True)
class Conntrack:
    entries: bool = False
    nat: bool = False
    helpers: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def is_loaded() -> bool:
    """Whether the kernel has conntrack now: a rule that uses it loads the module, and nothing else must."""
    return _COUNT.exists()


def conntrack() -> Conntrack:
    try:
        count = int(_COUNT.read_text())
    except FileNotFoundError:  # no conntrack in this kernel, or not loaded
        return Conntrack()
    helpers: set[str] = set()
    nat = False
    try:
        if count:
            for answer in netlink.stream(netlink.NETFILTER, _GET, netlink.nfgenmsg()):
                a = netlink.attribute_map(answer, 4)
                nat = nat or is_nat(a)
                if _HELP in a:
                    name = netlink.text(netlink.attribute_map(a[_HELP]).get(1, b""))
                    helpers.add(f"a connection has the helper {name}")
        if netlink.dump(netlink.NETFILTER, _GET_EXPECTATIONS, netlink.nfgenmsg()):
            helpers.add("conntrack expects connections")
    except netlink.Interrupted:
        return Conntrack(True, True, tuple(sorted(helpers)))
    except OSError as e:
        return Conntrack(bool(count), False, (), (f"conntrack: cannot be read: {e.strerror}",))
    return Conntrack(bool(count), nat, tuple(sorted(helpers)))


def is_nat(a: dict[int, bytes]) -> bool:
    """By the status, and by the tuples, since the reply to an untouched flow is its mirror image."""
    if _STATUS in a and struct.unpack(">I", a[_STATUS])[0] & _NAT:
        return True
    with contextlib.suppress(KeyError):
        there = netlink.attribute_map(a[_TUPLE_ORIG])
        back = netlink.attribute_map(a[_TUPLE_REPLY])
        if _addresses(there) != tuple(reversed(_addresses(back))):
            return True
        ports, reply_ports = (netlink.attribute_map(t.get(_PROTO, b"")) for t in (there, back))
        return (ports.get(2), ports.get(3)) != (reply_ports.get(3), reply_ports.get(2))
    return True


def _addresses(tuple_: dict[int, bytes]) -> tuple[bytes | None, bytes | None]:
    a = netlink.attribute_map(tuple_[_IP])
    return (a.get(1), a.get(2)) if 1 in a else (a.get(3), a.get(4))
