"""The optimised plan on whole frames, in Python: what the generated program would do, without a kernel.

Reads a frame as templates/headers.c.j2 does and delivers as templates/delivery.c.j2 does, with local
addresses for the FIB. A conntrack that holds nothing is asked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..decisions.model import Accept, Cause, DecisionList, Drop, Skip, Undecided
from ..emit.limits import bounded_families
from ..emit.outcome import PASS
from ..emit.plan import Plan
from ..fields import Family
from ..host.facts import HostFacts
from ..matches.view import Kind
from .model import Ruling

Fields = dict[str, int]
_LEAST = {6: 20, 17: 8, 136: 8, 33: 12, 132: 12, 1: 8, 58: 8, 50: 8, 51: 12}
_WITH_PORTS = (6, 17, 136, 33, 132)
_EXTENSIONS, _WALKED = {0: 1, 43: 2, 60: 4}, 5


#: Why a packet passes that the rules drop.
TOO_MANY_STEPS = "its look-up takes more steps than the program has"


class Passes(Exception):
    """No decision list is asked. The message says why."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """`options`: the stack may answer, so no INPUT drop. `look_up`: conntrack can be asked."""

    family: Family
    fields: Fields
    fragment: bool = False
    options: bool = False

    @property
    def look_up(self) -> bool:
        return not self.fragment and self.fields["proto"] in (6, 17)


def parse(frame: bytes, mac: int) -> Parsed:
    """Raises Passes. `mac`: the interface's."""
    if len(frame) < 14:
        raise Passes("a short frame")
    to = int.from_bytes(frame[:6])
    if not frame[0] & 1 and to != mac:
        raise Passes("for another MAC")
    fields = {
        "mac_src": int.from_bytes(frame[6:12]),
        "pkttype": 0 if not frame[0] & 1 else 1 if to == (1 << 48) - 1 else 2,
        **dict.fromkeys(("sport", "dport", "icmp", "tcp_flags", "mss", "spi", "exthdr", "tos", "ttl"), 0),
    }
    ethertype, data = int.from_bytes(frame[12:14]), frame[14:]
    if ethertype == 0x0800:
        return _ipv4(data, fields)
    if ethertype == 0x86DD:
        return _ipv6(data, fields)
    raise Passes("not IP, or a VLAN tag")


def _ipv4(data: bytes, fields: Fields) -> Parsed:
    if len(data) < 20:
        raise Passes("a short IPv4 header")
    header, total = (data[0] & 15) * 4, int.from_bytes(data[2:4])
    if data[0] >> 4 != 4 or header < 20 or total < header or total > len(data):
        raise Passes("an odd IPv4 header")
    fields |= {
        "src": int.from_bytes(data[12:16]), "dst": int.from_bytes(data[16:20]), "proto": data[9],
        "tos": data[1], "ttl": data[8], "length": total,
    }  # fmt: skip
    frag = int.from_bytes(data[6:8]) & 0x3FFF
    if not frag or (not frag & 0x1FFF and data[9] == 17):
        _l4(data[header:total], fields)
    return Parsed(Family.IPV4, fields, frag != 0, header > 20)


def _ipv6(data: bytes, fields: Fields) -> Parsed:
    if len(data) < 40:
        raise Passes("a short IPv6 header")
    payload = int.from_bytes(data[4:6])
    if data[0] >> 4 != 6 or payload == 0 or 40 + payload > len(data):
        raise Passes("an odd IPv6 header")
    fields |= {
        "src": int.from_bytes(data[8:24]), "dst": int.from_bytes(data[24:40]), "proto": 0,
        "tos": int.from_bytes(data[:4]) >> 20 & 0xFF, "ttl": data[7], "length": payload + 40,
    }  # fmt: skip
    rest, following = data[40 : 40 + payload], data[6]
    for number in range(_WALKED):
        if following == 44:
            return Parsed(Family.IPV6, fields, True)
        if following not in _EXTENSIONS:
            break
        if len(rest) < 8 or (following == 0 and number) or not (following == 43 or _plain(rest)):
            raise Passes("IPv6 options, or an odd chain of headers")
        fields["exthdr"] |= _EXTENSIONS[following]
        following, rest, size = rest[0], rest[8 + rest[1] * 8 :], 8 + rest[1] * 8
        if size > len(data):
            raise Passes("a cut IPv6 extension header")
    if following in (*_EXTENSIONS, 44, 51):
        raise Passes("more IPv6 headers than are walked, or AH")
    fields["proto"] = following
    _l4(rest, fields)
    return Parsed(Family.IPV6, fields)


