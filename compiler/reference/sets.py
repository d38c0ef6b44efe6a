"""`-m set` on one packet: look the packet up in each set's entries, one after the other.

By net/netfilter/ipset: xt_set.c (match_set), ip_set_core.c (ip_set_test), ip_set_getport.c, and the kadt
functions of the set types. An entry is read anew for each packet: slow, and nothing to get out of step.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_network

from ..fields import Family
from ..host.facts import HostFacts
from ..host.ipsets import IpSet
from ..rules.model import Match, Ruleset
from ..rules.names import protocol_number
from .answers import Answer, Sight, known, opposite
from .packet import ICMP, ICMP6, NONE, SCTP, TCP, UDP, UDPLITE, Packet

YES, NO, MAYBE = Answer.YES, Answer.NO, Answer.MAYBE
_TYPES = {
    "hash:ip": "ip", "hash:net": "net", "hash:ip,port": "ip port", "hash:net,port": "net port",
    "hash:ip,port,ip": "ip port ip", "hash:ip,port,net": "ip port net", "hash:net,iface": "net iface",
    "bitmap:ip": "ip", "bitmap:port": "number",
}  # fmt: skip


def set_match(match: Match, sight: Sight) -> Answer:
    option = match.option("--match-set")
    if option is None or len(option.words) != 2:
        return MAYBE
    name, ends = option.words[0].text, option.words[1].text.split(",")
    answer = _in(name, ends, sight)
    if any(o.name.startswith(("--packets", "--bytes", "--return")) for o in match.options):
        answer = answer if answer is NO and match.option("--return-nomatch") is None else MAYBE
    return opposite(answer) if option.negated else answer


def counts(match: Match, sight: Sight) -> bool:
    """Whether a counter of a set may go up."""
    if any(o.name == "--update-counters" and o.negated for o in match.options):
        return False
    option = match.option("--match-set")
    if option is None or len(option.words) != 2:
        return True
    name, ends = option.words[0].text, option.words[1].text.split(",")
    involved = [_find(name, sight.host)]
    if involved[0] is not None and involved[0].kind == "list:set":
        involved += [_find(e.split()[0], sight.host) for e in involved[0].entries]
    if any(s is None or s.kind not in (*_TYPES, "list:set") for s in involved):
        return True
    counting = any(s is not None and "counters" in s.options for s in involved)
    excepting = any(s is not None and any("nomatch" in e.split() for e in s.entries) for s in involved)
    return counting and (excepting or _in(name, ends, sight) is not NO)


def filled(rulesets: Iterable[Ruleset]) -> frozenset[str]:
    """Sets that a rule adds to or takes from while packets pass."""
    targets = [r.target for s in rulesets for r in s.rules() if r.target and r.target.name == "SET"]
    return frozenset(o.words[0].text for t in targets for o in t.options if o.words)


def _find(name: str, host: HostFacts) -> IpSet | None:
    return next((s for s in host.ipsets or () if s.name == name), None)


def _in(name: str, ends: list[str], sight: Sight) -> Answer:
    found = _find(name, sight.host)
    if found is None or name in sight.filled:
        return MAYBE
    expires = "timeout" in found.options
    if found.kind == "list:set":
        answers = [_in_member(e, ends, name in sight.filled, sight) for e in found.entries]
    elif found.kind in _TYPES:
        answers = [_in_plain(found, ends, sight)]
    else:
        return MAYBE
    if YES in answers:
        return YES
    return MAYBE if expires or MAYBE in answers else NO


def _in_member(entry: str, ends: list[str], moving: bool, sight: Sight) -> Answer:
    name, *rest = entry.split()
    answer = _in(name, ends, sight)
    lasting = not moving and rest in ([], ["timeout", "0"])
    return answer if lasting or answer is NO else MAYBE


def _in_plain(held: IpSet, ends: list[str], sight: Sight) -> Answer:
    parts = _TYPES[held.kind].split()
    if {"netmask", "bitmask"} & set(held.options) and held.kind not in ("hash:ip", "bitmap:ip"):
        return MAYBE
    if "bitmask" in held.options:
        return MAYBE
    six = "inet6" in held.options
    if len(ends) < len(parts):
        return NO
    if held.kind != "bitmap:port" and six != (sight.packet.family is Family.IPV6):
        return NO
    seen: list[tuple[int, Answer, bool]] = []  # longest prefix first; nomatch
    for entry in _candidates(held, parts[0], sight.packet, ends[0]):
        elements, *rest = entry.split()
        answer, length = _equals(held, parts, elements, rest, ends, sight)
        if answer is not NO:
            lasting = "timeout" not in rest or rest[rest.index("timeout") + 1] == "0"
            seen.append((-length, answer if lasting else MAYBE, "nomatch" in rest))
    if not seen:
        return NO
    longest = min(length for length, _, _ in seen)
    verdicts = {nomatch for length, _, nomatch in seen if length == longest}
    if len(verdicts) > 1 or any(answer is MAYBE for _, answer, _ in seen):
        return MAYBE
    return known(not verdicts.pop())


def _candidates(held: IpSet, part: str, packet: Packet, end: str) -> Iterable[str]:
    """Entries whose first address may be the packet's."""
    if part not in ("ip", "net") or "netmask" in held.options:
        return held.entries
    address = packet.src if end == "src" else packet.dst
    by_length = _by_length(held)
    networks = (address >> (packet.bits - n) << (packet.bits - n) for n in by_length)
    return [e for n, network in zip(by_length, networks, strict=True) for e in by_length[n].get(network, ())]


