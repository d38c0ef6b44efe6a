"""What each match answers, by the kernel's own sources (net/netfilter/xt_*.c, ip_tables.c, ip6_tables.c).

An option's value is what the match table made of its words. A value of another shape, or an option
that is not listed here, answers maybe.
"""

from __future__ import annotations

from collections.abc import Callable

from ..fields import Family
from ..intervals import IntervalSet
from ..rules.model import Match, Option
from .answers import Answer, Sight, conjunction, known, opposite
from .extension_headers import frag, header_present, ipv6header
from .locality import addrtype, is_own_source
from .packet import ESP, ICMP, ICMP6, TCP

YES, NO, MAYBE = Answer.YES, Answer.NO, Answer.MAYBE

#: Testing these counts, remembers or logs something.
REMEMBERS = frozenset(
    ("limit", "hashlimit", "recent", "connlimit", "quota", "rateest", "nfacct", "set", "osf", "dccp_loss")
)
#: These read connection state (besides unknown matches, which might).
READS_STATE = frozenset(
    (
        "state", "conntrack", "connmark", "connbytes", "connlabel", "connlimit", "helper", "cluster", "ipvs",
        "socket", "ct",
    )
)  # fmt: skip

Evaluator = Callable[[Match, Sight], Answer]


def evaluate(match: Match, sight: Sight) -> Answer:
    evaluator = _EVALUATORS.get(match.name)
    return evaluator(match, sight) if evaluator and match.known else MAYBE


def remembers(match: Match) -> bool:
    if match.name == "set" and any(o.name == "--update-counters" and o.negated for o in match.options):
        return False
    if match.name == "statistic":
        mode = match.option("--mode")
        return mode is None or _first_word(mode) != "random"
    return match.name in REMEMBERS


def _first_word(option: Option) -> str:
    if option.words:
        return option.words[0].text
    return option.value if isinstance(option.value, str) else ""


def _every(match: Match, answer: Callable[[Option], Answer]) -> Answer:
    """All options must hold, each turned round where it says `!`."""
    return conjunction(opposite(answer(o)) if o.negated else answer(o) for o in match.options)


def _within(option: Option, value: int) -> Answer:
    return known(value in option.value) if isinstance(option.value, IntervalSet) else MAYBE


def _equal(option: Option, value: int) -> Answer:
    if isinstance(option.value, IntervalSet):
        return known(value in option.value)
    return known(value == option.value) if isinstance(option.value, int) else MAYBE


# The rule's own part: ip_packet_match, ip6_packet_match.
def _ip(match: Match, sight: Sight) -> Answer:
    packet = sight.packet

    def answer(option: Option) -> Answer:
        match option.name:
            case "-s":
                return _within(option, packet.src)
            case "-d":
                return _within(option, packet.dst)
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
        # What comes over lo is sent by this host, from an address of its own.
        own = is_own_source(sight.packet, sight.host)
        return MAYBE if own and (sight.flow_only or sight.packet.fragment) else NO
    if sight.interface is None or sight.packet.fragment:
        return MAYBE
    if sight.flow_only and sight.host.other_interfaces:
        return MAYBE
    if pattern.endswith("+"):
        return known(sight.interface.startswith(pattern[:-1]))
    return known(sight.interface == pattern)


def _ports(match: Match, sight: Sight) -> Answer:
    """tcp, udp, udplite, sctp, dccp and multiport."""
    packet = sight.packet
    ports = packet.ports
    if packet.fragment and not sight.reassembled:
        # Legacy says no to every later fragment, whatever the options.
        return MAYBE

    def answer(option: Option) -> Answer:
        if option.name in ("--tcp-flags", "--syn"):
            return _tcp_flags(option, sight)
        if ports is None:
            return MAYBE
        sport, dport = ports
        match option.name:
            case "--sport" | "--sports":
                return _within(option, sport)
            case "--dport" | "--dports":
                return _within(option, dport)
            case "--ports":
                either = {_within(option, sport), _within(option, dport)}
                return YES if YES in either else MAYBE if MAYBE in either else NO
        return MAYBE

    return _every(match, answer)


def _tcp_flags(option: Option, sight: Sight) -> Answer:
    packet = sight.packet
    if packet.protocol != TCP or not sight.reads("tcp"):
        return MAYBE
    value = (0x17, 0x02) if option.name == "--syn" else option.value
    if not (isinstance(value, tuple) and len(value) == 2):
        return MAYBE
    mask, wanted = value
    seen = {packet.tcp_flags}
    if packet.tcp_has_data and sight.host.interface.gro is not False:
        # GRO gives the merged segment the FIN and PSH of its last part.
        rest = packet.tcp_flags & ~0x09
        seen = {rest, rest | 0x01, rest | 0x08, rest | 0x09}
    answers = {flags & mask == wanted for flags in seen}
    return known(answers.pop()) if len(answers) == 1 else MAYBE


