"""How matches become conditions, where "the conjunction of the options' sets" does not say it all."""

from __future__ import annotations

from collections.abc import Callable

from ..fields import FIELDS, Family
from ..intervals import IntervalSet
from ..rules.model import Match, Option
from .condition import NO, NOTHING, YES, Condition, Cube
from .view import View

TCP, UDP, ICMP, ICMPV6, ESP, AH = 6, 17, 1, 58, 50, 51


def negate(option: Option, allowed: IntervalSet, bits: int) -> IntervalSet:
    return allowed.complement(bits) if option.negated else allowed


def field_test(option: Option, name: str, view: View) -> Condition:
    """The default: the option's value is a set on one field."""
    value = option.value
    if value is None:
        return Condition.maybe(f"the value of {option.name} is not known here")
    allowed = value if isinstance(value, IntervalSet) else IntervalSet.of(value)
    return view.test(name, negate(option, allowed, FIELDS[name].width(view.family)))


def header(match: Match, view: View) -> Condition:
    """-s -d -p -i -o -f, kernel: ip_packet_match, ip6_packet_match."""
    result = YES
    for option in match.options:
        result &= _HEADER[option.name](option, view)
    return result


def _protocol(option: Option, view: View) -> Condition:
    if option.value == 0:  # "all"; iptables refuses its negation
        return NO if option.negated else YES
    return field_test(option, "proto", view)


def _in_interface(option: Option, view: View) -> Condition:
    pattern = str(option.value)
    if pattern == "+":
        return NO if option.negated else YES
    if view.interface is None:
        return Condition.maybe("the interface is not given (--interface)")
    if view.flow_only and not view.one_interface:
        return Condition.maybe("connections are tracked, and another interface could bring the same one")
    if view.kind.is_fragment:
        return Condition.maybe("a fragment is judged by source, destination and protocol only")
    hit = view.interface.startswith(pattern[:-1]) if pattern.endswith("+") else view.interface == pattern
    return YES if hit != option.negated else NO


def _out_interface(option: Option, view: View) -> Condition:
    """There is no output device before or in INPUT; what a negation makes of that differs between
    legacy, nft and kernel versions."""
    if option.negated or str(option.value) == "+":
        return Condition.maybe("there is no output device here, and kernels differ on what that matches")
    return NO


def _fragment(option: Option, view: View) -> Condition:
    """-f: IPv4 is reassembled before INPUT, and before PREROUTING where connections are tracked."""
    if not view.kind.is_fragment or view.hook == "INPUT":
        return YES if option.negated else NO
    return Condition.maybe("whether PREROUTING sees fragments depends on connection tracking")


_HEADER = {
    "-s": lambda o, v: field_test(o, "src", v),
    "-d": lambda o, v: field_test(o, "dst", v),
    "-p": _protocol,
    "-i": _in_interface,
    "-o": _out_interface,
    "-f": _fragment,
}


def with_header(number: int, view: View) -> Condition:
    """The protocol, of a packet that shows its header: a match of legacy iptables that looks for one never
    holds on a later fragment, whatever it asks for (tcp_mt, udp_mt, icmp_match, ... by par->fragoff)."""
    result = view.test("proto", IntervalSet.of(number))
    return result & of_header(view)


def of_header(view: View) -> Condition:
    """INPUT sees whole datagrams, and so does PREROUTING where connections are tracked."""
    if view.kind.is_fragment and view.hook != "INPUT":
        return Condition.maybe("a later fragment does not have the header that this match looks for")
    return YES


def tcp(match: Match, view: View) -> Condition:
    result = with_header(TCP, view)
    for option in match.options:
        if option.name in ("--sport", "--dport"):
            result &= field_test(option, option.name[2:], view)
        elif option.name in ("--tcp-flags", "--syn"):
            mask, comp = (0x17, 0x02) if option.name == "--syn" else option.value
            allowed = IntervalSet.of(*(v for v in range(512) if v & mask == comp))
            result &= view.test("tcp_flags", negate(option, allowed, 9))
        else:
            result &= Condition.maybe("TCP options are not walked")
    return result


NO_OPTIONS, OTHER_FIRST = 0x10000, 0x10001


def tcpmss(match: Match, view: View) -> Condition:
    """tcpmss_mt: without the option only the negation holds."""
    result = with_header(TCP, view)
    for option in match.options:
        if option.value is None:
            return Condition.maybe("the value of --mss is not known here")
        sure = negate(option, option.value, 16)
        if option.negated:
            sure |= IntervalSet.of(NO_OPTIONS)
        yes, may = view.test("mss", sure), view.test("mss", sure | IntervalSet.of(OTHER_FIRST))
        why = (*may.why, "the MSS is not the first TCP option")
        result &= Condition(yes.yes, may.may, why)
    return result


def protocol_ports(number: int) -> Callable[[Match, View], Condition]:
    """Ports under one protocol; anything else such a match tests is maybe."""

    def lowered(match: Match, view: View) -> Condition:
        result = with_header(number, view)
        for option in match.options:
            if option.name in ("--sport", "--dport"):
                ports = field_test(option, option.name[2:], view)
                result &= ports if number == UDP else _in_one_flow(ports, view)
            else:
                result &= Condition.maybe(f"{option.name} is not read")
        return result

    return lowered