def _plain(header: bytes) -> bool:
    if header[1]:
        return False
    return header[2:4] == b"\x01\x04" or (header[2:4] == b"\x05\x02" and header[6:8] in (b"\x01\0", b"\0\0"))


def _l4(l4: bytes, fields: Fields) -> None:
    proto = fields["proto"]
    if len(l4) < _LEAST.get(proto, 0):
        raise Passes("a short transport header")
    if proto == 6:
        header = (l4[12] >> 4) * 4
        if header < 20 or header > len(l4):
            raise Passes("an odd TCP header")
        fields["tcp_flags"] = l4[13] | (0x100 if len(l4) > header else 0)
        first = int.from_bytes(l4[22:24]) if l4[20:22] == b"\x02\x04" else 0x10001
        fields["mss"] = 0x10000 if header == 20 else first
    if proto in (1, 58):
        fields["icmp"] = int.from_bytes(l4[:2])
    elif proto == 50:
        fields["spi"] = int.from_bytes(l4[:4])
    elif proto == 51:
        fields["spi"] = int.from_bytes(l4[4:8])
    elif proto in _WITH_PORTS:
        fields["sport"], fields["dport"] = int.from_bytes(l4[:2]), int.from_bytes(l4[2:4])


@dataclass(frozen=True, slots=True)
class Found:
    """Where a list ends for a packet: the decision's index (the list's length: none), and what it says."""

    index: int
    drop: Drop | None
    cause: Cause | None
    why: str
    path: tuple[int, ...] = ()  # decisions that said yes, in order


def evaluate(decisions: DecisionList, fields: Mapping[str, int]) -> Found:
    """First match wins, skips are taken."""
    at, path = 0, []
    items = decisions.decisions
    while at < len(items):
        item = items[at]
        if not all(fields[name] in allowed for name, allowed in item.when.sets):
            at += 1
            continue
        path.append(at)
        then = item.then
        if isinstance(then, Skip):
            at = then.to
            continue
        if isinstance(then, Drop):
            cause = then.cause
            if item.split:
                value = fields[item.split_field]
                owner = next((c for lo, hi, c in item.split if lo <= value <= hi), None)
                if owner is None:
                    return Found(at, None, None, "no rule owns this value", tuple(path))
                cause = owner
            return Found(at, then, cause, "", tuple(path))
        if isinstance(then, Undecided):
            return Found(at, None, then.cause, then.why, tuple(path))
        assert isinstance(then, Accept)
        return Found(at, None, then.cause, "accepted", tuple(path))
    return Found(len(items), None, None, "no rule decides it", tuple(path))