def _icmp(match: Match, sight: Sight) -> Answer:
    packet = sight.packet
    protocol = ICMP if packet.family is Family.IPV4 else ICMP6
    if packet.fragment or packet.protocol != protocol:
        return MAYBE if match.options or not sight.reassembled else YES
    return _every(match, lambda o: _within(o, packet.icmp))


def _iprange(match: Match, sight: Sight) -> Answer:
    packet = sight.packet
    values = {"--src-range": packet.src, "--dst-range": packet.dst}
    return _every(match, lambda o: _within(o, values[o.name]) if o.name in values else MAYBE)


def _mac(match: Match, sight: Sight) -> Answer:
    if not sight.reads("mac"):
        return MAYBE
    return _every(match, lambda o: _equal(o, sight.packet.mac_src))


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

    return _every(match, answer)


def _tos(match: Match, sight: Sight) -> Answer:
    if not sight.reads("tos"):
        return MAYBE

    def answer(option: Option) -> Answer:
        if not (isinstance(option.value, tuple) and len(option.value) == 2):
            return MAYBE
        value, mask = option.value
        return known(sight.packet.tos & mask == value)

    return _every(match, answer)


def _dscp(match: Match, sight: Sight) -> Answer:
    if not sight.reads("tos"):
        return MAYBE
    return _every(match, lambda o: _equal(o, sight.packet.tos >> 2))


def _ecn(match: Match, sight: Sight) -> Answer:
    if not sight.reads("tos"):
        return MAYBE
    return _every(match, lambda o: _equal(o, sight.packet.tos & 3) if o.name == "--ecn-ip-ect" else MAYBE)


def _length(match: Match, sight: Sight) -> Answer:
    if not sight.reads("length") or sight.host.interface.gro is not False:
        return MAYBE
    return _every(match, lambda o: _within(o, sight.packet.length))


def _pkttype(match: Match, sight: Sight) -> Answer:
    if not sight.reads("pkttype"):
        return MAYBE
    return _every(match, lambda o: _equal(o, sight.packet.pkttype))


def _ah(match: Match, sight: Sight) -> Answer:
    packet = sight.packet
    if packet.family is Family.IPV6:
        # An AH header never gets as far as here (packet.py), so there is none; in a fragment, who knows.
        return MAYBE if packet.fragment else NO
    return _spi(match, sight, "--ahspi", 4)


def _esp(match: Match, sight: Sight) -> Answer:
    if sight.packet.protocol != ESP:
        return MAYBE
    return _spi(match, sight, "--espspi", 0)


def _spi(match: Match, sight: Sight, name: str, at: int) -> Answer:
    # The SPI is no part of conntrack's idea of a flow.
    if not sight.reads("spi"):
        return MAYBE
    spi = int.from_bytes(sight.packet.l4[at : at + 4])
    return _every(match, lambda o: _within(o, spi) if o.name == name else MAYBE)


def _policy(match: Match, sight: Sight) -> Answer:
    """Nothing is decrypted yet when it comes off the wire."""
    words = {o.name: _first_word(o) for o in match.options}
    if any(o.negated for o in match.options) or words.get("--dir") != "in":
        return MAYBE
    match words.get("--pol"):
        case "ipsec":
            return NO
        case "none" if len(words) == 2:
            return YES
    return MAYBE


_EVALUATORS: dict[str, Evaluator] = {
    "ip": _ip,
    **dict.fromkeys(("tcp", "udp", "udplite", "sctp", "dccp", "multiport"), _ports),
    "icmp": _icmp,
    "icmp6": _icmp,
    "icmpv6": _icmp,
    "iprange": _iprange,
    "mac": _mac,
    "ttl": _ttl,
    "hl": _ttl,
    "tos": _tos,
    "dscp": _dscp,
    "length": _length,
    "pkttype": _pkttype,
    "ah": _ah,
    "esp": _esp,
    "policy": _policy,
    "ipv6header": ipv6header,
    "frag": frag,
    "hbh": header_present,
    "dst": header_present,
    "rt": header_present,
    "ecn": _ecn,
    "addrtype": addrtype,
    "comment": lambda match, sight: YES,
}
