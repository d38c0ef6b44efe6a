"""One packet explained: its path through netfilter, and what the program does with it."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..fields import Family
from ..host.facts import HostFacts
from ..pipeline import Compiled
from ..reference.connection import Entry, State, leaving_conntrack
from ..reference.locality import why_not_local
from ..reference.packet import Packet, Unreadable, parse
from ..rules.model import Ruleset
from ..source import UserError
from ..verify import planned
from ..verify.model import Ruling
from ..verify.planned import PlanSubject, kinds
from ..verify.readable import readable
from .path import Path, follow

_DID_NOT_FIT = "the decision did not fit into the program"
_HAVE_AN_ENTRY = (State.ESTABLISHED, State.RELATED)


@dataclass(frozen=True, slots=True)
class Explained:
    """`path`: None where no rule is asked, for `why`. `ruling`: of the program, where conntrack has no entry;
    `entry`: it has one, by the state that was given, and the program asks it about such packets."""

    text: str
    path: Path | None
    ruling: Ruling
    entry: bool = False
    why: str = ""


def adopt(host: HostFacts, frames: Iterable[bytes]) -> HostFacts:
    """A host of which no addresses are known is taken for the one that the packets are for."""
    macs: Counter[bytes] = Counter()
    local: dict[Family, set[int]] = {Family.IPV4: set(), Family.IPV6: set()}
    for frame in frames:
        if len(frame) >= 14 and not frame[0] & 1 and any(frame[:6]):
            macs[frame[:6]] += 1
        try:
            packet = parse(frame)
        except Unreadable:
            continue
        if not _is_group(packet):
            local[packet.family].add(packet.dst)
    link = host.interface
    if not link.mac and macs:
        link = replace(link, mac=macs.most_common(1)[0][0].hex(":"))
    local4 = tuple(f"{ipaddress.IPv4Address(a)}/32" for a in sorted(local[Family.IPV4]))
    local6 = tuple(f"{ipaddress.IPv6Address(a)}/128" for a in sorted(local[Family.IPV6]))
    return replace(host, interface=link, local4=host.local4 or local4, local6=host.local6 or local6)


def _is_group(packet: Packet) -> bool:
    if packet.family is Family.IPV4:
        return packet.dst >> 28 >= 14
    return packet.dst >> 120 == 0xFF


class Explainer:
    """For many packets under the same rules. `host`: settled (verify/place.py)."""

    def __init__(self, rulesets: Sequence[Ruleset], host: HostFacts, compiled: Compiled) -> None:
        self.rulesets, self.host, self.compiled = rulesets, host, compiled
        self.subject = PlanSubject(compiled.plan, host)
        # As the walk made them, the lists still say what leaves a packet to netfilter.
        self.reasons = PlanSubject(replace(compiled.plan, lists=compiled.lists, tables=None), host)
        self.mac = bytes.fromhex(host.interface.mac.replace(":", ""))
        self.families = {r.family for r in rulesets}

    def explain(self, frame: bytes, state: State | None = None) -> Explained:
        if len(frame) < 14:
            raise UserError(
                "a frame has at least the 14 bytes of an Ethernet header", "give all of its bytes"
            )
        if not any(frame[:12]):  # from a capture without Ethernet headers
            frame = self.mac + frame[6:]
        ruling = self.subject.ruling(frame)
        if not ruling.drop:
            reason = self.reasons.ruling(frame)
            late = planned.TOO_MANY_STEPS if ruling.why == planned.TOO_MANY_STEPS else _DID_NOT_FIT
            ruling = replace(reason, drop=False, why=late if reason.drop else reason.why)
        try:
            packet = parse(frame)
        except Unreadable as e:
            return Explained(readable(frame), None, ruling, why=str(e))
        if packet.pkttype == 0 and packet.mac_dst != int.from_bytes(self.mac):
            return Explained(readable(frame), None, ruling, why="the frame is for another MAC")
        if self.families and packet.family not in self.families:
            why = f"no rules of {packet.family.spoken} are given"
            return Explained(readable(frame), None, ruling, why=why)
        # A host that forwards nowhere drops what is for another before INPUT, in silence.
        leaves = why_not_local(packet, replace(self.host, forwards4=True), False)
        if state is None:
            left = leaving_conntrack(packet, self.host, Entry.UNKNOWN, None)
            state = left[0] if len(left) == 1 and left[0] is not State.UNKNOWN else None
        name = self.host.interface.name or None
        path = follow(self.rulesets, packet, self.host, name, state, leaves)
        return Explained(readable(frame), path, ruling, state in _HAVE_AN_ENTRY and self._asks(frame))

    def _asks(self, frame: bytes) -> bool:
        try:
            gate, _ = kinds(planned.parse(frame, int.from_bytes(self.mac)))
        except planned.Passes:
            return False
        return gate is not None and bool(self.subject.lists[gate].decisions)
