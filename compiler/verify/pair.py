"""Two network namespaces joined by a veth pair, to send real packets from one to the other.

    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables", "-A", "INPUT", "-j", "DROP"])
        with pair.enter(pair.client):
            socket.socket(...)

Nothing outside the two namespaces is touched; both are removed at the end, whatever happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import secrets
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..kernel.errors import KernelError

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class End:
    """One end of the pair: the namespace, and the veth device inside it."""

    ns: str
    ifname: str
    ifindex: int
    mac: str
    addr4: str
    addr6: str
    prefix4: int = 24
    prefix6: int = 64


class NetnsPair:
    """`client` sends, `server` is where rules and programs go.

    IPv4 10.x/24 and IPv6 fd00::/64, no duplicate address detection, no checksum offload, permanent
    neighbour entries. `mtu` for jumbo frames.
    """

    client: End
    server: End

    def __init__(self, mtu: int = 1500) -> None:
        self.mtu = mtu
        self.tag = secrets.token_hex(3)
        self._names: list[str] = []

    def __enter__(self) -> NetnsPair:
        try:
            self._create()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        self._names.clear()

    def run(
        self,
        where: End | str,
        argv: Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,
        timeout: float = 60,
        **kwargs: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a namespace. Only the network namespace changes, so /sys and pins stay visible."""
        name = where if isinstance(where, str) else where.ns
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{name}", "--", *argv],
            capture_output=True,
            text=True,
            input=input,
            timeout=timeout,
            check=False,
            **kwargs,
        )
        if check and done.returncode:
            raise KernelError(f"{' '.join(argv)}: exit {done.returncode}", done.stdout + done.stderr)
        return done

    def popen(self, where: End | str, argv: Sequence[str], **kwargs: Any) -> subprocess.Popen[Any]:
        name = where if isinstance(where, str) else where.ns
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{name}", "--", *argv], **kwargs)

    @contextlib.contextmanager
    def enter(self, where: End | str) -> Iterator[None]:
        """This thread lives in the namespace for the length of the block; sockets made there stay there."""
        name = where if isinstance(where, str) else where.ns
        back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            target = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(target)
            finally:
                os.close(target)
            try:
                yield
            finally:
                _setns(back)
        finally:
            os.close(back)

    def send_frames(self, frames: Sequence[bytes]) -> None:
        """Put whole Ethernet frames on the wire, from the client to the server."""
        with self.enter(self.client):
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with sender:
            sender.bind((self.client.ifname, 0))
            for frame in frames:
                sender.send(frame)

    def _create(self) -> None:
        # In few processes: each would cost a tenth of a second where the processor is emulated.
        byte = secrets.randbelow(256)
        made = []
        for number, letter in enumerate("cs", start=1):
            name = f"xt{self.tag}{letter}"
            _ip("netns", "add", name)
            self._names.append(name)
            mac = f"02:{byte:02x}:{self.tag[:2]}:{self.tag[2:4]}:{self.tag[4:]}:{number:02x}"
            own4, own6 = f"10.{byte}.0.{number}", f"fd00:{byte:x}::{number}"
            made.append(End(name, f"v{letter}{self.tag}", 0, mac, own4, own6))
            with self.enter(name):
                _quiet_ipv6()
        client, server = made
        ends = [f"{e.ifname} netns {e.ns} mtu {self.mtu} address {e.mac}" for e in made]
        _ip(*f"link add {ends[0]} type veth peer {ends[1]}".split())
        for here, there in ((client, server), (server, client)):
            # Without this a frame leaves the sender with a checksum that is still to be filled in.
            with self.enter(here):
                _checksum_offload_off(here.ifname)
            commands = [
                f"addr add {here.addr4}/24 brd + dev {here.ifname}",
                f"addr add {here.addr6}/64 dev {here.ifname} nodad",
                "link set lo up",
                f"link set {here.ifname} up",
            ]
            for address in (there.addr4, there.addr6):
                commands.append(f"neigh replace {address} lladdr {there.mac} nud permanent dev {here.ifname}")
            _ip("-n", here.ns, "-batch", "-", input="\n".join(commands) + "\n")
        self.client, self.server = (replace(end, ifindex=self._ifindex(end)) for end in made)

    def _ifindex(self, end: End) -> int:
        with self.enter(end):
            return socket.if_nametoindex(end.ifname)


def _quiet_ipv6() -> None:
    """No duplicate address detection, no router solicitations, in the namespace of this thread."""
    try:
        for name in ("all/accept_dad", "default/accept_dad", "default/router_solicitations"):
            Path("/proc/sys/net/ipv6/conf", name).write_text("0\n")
    except OSError as e:
        raise KernelError("this host has no IPv6 to make a network namespace with", str(e)) from e


def _ip(*argv: str, input: str | None = None) -> None:
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, input=input, check=False)
    if done.returncode:
        raise KernelError(f"ip {' '.join(argv)} failed", done.stderr)


def _checksum_offload_off(ifname: str) -> None:
    value = ctypes.create_string_buffer(struct.pack("II", 0x17, 0))  # ETHTOOL_STXCSUM
    request = struct.pack("16sP16x", ifname.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8946, request)  # SIOCETHTOOL


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
