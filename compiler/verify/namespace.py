"""A network namespace of one's own, for the length of a block: empty, with one interface like the host's."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..host.facts import HostFacts
from ..source import UserError


class NoNamespace(UserError):
    """None can be made here: a container that may load programs need not be allowed to."""


_CLONE_NEWNET = 0x40000000
_NAME, _PEER = "xt0", "xt1"
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def own_namespace(host: HostFacts) -> Iterator[int]:
    """The calling thread lives in it; yields the index of an interface that has the host's MAC and local
    addresses, and forwards where the host does. Nothing is tracked there: conntrack holds no entry.

    The namespace has no name and goes with the block, whatever happens. Raises NoNamespace where none may be
    made."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(_CLONE_NEWNET):
            error = ctypes.get_errno()
            raise NoNamespace(f"no network namespace can be made: {os.strerror(error)}", "run this as root")
        try:
            _furnish(host)
            try:
                index = socket.if_nametoindex(_NAME)
            except OSError as e:
                raise NoNamespace(f"no veth interface can be made: {e.strerror}", "modprobe veth") from e
            yield index
        finally:
            if _libc.setns(back, _CLONE_NEWNET):
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))
    finally:
        os.close(back)


def _furnish(host: HostFacts) -> None:
    """Errors of single lines do not matter: a route that can't be made only means fewer drops to compare."""
    lines = [
        "link set lo up",
        f"link add {_NAME} type veth peer name {_PEER}",
        f"link set {_NAME} address {host.interface.mac or '02:00:00:00:00:0b'} up",
        f"link set {_PEER} up",
    ]
    for kind, prefixes in (("local", host.local4), ("broadcast", host.broadcast4)):
        lines += [f"route replace {kind} {p} dev {_NAME} table local" for p in prefixes]
    lines += [f"-6 route replace local {p} dev {_NAME} table local" for p in host.local6]
    for family in ("", "-6"):
        _ip(family, [line.removeprefix("-6 ") for line in lines if line.startswith("-6 ") == bool(family)])
    for protocol, forwards in (("ipv4", host.forwards4), ("ipv6", host.forwards6)):
        if forwards:
            with contextlib.suppress(OSError):
                Path(f"/proc/sys/net/{protocol}/conf/all/forwarding").write_text("1")


def _ip(family: str, lines: list[str]) -> None:
    command = ["ip", *([family] if family else []), "-force", "-batch", "-"]
    try:
        subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    except OSError as e:
        raise NoNamespace(f"the ip command can't be run: {e.strerror}", "apt install iproute2") from e
