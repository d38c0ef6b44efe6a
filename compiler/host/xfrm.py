"""Whether IPsec is in use: what it decrypts comes in a second time, by the interface it came in first, or is
taken by GRO before any rule."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from . import netlink

_ABSENT = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)  # a kernel without IPsec
_XFRM = 6  # NETLINK_XFRM
_GET_STATES, _GET_POLICIES = 0x12, 0x15
_STATE = 224  # sizeof(struct xfrm_usersa_info)
_ENCAP = 4  # XFRMA_ENCAP: type, then both ports in network order


@dataclass(frozen=True, slots=True)
class Ipsec:
    """`in_use`: any state or policy in this namespace; `ports`: of UDP, in which states hide their ESP."""

    in_use: bool = False
    ports: tuple[int, ...] = ()


def ipsec() -> Ipsec:
    """Raises OSError."""
    ports: set[int] = set()
    found = False
    try:
        for state in netlink.stream(_XFRM, _GET_STATES, b""):
            found = True
            encap = netlink.attribute_map(state, _STATE).get(_ENCAP, b"")
            if len(encap) >= 6:
                ports.update(struct.unpack_from(">HH", encap, 2))
        found = found or any(True for _ in netlink.stream(_XFRM, _GET_POLICIES, b""))
    except netlink.Interrupted:
        found = True
    except OSError as e:
        if e.errno not in _ABSENT:
            raise
    return Ipsec(found, tuple(sorted(ports)))
