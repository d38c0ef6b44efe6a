"""What each match answers, by the kernel's own sources (net/netfilter/xt_*.c, ip_tables.c, ip6_tables.c).

An option's value is what the match table made of its words. A value of another shape, or an option
that is not listed here, answers maybe.
"""

from __future__ import annotations

from collections.abc import Callable

from ..fields import Family
from ..rules.model import Match, Option
from . import connection
from .answers import Answer, Sight, conjunction, known, opposite
from .extension_headers import frag, header_present, ipv6header
from .locality import addrtype, is_own_source
from .options import equal, every, first_word, within
from .sets import counts, set_match
from .transport import ah, esp, icmp, ports, tcpmss

YES, NO, MAYBE = Answer.YES, Answer.NO, Answer.MAYBE

#: Testing these counts, remembers or logs something.
REMEMBERS = frozenset(
    ("limit", "hashlimit", "recent", "connlimit", "quota", "rateest", "nfacct", "osf", "dccp_loss")
)
#: These read connection state (besides unknown matches, which might).
READS_STATE = frozenset(
    (
        "state", "conntrack", "connmark", "connbytes", "connlabel", "connlimit", "helper", "cluster", "ipvs",
        "socket", "ct",
    )
)  # fmt: skip

_WRITES = {"--set", "--update", "--remove", "--reap"}

Evaluator = Callable[[Match, Sight], Answer]


def evaluate(match: Match, sight: Sight) -> Answer:
    evaluator = _EVALUATORS.get(match.name)
    return evaluator(match, sight) if evaluator and match.known else MAYBE


def remembers(match: Match, sight: Sight) -> bool:
    if match.name == "set":
        return counts(match, sight)
    if match.name == "recent":
        # recent_mt without --set, --update, --remove and --reap only looks.
        return {o.name for o in match.options} & _WRITES != set() or match.option("--rcheck") is None
    if match.name == "statistic":
        mode = match.option("--mode")
        return mode is None or first_word(mode) != "random"
    if match.name == "bpf":  # classic bytecode has no maps
        return any(o.name != "--bytecode" for o in match.options)
    return match.name in REMEMBERS


# The rule's own part: ip_packet_match, ip6_packet_match.
def _ip(match: Match, sight: Sight) -> Answer:
    packet = sight.packet

    def answer(option: Option) -> Answer:
        match option.name:
            case "-s":
                return within(option, packet.src)
            case "-d":
                return within(option, packet.dst)
            case "-p":
                return _protocol(option, sight)
            case "-i":
                return _interface(option, sight)
            case "-f" | "--fragment":
                return MAYBE if packet.fragment and not sight.reassembled else NO
        return MAYBE

    answers = []
    for option in match.options:
        if option.name == "-o":  # there is no output device yet, and kernels differ in what `!` makes of that
            everything = option.value == "+"
            answers.append(MAYBE if option.negated else known(everything))
        else:
            answers.append(opposite(answer(option)) if option.negated else answer(option))
    return conjunction(answers)


def _protocol(option: Option, sight: Sight) -> Answer:
    packet = sight.packet
    if not isinstance(option.value, int):
        return MAYBE
    if option.value == 0:
        # -p all. IPv6 -p 0 is the same: hop-by-hop options are never the last header.
        return YES
    if packet.family is Family.IPV6 and packet.fragment and (packet.later_fragment or sight.conntrack):
        # Not part of what joins IPv6 fragments: after reassembly the first one's header counts.
        return MAYBE
    return known(packet.protocol == option.value)


def _interface(option: Option, sight: Sight) -> Answer:
    pattern = option.value
    if not isinstance(pattern, str):
        return MAYBE
    if pattern == "+":
        return YES
    if pattern == "lo":
        # What comes over lo is sent by this host. With one interface, what claims an own address there is a
        # martian and no part of the flow that has it over lo.
        elsewhere = sight.packet.fragment or (sight.flow_only and sight.host.other_interfaces)
        return MAYBE if elsewhere and is_own_source(sight.packet, sight.host) else NO
    if sight.interface is None or sight.packet.fragment:
        return MAYBE
    if sight.flow_only and sight.host.other_interfaces:
        return MAYBE
    if pattern.endswith("+"):
        return known(sight.interface.startswith(pattern[:-1]))
    return known(sight.interface == pattern)


def _iprange(match: Match, sight: Sight) -> Answer:
    packet = sight.packet
    values = {"--src-range": packet.src, "--dst-range": packet.dst}
    return every(match, lambda o: within(o, values[o.name]) if o.name in values else MAYBE)