@lru_cache(maxsize=64)
def _by_length(held: IpSet) -> dict[int, dict[int, list[str]]]:
    """As the kernel does it: a table for each length of prefix."""
    tables: dict[int, dict[int, list[str]]] = {}
    for entry in held.entries:
        first, _, length = _network(entry.split()[0].split(",")[0])
        tables.setdefault(length, {}).setdefault(first, []).append(entry)
    return tables


def _equals(
    held: IpSet, parts: list[str], elements: str, rest: list[str], ends: list[str], sight: Sight
) -> tuple[Answer, int]:
    """Whether the packet is this element, and the length of its prefix."""
    answer, length = YES, 0
    texts = elements.split(",") if len(parts) > 1 else [elements]
    for part, text, end in zip(parts, texts, ends, strict=False):
        if part in ("ip", "net"):
            cut = held.options[held.options.index("netmask") + 1] if "netmask" in held.options else ""
            first, last, prefix = _network(f"{text}/{cut}" if cut and "/" not in text else text)
            if not first <= (sight.packet.src if end == "src" else sight.packet.dst) <= last:
                return NO, 0
            length += prefix if part == "net" else 0
            if held.kind.startswith("hash:") and part == "ip" and first == 0:
                answer = MAYBE
        else:
            one = {"port": _is_port, "number": _is_number, "iface": _is_interface}[part](
                text, end, "wildcard" in rest, sight
            )
            if one is NO:
                return NO, 0
            answer = one if one is MAYBE else answer
    return answer, length


@lru_cache(maxsize=4096)
def _network(text: str) -> tuple[int, int, int]:
    network = ip_network(text, strict=False)
    return int(network.network_address), int(network.broadcast_address), network.prefixlen


def _is_port(text: str, end: str, _: bool, sight: Sight) -> Answer:
    packet = sight.packet
    name, _colon, port = text.partition(":")
    number = protocol_number(name)
    if number == 0 or (number == NONE and packet.family is Family.IPV6):
        return NO  # no protocol at all
    if packet.fragment and packet.family is Family.IPV6:
        return MAYBE  # what it says of its protocol may not be the last word
    if packet.protocol != number:
        return NO
    if packet.fragment:
        return MAYBE  # its ports are not read
    if number in (TCP, UDP, SCTP, UDPLITE):
        if sight.flow_only and number not in (TCP, UDP):
            return MAYBE
        ports = packet.ports
        return known(ports is not None and ports[end != "src"] == int(port))
    if number in (ICMP, ICMP6):
        if not port.replace("/", "").isdecimal():
            return _is_named(port, packet)
        kind, slash, code = port.partition("/")
        return known(packet.icmp == (int(kind) << 8 | int(code) if slash else int(kind)))
    return known(int(port) == 0)


#: Those of ipset's names that its users write; the others are maybe.
_NAMED = {
    ICMP: {"echo-request": 0x0800, "echo-reply": 0, "port-unreachable": 0x0303, "host-unreachable": 0x0301,
           "network-unreachable": 0x0300, "fragmentation-needed": 0x0304},
    ICMP6: {"echo-request": 0x8000, "echo-reply": 0x8100, "no-route": 0x0100, "port-unreachable": 0x0104,
            "packet-too-big": 0x0200},
}  # fmt: skip


def _is_named(name: str, packet: Packet) -> Answer:
    value = _NAMED[packet.protocol].get(name)
    return MAYBE if value is None else known(packet.icmp == value)


def _is_number(text: str, end: str, _: bool, sight: Sight) -> Answer:
    packet = sight.packet
    if packet.fragment and packet.family is Family.IPV6:
        return MAYBE
    if packet.protocol not in (TCP, UDP):
        return NO
    if packet.fragment:
        return MAYBE
    if packet.ports is None:
        return NO
    return known(packet.ports[end != "src"] == int(text))


def _is_interface(text: str, end: str, wildcard: bool, sight: Sight) -> Answer:
    if end != "src":
        return NO
    unsure = sight.flow_only and sight.host.other_interfaces
    if text.startswith("physdev:") or sight.interface is None or sight.packet.fragment or unsure:
        return MAYBE
    return known(sight.interface.startswith(text) if wildcard else sight.interface == text)
