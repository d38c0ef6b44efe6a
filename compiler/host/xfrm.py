"""Whether IPsec is in use: what it decrypts comes in a second time, by the interface it came in first."""

from __future__ import annotations

import errno

from . import netlink

_ABSENT = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)  # a kernel without IPsec
_XFRM = 6  # NETLINK_XFRM
_GET_STATES, _GET_POLICIES = 0x12, 0x15


def in_use() -> bool:
    """Any state or policy in this namespace. Raises OSError."""
    try:
        return any(True for kind in (_GET_STATES, _GET_POLICIES) for _ in netlink.stream(_XFRM, kind, b""))
    except netlink.Interrupted:
        return True
    except OSError as e:
        if e.errno in _ABSENT:
            return False
        raise