def _mac(match: Match, sight: Sight) -> Answer:
    if not sight.reads("mac"):
        return MAYBE
    return every(match, lambda o: equal(o, sight.packet.mac_src))


def _ttl(match: Match, sight: Sight) -> Answer:
    if not sight.reads("ttl"):
        return MAYBE
    ttl = sight.packet.ttl

    def answer(option: Option) -> Answer:
        if not isinstance(option.value, int):
            return MAYBE
        match option.name:
            case "--ttl-eq" | "--hl-eq" | "--ttl" | "--hl":
                return known(ttl == option.value)
            case "--ttl-lt" | "--hl-lt":
                return known(ttl < option.value)
            case "--ttl-gt" | "--hl-gt":
                return known(ttl > option.value)
        return MAYBE

    return every(match, answer)


def _tos(match: Match, sight: Sight) -> Answer:
    if not sight.reads("tos"):
        return MAYBE

    def answer(option: Option) -> Answer:
        if not (isinstance(option.value, tuple) and len(option.value) == 2):
            return MAYBE
        value, mask = option.value
        return known(sight.packet.tos & mask == value)

    return every(match, answer)


def _dscp(match: Match, sight: Sight) -> Answer:
    if not sight.reads("tos"):
        return MAYBE
    return every(match, lambda o: equal(o, sight.packet.tos >> 2))


def _ecn(match: Match, sight: Sight) -> Answer:
    if not sight.reads("tos"):
        return MAYBE
    return every(match, lambda o: equal(o, sight.packet.tos & 3) if o.name == "--ecn-ip-ect" else MAYBE)


def _length(match: Match, sight: Sight) -> Answer:
    if not sight.reads("length") or sight.host.interface.gro is not False:
        return MAYBE
    return every(match, lambda o: within(o, sight.packet.length))


def _pkttype(match: Match, sight: Sight) -> Answer:
    if not sight.reads("pkttype"):
        return MAYBE
    if sight.host.interface.odd_broadcast and sight.packet.pkttype:
        return MAYBE
    return every(match, lambda o: equal(o, sight.packet.pkttype))


def _mark(match: Match, sight: Sight) -> Answer:
    """What a NIC hands up has mark 0; who could have changed that since?"""
    host = sight.host
    others = host.ipsec or host.interface.tc_ingress or host.interface.uppers or host.bpf_netfilter
    strange = any(not t.harmless for t in host.native_tables if t.family != "arp")
    if host.interface.kind or others or strange or "mark" in sight.changed:
        return MAYBE

    def answer(option: Option) -> Answer:
        if not isinstance(option.value, tuple):
            return MAYBE
        value, mask = option.value
        return known(0 & mask == value)

    return every(match, answer)


def _physdev(match: Match, sight: Sight) -> Answer:
    if sight.host.interface.kind not in ("", "veth") or sight.host.interface.uppers:
        return MAYBE
    return every(match, lambda o: NO)


def _policy(match: Match, sight: Sight) -> Answer:
    """Nothing is decrypted yet when it comes off the wire."""
    words = {o.name: first_word(o) for o in match.options}
    if sight.host.ipsec or any(o.negated for o in match.options) or words.get("--dir") != "in":
        return MAYBE
    match words.get("--pol"):
        case "ipsec":
            return NO
        case "none" if len(words) == 2:
            return YES
    return MAYBE


_EVALUATORS: dict[str, Evaluator] = {
    "ip": _ip,
    **dict.fromkeys(("tcp", "udp", "udplite", "sctp", "dccp", "multiport"), ports),
    "tcpmss": tcpmss,
    "icmp": icmp,
    "icmp6": icmp,
    "icmpv6": icmp,
    "iprange": _iprange,
    "mac": _mac,
    "ttl": _ttl,
    "hl": _ttl,
    "tos": _tos,
    "dscp": _dscp,
    "length": _length,
    "pkttype": _pkttype,
    "ah": ah,
    "esp": esp,
    "policy": _policy,
    "ipv6header": ipv6header,
    "frag": frag,
    "hbh": header_present,
    "dst": header_present,
    "rt": header_present,
    "ecn": _ecn,
    "addrtype": addrtype,
    "state": connection.state,
    "conntrack": connection.state,
    "mark": _mark,
    "set": set_match,
    "physdev": _physdev,
    "comment": lambda match, sight: YES,
}