class PlanSubject:
    """`Subject` of a plan. `entry`: conntrack has no entry for any frame; False: it has one for each."""

    def __init__(self, plan: Plan, host: HostFacts, entry: bool = False) -> None:
        self.plan, self.host, self.entry = plan, host, entry
        self.lists = {d.kind: d for d in plan.lists}
        self.mac = int(host.interface.mac.replace(":", "") or "0", 16)
        self.local = {
            4: [ipaddress.ip_network(p, strict=False) for p in host.local4],
            6: [ipaddress.ip_network(p, strict=False) for p in host.local6],
        }
        self.broadcast4 = [ipaddress.ip_network(p, strict=False) for p in host.broadcast4]
        self.bounded = bounded_families(plan)

    def rule(self, frames: Sequence[bytes]) -> list[Ruling]:
        return [self.ruling(f) for f in frames]

    def ruling(self, frame: bytes) -> Ruling:
        try:
            parsed = parse(frame, self.mac)
        except Passes as e:
            return Ruling(False, why=str(e))
        return self.decide(parsed)

    def decide(self, parsed: Parsed) -> Ruling:
        gate, by_itself = kinds(parsed)
        found = self._found(by_itself, parsed)
        reached = tuple((by_itself, i) for i in found.path)
        gated = False
        if gate is not None and self.lists[gate].decisions:
            # The gated list drops at least what the other one does; what only it drops needs the look-up.
            looked = self._found(gate, parsed)
            reached = (*((gate, i) for i in looked.path), *(reached if looked.drop else ()))
            if looked.drop is None or found.drop is None:
                found, gated = looked, looked.drop is not None
        if found.drop is None:
            return Ruling(False, False, found.cause, reached, found.why)
        why = self._kept(parsed, found.drop, gated)
        budget = not why and found.drop.budget != ()
        return Ruling(not why, gated, found.cause, reached, why, budget)

    def _found(self, kind: Kind, parsed: Parsed) -> Found:
        found = evaluate(self.lists[kind], parsed.fields)
        if found.drop is None or kind.family not in self.bounded:
            return found
        assert self.plan.tables is not None
        from ..emit.tables.evaluate import evaluate as look_up  # numpy is loaded only where it is needed

        if look_up(self.plan.tables, kind, parsed.fields) != PASS:
            return found
        return replace(found, drop=None, cause=None, why=TOO_MANY_STEPS)

    def _kept(self, parsed: Parsed, drop: Drop, gated: bool) -> str:
        """Why the program passes what its list drops."""
        f = parsed.fields
        if f["proto"] == 17 and f["dport"] in (67, 68):
            return "DHCP passes"
        if drop.local:
            if parsed.options:
                return "IP options, which the stack answers before INPUT"
            if not self._delivered(parsed):
                return "it may not be delivered here"
        if gated and self.entry:
            return "conntrack has an entry"
        if f["pkttype"] and not self.plan.group_drops:
            return "broadcast and multicast frames pass: another device may get them too"
        return ""

    def _delivered(self, parsed: Parsed) -> bool:
        dst = parsed.fields["dst"]
        if parsed.family is Family.IPV4:
            if dst == 0xFFFFFFFF:
                return True
            if dst >> 28 == 14:
                return not self.host.mc_forwarding4
            address = ipaddress.IPv4Address(dst)
            if any(address in n for n in self.broadcast4):
                return not self.host.bc_forwarding and not self._unlike_routed(parsed)
            return any(address in n for n in self.local[4]) and not self._unlike_routed(parsed)
        if dst >> 120 == 0xFF:
            return not self.host.mc_forwarding6
        here = any(ipaddress.IPv6Address(dst) in n for n in self.local[6])
        return here and not self._unlike_routed(parsed)

    def _unlike_routed(self, parsed: Parsed) -> bool:
        first = self.host.local_first4 if parsed.family is Family.IPV4 else self.host.local_first6
        return not first and (parsed.fragment or parsed.fields["proto"] in (50, 51))


def kinds(parsed: Parsed) -> tuple[Kind | None, Kind]:
    """The list that is asked first, where conntrack can be asked, and the one that needs no look-up."""
    four = parsed.family is Family.IPV4
    if parsed.fragment:
        return None, Kind.IPV4_FRAGMENT if four else Kind.IPV6_FRAGMENT
    by_itself = Kind.IPV4 if four else Kind.IPV6
    if not parsed.look_up:
        return None, by_itself
    return (Kind.IPV4_NO_ENTRY if four else Kind.IPV6_NO_ENTRY), by_itself