#: nf_conntrack_tuple has the ports of these; those of others depend on how the kernel was built.
_PORTS_IN_TUPLE = IntervalSet.of(TCP, UDP)


def _in_one_flow(ports: Condition, view: View) -> Condition:
    """Where connections are tracked, a test of ports is certain only if they belong to the flow."""
    if not view.flow_only:
        return ports
    tracked = view.test("proto", _PORTS_IN_TUPLE)
    others = view.test("proto", _PORTS_IN_TUPLE.complement(8))
    why = "connections are tracked, and only those of TCP and UDP by their ports"
    return Condition((ports & tracked).yes, (*ports.may, *others.may), (*ports.why, why))


def icmp(match: Match, view: View) -> Condition:
    result = with_header(ICMP if view.family is Family.IPV4 else ICMPV6, view)
    for option in match.options:
        result &= field_test(option, "icmp", view)
    return result


def multiport(match: Match, view: View) -> Condition:
    """--ports: either end; its negation: neither (multiport_mt in xt_multiport.c)."""
    result = of_header(view)
    for option in match.options:
        if option.value is None:
            return Condition.maybe(f"the value of {option.name} is not known here")
        if option.name != "--ports":
            result &= field_test(option, option.name[2:-1], view)
            continue
        inside = option.value
        outside = inside.complement(16)
        if option.negated:
            result &= view.test("sport", outside) & view.test("dport", outside)
        elif view.unreadable("sport"):
            result &= Condition.maybe(view.unreadable("sport"))
        else:
            cubes = [Cube.of({"sport": inside}), Cube.of({"sport": outside, "dport": inside})]
            result &= Condition.certain(cubes)
    return _in_one_flow(result, view)


def ttl(match: Match, view: View) -> Condition:
    result = YES
    for option in match.options:
        value, how = option.value, option.name[-2:]
        allowed = {
            "eq": IntervalSet.of(value),
            "lt": IntervalSet.range(0, value - 1),
            "gt": IntervalSet.range(value + 1, 255),
        }[how]
        result &= view.test("ttl", negate(option, allowed, 8))
    return result


def pkttype(match: Match, view: View) -> Condition:
    """eth_type_trans compares with the broadcast address that the device has been given."""
    result = YES
    for option in match.options:
        tested = field_test(option, "pkttype", view)
        groups = view.test("pkttype", IntervalSet.of(1, 2))
        if view.host.interface.odd_broadcast and option.value in (1, 2):
            unicast = view.test("pkttype", IntervalSet.of(0)).yes if option.negated else NOTHING
            why = "the device has another broadcast address"
            tested = Condition(unicast, (*unicast, *groups.may), (why,))
        result &= tested
    return result


def tos(match: Match, view: View) -> Condition:
    result = YES
    for option in match.options:
        value, mask = option.value
        allowed = IntervalSet.of(*(v for v in range(256) if v & mask == value))
        result &= view.test("tos", negate(option, allowed, 8))
    return result


def dscp(match: Match, view: View) -> Condition:
    result = YES
    for option in match.options:
        allowed = IntervalSet.range(option.value << 2, option.value << 2 | 3)
        result &= view.test("tos", negate(option, allowed, 8))
    return result


def ecn(match: Match, view: View) -> Condition:
    result = YES
    for option in match.options:
        if option.name != "--ecn-ip-ect":
            return Condition.maybe("ECN bits of TCP are changed by segment merging")
        allowed = IntervalSet.of(*(v for v in range(256) if v & 3 == option.value))
        result &= view.test("tos", negate(option, allowed, 8))
    return result


def spi(match: Match, view: View) -> Condition:
    """ESP, or AH over IPv4. IPv6 packets with AH always pass (legacy and nft differ on them)."""
    if match.name == "ah" and view.family is Family.IPV6:
        if view.kind.is_fragment:  # AH may follow the fragment header
            return Condition.maybe("a fragment is judged by source and destination only")
        return Condition(NOTHING, NOTHING)
    result = with_header(ESP if match.name == "esp" else AH, view)
    for option in match.options:
        result &= field_test(option, "spi", view)
    return result


def comment(match: Match, view: View) -> Condition:
    return YES


def policy(match: Match, view: View) -> Condition:
    """What arrives on the wire is not yet decrypted: --dir in --pol ipsec is no (and its negation yes).

    Only the bare form is certain; strict lists and single elements stay maybe.
    """
    if view.host.ipsec:
        return Condition.maybe("what IPsec decrypted passes a generic program a second time")
    options = {(o.name, o.words[0].text if o.words else "", o.negated) for o in match.options}
    if options == {("--dir", "in", False), ("--pol", "ipsec", False)}:
        return NO
    if options == {("--dir", "in", False), ("--pol", "none", False)}:
        return YES
    return Condition.maybe("the IPsec policy is not known in XDP")
