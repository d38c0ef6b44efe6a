"""Wait until the host may have changed: kernel events, or a time, since iptables-legacy sends none."""

from __future__ import annotations

import errno
import select
import socket
import time
from types import TracebackType

from . import netlink

_DEBOUNCE = 0.1
_LOCAL_TYPES = (2, 3, 4)  # local, broadcast, anycast: of the rest, a router's table changes all the time

# Multicast groups of rtnetlink and nfnetlink; what is told is the name of the kind.
_LINK, _TC, _IFADDR4, _ROUTE4, _RULE4, _IFADDR6, _ROUTE6, _RULE6, _NETCONF4, _NETCONF6 = (
    *(1, 4, 5, 7, 8, 9, 11, 19, 24, 25),
)
_ROUTE_GROUPS = (_LINK, _TC, _IFADDR4, _ROUTE4, _RULE4, _IFADDR6, _ROUTE6, _RULE6, _NETCONF4, _NETCONF6)
_NFTABLES_GROUP = 7
_ADD_MEMBERSHIP, _SOL_NETLINK = 1, 270
# RTM_NEW... and RTM_DEL... of each
_KINDS = {16: "link", 20: "address", 24: "route", 32: "rule", 36: "tc", 40: "tc", 44: "tc", 80: "forwarding"}


class Watcher:
    """Listens from its making on, in the namespace of the thread that made it: look at the host after
    that, and no change falls between the look and the wait."""

    def __init__(self) -> None:
        self._route = _listen(netlink.ROUTE, _ROUTE_GROUPS)
        try:
            self._nft: socket.socket | None = _listen(netlink.NETFILTER, (_NFTABLES_GROUP,))
        except OSError:  # no nfnetlink in this kernel: then there are no nftables either
            self._nft = None

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._route.close()
        if self._nft:
            self._nft.close()

    def wait(self, interval: float) -> str:
        """What kinds of things changed ("address, route"), or "interval" when that time has passed."""
        sockets = [s for s in (self._route, self._nft) if s]
        deadline = time.monotonic() + interval
        seen: dict[str, None] = {}
        settled = deadline
        while True:
            now = time.monotonic()
            end = min(deadline, settled) if seen else deadline
            if now >= end:
                return ", ".join(seen) or "interval"
            for s in select.select(sockets, [], [], end - now)[0]:
                found = _read(s, s is self._nft)
                if found and not seen:
                    settled = time.monotonic() + _DEBOUNCE
                seen.update(dict.fromkeys(found))


def wait_for_change(interval: float) -> str:
    """One wait. What changes between two calls goes unseen: keep a `Watcher` for a series."""
    with Watcher() as watcher:
        return watcher.wait(interval)


def _listen(protocol: int, groups: tuple[int, ...]) -> socket.socket:
    s = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol
    )
    try:
        s.bind((0, 0))
        for group in groups:
            s.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except OSError:
        s.close()
        raise
    return s


def _read(s: socket.socket, nftables: bool) -> list[str]:
    try:
        data = s.recv(1 << 18)
    except BlockingIOError:
        return []
    except OSError as e:
        if e.errno == errno.ENOBUFS:  # events were lost: all may have changed
            return ["overrun"]
        raise
    if nftables:
        return ["nftables"]
    return [kind for kind in (_kind(t, payload) for t, _, payload in netlink.messages(data)) if kind]


def _kind(message: int, payload: bytes) -> str:
    kind = _KINDS.get(message & ~3, "")
    if kind == "route" and (len(payload) < 8 or payload[7] not in _LOCAL_TYPES):
        return ""
    return kind
