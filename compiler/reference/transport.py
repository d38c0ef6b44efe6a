"""The matches on transport headers: xt_tcpudp.c, xt_sctp.c, xt_multiport.c, xt_esp.c, ipt_ah.c and so on."""

from __future__ import annotations

from ..fields import Family
from ..intervals import IntervalSet
from ..rules.model import Match, Option
from .answers import Answer, Sight, known
from .options import every, within
from .packet import ESP, ICMP, ICMP6, TCP

YES, NO, MAYBE = Answer.YES, Answer.NO, Answer.MAYBE


def ports(match: Match, sight: Sight) -> Answer:
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
                return within(option, sport)
            case "--dport" | "--dports":
                return within(option, dport)
            case "--ports":
                either = {within(option, sport), within(option, dport)}
                return YES if YES in either else MAYBE if MAYBE in either else NO
        return MAYBE

    return every(match, answer)


def _tcp_flags(option: Option, sight: Sight) -> Answer:
    packet = sight.packet
    if packet.protocol != TCP or not sight.reads("tcp"):
        return MAYBE
    value = (0x17, 0x02) if option.name == "--syn" else option.value
    if not (isinstance(value, tuple) and len(value) == 2):
        return MAYBE
    mask, wanted = value
    seen = {packet.tcp_flags}
    if packet.tcp_has_data and not packet.tcp_flags & 0x26 and sight.host.interface.gro is not False:
        # GRO gives the merged segment the FIN and PSH of its last part; SYN, RST and URG are never merged.
        rest = packet.tcp_flags & ~0x09
        seen = {rest, rest | 0x01, rest | 0x08, rest | 0x09}
    answers = {flags & mask == wanted for flags in seen}
    return known(answers.pop()) if len(answers) == 1 else MAYBE


def tcpmss(match: Match, sight: Sight) -> Answer:
    packet = sight.packet
    if packet.fragment or packet.protocol != TCP or not sight.reads("tcp"):
        return MAYBE
    header = (packet.l4[12] >> 4) * 4
    if header < 20 or header > len(packet.l4):
        return MAYBE
    mss = _mss(packet.l4[20:header])
    # Without the option, a negated test holds.
    return every(match, lambda o: NO if mss is None else within(o, mss))


def _mss(options: bytes) -> int | None:
    at = 0
    while at < len(options):
        if options[at : at + 2] == b"\x02\x04" and len(options) - at >= 4:
            return int.from_bytes(options[at + 2 : at + 4])
        at += 1 if options[at] < 2 or at + 1 == len(options) else options[at + 1] or 1
    return None


def icmp(match: Match, sight: Sight) -> Answer:
    packet = sight.packet
    protocol = ICMP if packet.family is Family.IPV4 else ICMP6
    if packet.fragment and sight.reassembled:
        # A first fragment has eight bytes at least, so the datagram has a header; its type is not known here.
        return every(match, lambda o: _any(o.value, 16) if o.name.endswith("-type") else MAYBE)
    if packet.fragment or packet.protocol != protocol:
        return MAYBE
    return every(match, lambda o: within(o, packet.icmp))


def _any(value: object, bits: int) -> Answer:
    return YES if isinstance(value, IntervalSet) and value.is_full(bits) else MAYBE


def ah(match: Match, sight: Sight) -> Answer:
    packet = sight.packet
    if packet.family is Family.IPV6:
        # An AH header never gets as far as here (packet.py), so there is none; in a fragment, who knows.
        return MAYBE if packet.fragment else NO
    return _spi(match, sight, "--ahspi", 4)


def esp(match: Match, sight: Sight) -> Answer:
    if sight.packet.protocol != ESP:
        return MAYBE
    return _spi(match, sight, "--espspi", 0)


def _spi(match: Match, sight: Sight, name: str, at: int) -> Answer:
    packet = sight.packet
    if packet.fragment and not sight.reassembled:
        return MAYBE
    # A packet too short for the header is dropped at once (hotdrop), whatever the rule does.
    whatever = every(match, lambda o: _any(o.value, 32) if o.name == name else MAYBE)
    # The SPI is no part of conntrack's idea of a flow.
    if whatever is not MAYBE or packet.fragment or not sight.reads("spi"):
        return whatever
    spi = int.from_bytes(packet.l4[at : at + 4])
    return every(match, lambda o: within(o, spi) if o.name == name else MAYBE)
