"""Hosts alike, some with rules alone and some with rules and program: what the same traffic does on each."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fuzz import sets
from fuzz.rulesets import Rules, empty
from fuzz.traffic import Event
from xdptables.fields import Family
from xdptables.rules.model import Variant
from xdptables.verify import probe
from xdptables.verify.bench import IFNAME, Bench, flush_conntrack, one_cpu

_MARK, _MARK_SECONDS = b"\x88\xb6", 20.0  # an ethertype for experiments
_CHUNK = 64  # below the ring size of veth under XDP
_QUIET = (
    "net.ipv4.icmp_ratelimit=0",
    "net.ipv4.icmp_ratemask=0",
    "net.ipv4.icmp_msgs_per_sec=1000000",
    "net.ipv4.icmp_msgs_burst=1000000",
    "net.ipv6.icmp.ratelimit=0",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.default.send_redirects=0",
    f"net.ipv4.conf.{IFNAME}.send_redirects=0",
    "net.ipv4.conf.all.log_martians=0",
)
_WORD = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}


@dataclass(frozen=True)
class Seen:
    """`through`: indices of the events that came through INPUT. `sent`: what the host put on the wire."""

    through: frozenset[int]
    sent: Counter[bytes]


class Host(Bench):
    """A bench that takes many rulesets, one after another, of one variant; all with a nat table or all
    without, since a namespace that has had one keeps tracking connections."""

    def __init__(self, variant: Variant, nat: bool) -> None:
        super().__init__()
        self._marks = 0
        self.variant, self.nat = variant, nat

    def __enter__(self) -> Host:
        super().__enter__()
        try:
            for setting in _QUIET:
                self.pair.run(self.pair.server, ["sysctl", "-qw", setting], check=False)
            self.pair.run(self.pair.server, ["ipset", "restore"], input=sets.create())
            with self.pair.enter(self.pair.server):
                self._out4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
                self._out6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
                self._marker = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
                self._marker.bind((IFNAME, 0))
            with self.pair.enter(self.pair.client):
                self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self._wire.bind((self.pair.client.ifname, 3))
            self._wire.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
            self._wire.settimeout(_MARK_SECONDS)
        except BaseException:
            self.pair.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for part in (self._out4, self._out6, self._marker, self._wire):
            part.close()
        super().__exit__(*exc)

    def restore(self, rulesets: Sequence[Rules]) -> str:
        """In place of all that was there, conntrack's entries too. What iptables-restore complained about."""
        given = {r.family: r for r in rulesets}
        if any("--match-set" in r.short or "-j SET" in r.short for r in rulesets):
            self.pair.run(self.pair.server, ["ipset", "restore"], input=sets.fill())
        for family in Family:
            rules = given.get(family) or empty(family)
            command = f"{_WORD[family]}-{self.variant.value}-restore"
            done = self.pair.run(self.pair.server, [command], input=rules.text(self.nat), check=False)
            if done.returncode:
                return done.stderr or "refused"
        self.forget()
        return ""

    def forget(self) -> None:
        with self.pair.enter(self.pair.server):
            flush_conntrack()

    def settings(self, forward: bool, strict: bool) -> None:
        """`strict`: conntrack picks up no TCP connection in the middle."""
        value = int(forward)
        settings = [f"net.ipv4.ip_forward={value}", f"net.ipv6.conf.all.forwarding={value}"]
        settings += [f"net.netfilter.nf_conntrack_tcp_loose={int(not strict)}"]
        self.pair.run(self.pair.server, ["sysctl", "-qw", *settings])

    def begin(self, number: int) -> None:
        """The same traffic gets the same tags on every host; from trial to trial others, as fragments of an
        earlier one may still be waiting."""
        self._number = number
        self._next_tag = number * 499 % 0xFFFF + 1
        self._tags: dict[bytes, int] = {}
        self._whose: dict[int, list[int]] = {}
        self._read_wire()
        self._log.read()

    def play(self, events: Sequence[Event], start: int, without: Collection[int] = ()) -> Seen:
        """A part of a trial: `start` is the index of its first event in the whole; `without`: not sent."""
        packets: list[bytes] = []
        with one_cpu():
            for at in range(0, len(events), _CHUNK):
                for index, event in enumerate(events[at : at + _CHUNK], start + at):
                    if event.out:
                        self._flush()  # what was sent to it before has arrived
                        self._send_out(event.frame.data)
                    else:
                        self._send_in(index, event.frame.data, index in without)
                self._flush()
                packets += self._log.read()
        through = {i for p in packets for i in self._whose.get(probe.tag_of(p), ())}
        return Seen(frozenset(through), self._read_wire())

    def _send_in(self, index: int, frame: bytes, only_tag: bool) -> None:
        common = probe.datagram(frame)
        tag = self._tags.get(common, 0) if common else 0
        if not tag:
            tag, self._next_tag = self._next_tag, self._next_tag % 0xFFFF + 1
            if common:
                self._tags[common] = tag
        self._whose.setdefault(tag, []).append(index)
        if only_tag:
            return
        with contextlib.suppress(OSError):  # shorter than an Ethernet header, or too long
            self._sender.send(_other_fragments(probe.tagged(frame, tag), self._number))

    def _send_out(self, frame: bytes) -> None:
        four = frame[12:14] == b"\x08\x00"
        with contextlib.suppress(OSError):  # EPERM: a rule of OUTPUT dropped it
            if four:
                self._out4.sendto(frame[14:], (socket.inet_ntoa(frame[30:34]), 0))
            else:
                self._out6.sendto(frame[14:], (socket.inet_ntop(socket.AF_INET6, frame[38:54]), 0))

    def _read_wire(self) -> Counter[bytes]:
        """All that the host has sent. On a busy machine the last of it is still under way, so a mark is sent
        after it, past the rules, from the CPU that answered."""
        found: Counter[bytes] = Counter()
        self._marks += 1
        mark = (bytes(12) + _MARK + self._marks.to_bytes(8)).ljust(60, b"\0")
        with one_cpu():
            self._marker.send(mark)
        while True:
            data, (_, _, kind, *_) = self._wire.recvfrom(1 << 16)
            if data == mark:
                return found
            if kind != socket.PACKET_OUTGOING:
                plain = _plain(data, self.nat)
                if plain:
                    found[plain] += 1


