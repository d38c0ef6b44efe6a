"""Is a packet delivered on this host? And is its source one of ours?"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_network

from ..fields import Family
from ..host.facts import HostFacts
from ..rules.model import Match
from .answers import Answer, Sight, conjunction, known, opposite
from .packet import Packet

_LIMITED_BROADCAST = 0xFFFFFFFF


@lru_cache(maxsize=1024)
def _bounds(prefix: str) -> tuple[int, int]:
    network = ip_network(prefix, strict=False)
    return int(network.network_address), int(network.broadcast_address)


def _in_any(address: int, prefixes: Iterable[str]) -> bool:
    return any(lo <= address <= hi for lo, hi in map(_bounds, prefixes))


def is_own_source(packet: Packet, host: HostFacts) -> bool:
    if packet.family is Family.IPV4:
        return packet.src >> 24 in (0, 127) or _in_any(packet.src, host.local4)
    return packet.src in (0, 1) or _in_any(packet.src, host.local6)


def addrtype(match: Match, sight: Sight) -> Answer:
    answers = []
    for option in match.options:
        ends = {"--src-type": sight.packet.src, "--dst-type": sight.packet.dst}
        if option.name not in ends:
            return Answer.MAYBE
        kinds = set(",".join(w.text for w in option.words).upper().split(","))
        of_family = _addrtype4 if sight.packet.family is Family.IPV4 else _addrtype6
        answer = of_family(ends[option.name], kinds, sight.host)
        answers.append(opposite(answer) if option.negated else answer)
    return conjunction(answers)


def _addrtype4(address: int, kinds: set[str], host: HostFacts) -> Answer:
    """inet_addr_type"""
    if address in (0, _LIMITED_BROADCAST):  # since Linux 5.3 the rest of 0.0.0.0/8 is like any other
        return known("BROADCAST" in kinds)
    if address >> 28 == 0xE:
        return known("MULTICAST" in kinds)
    if not host.local4 or _in_any(address, host.unclear4):
        return Answer.MAYBE
    routes = [("LOCAL", p) for p in host.local4] + [("BROADCAST", p) for p in host.broadcast4]
    found = {kind for kind, p in routes if p.endswith("/32") and _in_any(address, (p,))}
    if len(found) == 1:
        return known(found.pop() in kinds)
    # Wider prefixes may hold more specific routes of the table "main".
    return Answer.MAYBE if found or _in_any(address, (p for _, p in routes)) else known("UNICAST" in kinds)


def _addrtype6(address: int, kinds: set[str], host: HostFacts) -> Answer:
    """match_type6"""
    multicast = address >> 120 == 0xFF
    mapped = address >> 32 == 0xFFFF
    fixed = {"MULTICAST": multicast, "UNSPEC": address == 0}
    fixed["UNICAST"] = not (multicast or mapped or address == 0)
    if not all(fixed[k] for k in kinds & fixed.keys()):
        return Answer.NO
    rest = kinds - fixed.keys()
    if not rest:
        return Answer.YES
    if not host.local6 or "LOCAL" not in rest or _in_any(address, host.unclear6):
        return Answer.MAYBE
    here = [p for p in host.local6 if _in_any(address, (p,))]
    if any(p.endswith("/128") for p in here) and host.local_first6:
        return Answer.YES if rest <= {"LOCAL", "ANYCAST", "UNREACHABLE"} else Answer.MAYBE
    # A link-local address may be another interface's.
    return Answer.NO if rest == {"LOCAL"} and not here and address >> 118 != 0x3FA else Answer.MAYBE


def why_not_local(packet: Packet, host: HostFacts, tos_rewritten: bool) -> str:
    """Why the packet may go elsewhere; empty where an INPUT chain's drop is the last word."""
    if host.log_martians:
        return "log_martians may log it"
    four = packet.family is Family.IPV4
    if host.fwmark_rules4 if four else host.fwmark_rules6:
        return "routing rules by fwmark"
    if tos_rewritten and (host.tos_rules4 if four else host.tos_rules6):
        return "routing rules by tos, which is rewritten before"
    return _why_not_local4(packet, host) if four else _why_not_local6(packet, host)


def _why_not_local4(packet: Packet, host: HostFacts) -> str:
    dst = packet.dst
    if dst >> 28 == 0xE:
        return "multicast routing" if host.mc_forwarding4 else ""
    if dst == _LIMITED_BROADCAST or _in_any(dst, host.broadcast4):
        return "directed broadcasts are forwarded" if host.bc_forwarding else ""
    if _in_any(dst, host.local4):
        return ""
    # A host that forwards nowhere drops what is for another in silence.
    return "not for this host" if host.forwards4 or not host.local4 else ""


def _why_not_local6(packet: Packet, host: HostFacts) -> str:
    if packet.dst >> 120 == 0xFF:
        return "multicast routing" if host.mc_forwarding6 else ""
    return "" if _in_any(packet.dst, host.local6) else "not for this host"
