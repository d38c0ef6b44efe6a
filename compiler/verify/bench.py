"""A bench for the kernel: two namespaces with fixed addresses, rules in one, frames from the other."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import ipaddress
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from ..fields import Family
from ..host.facts import HostFacts, InterfaceFacts
from ..rules.model import Variant
from . import probe
from .flows import rounds
from .model import Place
from .pair import NetnsPair

IFNAME = "wan0"
PLACE = Place()
_CHUNK = 64  # below the ring size of veth under XDP
_RESTORE = {
    (Variant.LEGACY, Family.IPV4): "iptables-legacy-restore",
    (Variant.LEGACY, Family.IPV6): "ip6tables-legacy-restore",
    (Variant.NFT, Family.IPV4): "iptables-nft-restore",
    (Variant.NFT, Family.IPV6): "ip6tables-nft-restore",
}
_SYSCTLS = [
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv4.conf.all.accept_redirects=0",
    "net.ipv6.conf.all.accept_ra=0",
    "net.ipv6.conf.default.accept_ra=0",
    "net.ipv6.conf.all.accept_redirects=0",
    "net.ipv6.conf.default.accept_redirects=0",
]


class Bench:
    """`survivors(frames)` says which frames come through INPUT under the rules loaded last."""

    def __init__(self, place: Place = PLACE, ifname: str = IFNAME) -> None:
        self.pair, self.place, self.ifname = NetnsPair(), place, ifname

    def __enter__(self) -> Bench:
        self.pair.__enter__()
        try:
            self._settle()
            with self.pair.enter(self.pair.server):
                self._log = probe.SurvivorLog()
                self._sentinel = probe.Sentinel(self.ifname)
            with self.pair.enter(self.pair.client):
                self._sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._sender.bind((self.pair.client.ifname, 0))
            self._next_tag = 1
        except BaseException:
            self.pair.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for part in (self._log, self._sentinel, self._sender):
            part.close()
        self.pair.close()

    def _settle(self) -> None:
        """The addresses and MACs of the place, so that the same frames fit every bench."""
        pair, place, name = self.pair, self.place, self.ifname
        old = pair.server.ifname
        ends = (
            (pair.client, pair.client.ifname, place.peer_mac, place.peer4, place.peer6),
            (pair.server, name, place.own_mac, place.own4, place.own6),
        )
        for end, ifname, mac, addr4, addr6 in ends:
            there = next((m, a4, a6) for e, _, m, a4, a6 in ends if e is not end)
            lines = [
                f"link set dev {end.ifname} down",
                f"addr flush dev {end.ifname}",
                *([f"link set dev {old} name {name}"] if end is pair.server else []),
                f"link set dev {ifname} address {mac}",
                f"link set dev {ifname} up",
                f"addr add {addr4}/24 brd + dev {ifname}",
                f"addr add {addr6}/64 dev {ifname} nodad",
                f"neigh replace {there[1]} lladdr {there[0]} nud permanent dev {ifname}",
                f"neigh replace {there[2]} lladdr {there[0]} nud permanent dev {ifname}",
                f"route add default via {there[1]} dev {ifname} onlink",
                f"route add default via {there[2]} dev {ifname} onlink",
            ]
            pair.run(end.ns, ["sysctl", "-qw", *_SYSCTLS])
            pair.run(end.ns, ["ip", "-batch", "-"], input="\n".join(lines) + "\n")
        pair.client = dataclasses.replace(
            pair.client, mac=place.peer_mac, addr4=place.peer4, addr6=place.peer6
        )
        pair.server = dataclasses.replace(
            pair.server, ifname=name, mac=place.own_mac, addr4=place.own4, addr6=place.own6
        )
        pair.run(pair.server, ["sysctl", "-qw", f"net.ipv4.conf.{name.replace('.', '/')}.rp_filter=0"])
        with pair.enter(pair.server):
            _gro_off(name)
        pair.run(pair.server, ["nft", "-f", "-"], input=probe.NFT)

    def load(self, rules: str, variant: Variant, family: Family) -> None:
        """A file for iptables-restore. A bench takes one file of each kind."""
        self.pair.run(self.pair.server, [_RESTORE[variant, family]], input=rules)

    def saved(self, variant: Variant, family: Family) -> str:
        """The rules as iptables-save prints them."""
        command = _RESTORE[variant, family].replace("restore", "save")
        return self.pair.run(self.pair.server, [command]).stdout

    def without_entries(self, frames: Sequence[bytes], before: Callable[[], None] = lambda: None) -> set[int]:
        """As `survivors`, and conntrack has no entry for a frame when it comes: frames of one flow are sent
        in rounds, and conntrack is emptied between them. `before`: called at the start of each round."""
        found = set()
        for indices in rounds(frames):
            with self.pair.enter(self.pair.server):
                flush_conntrack()
                before()
            found |= {indices[i] for i in self.survivors([frames[i] for i in indices])}
        return found

    def survivors(self, frames: Sequence[bytes]) -> set[int]:
        """Indices of the frames that came through every INPUT chain; of a datagram in fragments, all."""
        return {index for index, _ in self.logged(frames, self._log)}

    def logged(self, frames: Sequence[bytes], log: probe.SurvivorLog) -> set[tuple[int, str]]:
        """Which frames the log's group told of, and with which prefix."""
        whose: dict[int, list[int]] = {}
        tags: dict[bytes, int] = {}
        log.read()
        packets: list[tuple[str, bytes]] = []
        with one_cpu():
            for start in range(0, len(frames), _CHUNK):
                for index, frame in enumerate(frames[start : start + _CHUNK], start):
                    common = probe.datagram(frame)
                    tag = tags.get(common, 0) if common else 0
                    if not tag:
                        tag, self._next_tag = self._next_tag, self._next_tag % 0xFFFF + 1
                        if common:
                            tags[common] = tag
                    whose.setdefault(tag, []).append(index)
                    with contextlib.suppress(OSError):  # shorter than an Ethernet header, or too long
                        self._sender.send(probe.tagged(frame, tag))
                self._flush()
                packets += log.read_prefixed()
        return {
            (index, prefix) for prefix, packet in packets for index in whose.get(probe.tag_of(packet), ())
        }

    def _flush(self) -> None:
        # Packets may travel through the hooks in batches: when the first sentinel is seen, its batch is
        # still under way; when the second is, that one is done.
        for _ in range(2):
            self._sender.send(self._sentinel.frame(self.place.own_mac, self.place.peer_mac))
            self._sentinel.wait()

    def facts(self) -> HostFacts:
        """What is true of the receiving namespace, apart from the rules."""
        local4, broadcast4 = self._local_routes("-4")
        local6, _ = self._local_routes("-6")
        return HostFacts(
            assumed=False,
            label="bench",
            interface=InterfaceFacts(
                name=self.ifname, mac=self.place.own_mac, kind="veth", gro=False, rxvlan=False
            ),
            local4=local4,
            broadcast4=broadcast4,
            local6=local6,
        )

    def _local_routes(self, family: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        command = ["ip", "-j", family, "route", "show", "table", "local"]
        local, broadcast = [], []
        for route in json.loads(self.pair.run(self.pair.server, command).stdout):
            kind, dst = route.get("type", "local"), route["dst"]
            if kind in ("local", "anycast"):
                local.append(str(ipaddress.ip_network(dst)))
            elif kind == "broadcast":
                broadcast.append(str(ipaddress.ip_network(dst)))
        return tuple(local), tuple(broadcast)


#: Attaches a program to the bench's interface for the length of the `with`.
Loader = Callable[[Bench], AbstractContextManager[object]]


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Indices of frames: that arrive without rules, with rules, and with rules and program."""

    bare: frozenset[int]
    ruled: frozenset[int]
    programmed: frozenset[int] | None = None

    @property
    def wrongly_dropped(self) -> frozenset[int]:
        return self.ruled - self.programmed if self.programmed is not None else frozenset()

    @property
    def wrongly_passed(self) -> frozenset[int]:
        """Accepted only because the program changed what netfilter saw."""
        return self.programmed - self.ruled if self.programmed is not None else frozenset()


def judge(
    rules: str, variant: Variant, family: Family, frames: Sequence[bytes], load: Loader | None = None
) -> Judgement:
    """What the kernel does with `frames`, with and without a program. Each run has namespaces of its own,
    so that no connection or fragment is left over from the one before."""
    with Bench() as bench:
        bare = bench.survivors(frames)
    with Bench() as bench:
        bench.load(rules, variant, family)
        ruled = bench.survivors(frames)
    if load is None:
        return Judgement(frozenset(bare), frozenset(ruled))
    with Bench() as bench:
        bench.load(rules, variant, family)
        with load(bench):
            programmed = bench.survivors(frames)
    return Judgement(frozenset(bare), frozenset(ruled), frozenset(programmed))


@contextlib.contextmanager
def one_cpu() -> Iterator[None]:
    """Frames sent from one CPU arrive in their order."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _gro_off(ifname: str) -> None:
    value = ctypes.create_string_buffer(struct.pack("II", 0x2C, 0))  # ETHTOOL_SGRO
    request = struct.pack("16sP16x", ifname.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8946, request)  # SIOCETHTOOL


def flush_conntrack() -> None:
    """Delete every entry of this namespace's conntrack (IPCTNL_MSG_CT_DELETE without a tuple)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as s:  # NETLINK_NETFILTER
        s.send(struct.pack("=IHHIIBBH", 20, 0x102, 0x05, 1, 0, 0, 0, 0))
        error = struct.unpack_from("=i", s.recv(4096), 16)[0]
        if error:
            raise OSError(-error, f"conntrack: {os.strerror(-error)}")