def _other_fragments(frame: bytes, number: int) -> bytes:
    """An IPv6 fragment of another datagram."""
    if frame[12:14] != b"\x86\xdd" or len(frame) < 54:
        return frame
    following, at = frame[20], 54
    while following in (0, 43, 60) and at + 2 < len(frame):
        following, at = frame[at], at + 8 + frame[at + 1] * 8
    if following != 44 or at + 8 > len(frame):
        return frame
    return frame[: at + 4] + number.to_bytes(3) + frame[at + 7 :]


def _plain(frame: bytes, nat: bool) -> bytes:
    """Without what differs from run to run; empty for what a host says by itself. Masquerading takes any
    source port where two flows want the same."""
    if frame[12:14] == b"\x08\x00":
        protocol, body = frame[23], frame[14 + (frame[14] & 15) * 4 :]
        # Neighbours that don't exist, and fragments that don't come, are told of seconds later.
        if protocol == 2 or (protocol == 1 and body[:2] in (b"\x03\x01", b"\x0b\x01")):
            return b""
        if nat:
            return b"4" + frame[23:24] + frame[30:34] + (body[:2] if protocol == 1 else body[2:4])
        if protocol == 1 and body[:1] == b"\x0e":
            body = body[:2]  # the time of day
        if protocol == 1 and body[:1] in (b"\x03", b"\x04", b"\x05", b"\x0b", b"\x0c"):
            body = body[:12] + b"..." + body[14:18] + b"..." + body[20:]  # the quoted packet's ID
        return b"4" + frame[14:18] + frame[20:24] + frame[26:34] + body
    if frame[12:14] == b"\x86\xdd":
        body = frame[54:]
        told = frame[20] == 58 and body[:2] in (b"\x01\x03", b"\x03\x01")
        if frame[20] == 0 or told or (frame[20] == 58 and 130 <= body[0] <= 137):
            return b""
        if nat:
            return b"6" + frame[20:21] + frame[38:54] + (body[:2] if frame[20] == 58 else body[2:4])
        if frame[20] == 58 and body[0] < 128:
            body = body[:2] + body[4:8] + b"..." + body[12:]  # the quoted packet's flow label
        return b"6" + frame[18:54] + body
    return b""
