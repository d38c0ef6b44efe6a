"""Traffic control filters that see a device's packets before netfilter."""

from __future__ import annotations

import struct

from . import netlink
from .bpf import tcx_ingress

_GETTFILTER, _GETQDISC = 46, 38
_KIND = 1
# clsact: the ingress side of ffff:; the older ingress qdisc: ffff: itself.
_PARENTS = (0xFFFFFFF2, 0xFFFF0000)


def ingress(ifindex: int) -> tuple[str, ...]:
    """Raises OSError."""
    return (*_filters(ifindex), *tcx_ingress(ifindex))


def _filters(ifindex: int) -> list[str]:
    if not any(_is_ingress(q, ifindex) for q in netlink.dump(netlink.ROUTE, _GETQDISC, _tcmsg(ifindex, 0))):
        return []
    kinds: list[str] = []
    for parent in _PARENTS:
        try:
            answers = netlink.dump(netlink.ROUTE, _GETTFILTER, _tcmsg(ifindex, parent))
        except netlink.NetlinkError:  # a qdisc of the other kind
            continue
        kinds += [f"filter {netlink.text(netlink.attribute_map(a, 20).get(_KIND, b''))}" for a in answers]
    return list(dict.fromkeys(kinds))


def _is_ingress(answer: bytes, ifindex: int) -> bool:
    index, handle = struct.unpack_from("=iI", answer, 4)
    return bool(index == ifindex and handle == 0xFFFF0000)


def _tcmsg(ifindex: int, parent: int) -> bytes:
    return struct.pack("=BxxxiIII", 0, ifindex, 0, parent, 0)
