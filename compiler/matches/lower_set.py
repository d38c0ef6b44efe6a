"""`-m set`: what a set holds becomes a condition, where the set is known (set_match_v4, ip_set_test).

An entry that expires, or comes and goes by a rule, is maybe. A set with counters counts what matches: such
packets belong to netfilter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from ..fields import FIELDS, Family
from ..host.ipsets import IpSet
from ..intervals import IntervalSet
from ..rules.model import Match, Ruleset
from .condition import EVERYTHING, MAX_CUBES, NO, NOTHING, YES, Condition, opposite
from .ipset import Contents, Element, Row, contents, rows
from .lower import ICMP, ICMPV6, TCP, UDP, of_header, with_header
from .lower_ipv6 import NO_NEXT_HEADER
from .view import View

SCTP, UDPLITE = 132, 136
_WITH_PORTS = frozenset((TCP, UDP, SCTP, UDPLITE))  # get_port in ip_set_getport.c
_PLAIN = frozenset(("--match-set", "--update-counters", "--update-subcounters"))


def set_match(match: Match, view: View) -> Condition:
    option = match.option("--match-set")
    if option is None or len(option.words) != 2:
        return Condition.maybe("-m set: no set is named")
    name, directions = option.words[0].text, tuple(option.words[1].text.split(","))
    if name in view.changing_sets:
        return Condition.maybe(f"-m set: rules add to the set {name}, or take from it")
    if match.option("--return-nomatch") is not None:  # the nomatch entries match, the others do not
        return Condition.maybe("-m set: --return-nomatch")
    result = _holds(name, directions, view)
    if any(o.name not in _PLAIN for o in match.options):
        result &= Condition.maybe("-m set: counters of the set")
    return opposite(result, _width(view)) if option.negated else result


def counted(match: Match, view: View) -> Condition:
    """Packets that the set, or a set that it lists, may count."""
    option = match.option("--match-set")
    switch = match.option("--update-counters")
    if option is None or not option.words or (switch is not None and switch.negated):
        return NO
    involved = list(_involved(option.words[0].text, view))
    if None in involved:
        return Condition.maybe(f"-m set: the set {option.words[0].text} is not known")
    if not any(s is not None and contents(s).counts for s in involved):
        return NO
    if any(e.nomatch for s in involved if s is not None for e in contents(s).elements):
        return Condition.maybe("-m set: the set has counters")  # and so have its nomatch entries
    directions = tuple(option.words[1].text.split(",")) if len(option.words) == 2 else ()
    held = _holds(option.words[0].text, directions, view)
    return Condition(NOTHING, held.may, ("-m set: the set has counters",))


def _width(view: View) -> Callable[[str], int]:
    return lambda name: FIELDS[name].width(view.family)


def _find(name: str, view: View) -> IpSet | None:
    return next((s for s in view.host.ipsets or () if s.name == name), None)


def _involved(name: str, view: View) -> Iterable[IpSet | None]:
    """The set, and the members of a list; None for one that is not known."""
    found = _find(name, view)
    yield found
    if found is not None and found.kind == "list:set":
        for element in contents(found).elements:
            yield _find(str(element.values[0]), view)


def _holds(name: str, directions: tuple[str, ...], view: View) -> Condition:
    found = _find(name, view)
    if found is None:
        return Condition.maybe(f"-m set: the set {name} is not known")
    held = contents(found)
    if held.unread:
        return Condition.maybe(f"-m set: {held.unread}")
    if len(directions) < len(held.dimensions) or held.family not in (None, view.family):
        return NO
    certain = [e for e in held.elements if e.permanent]
    if "set" in held.dimensions:
        result = NO
        for element in certain:
            result = _either(result, _of_member(str(element.values[0]), directions, view))
    else:
        result = _of_elements(found, held, directions, view)
    if held.expires:
        return Condition(result.yes, EVERYTHING, (*result.why, f"-m set: entries of {name} expire"))
    return result


def _of_member(name: str, directions: tuple[str, ...], view: View) -> Condition:
    if name in view.changing_sets:
        return Condition.maybe(f"-m set: rules add to the set {name}, or take from it")
    return _holds(name, directions, view)


def _either(a: Condition, b: Condition) -> Condition:
    """A union may have more cubes than a condition may have to be combined further."""
    why = tuple(dict.fromkeys(a.why + b.why))
    if max(len(a.may), len(a.yes)) + max(len(b.may), len(b.yes)) > MAX_CUBES:
        return Condition(NOTHING, EVERYTHING, (*why, "too many combinations of values"))
    return Condition((*a.yes, *b.yes), (*a.may, *b.may), why)


def _of_elements(ipset: IpSet, held: Contents, directions: tuple[str, ...], view: View) -> Condition:
    interface: str | None = view.interface
    if "iface" in held.dimensions:
        at = held.dimensions.index("iface")
        if directions[at] != "src":
            return NO  # there is no output device yet, and an empty name is refused
        if view.interface is None:
            return Condition.maybe("the interface is not given (--interface)")
        if (view.flow_only and not view.one_interface) or view.kind.is_fragment:
            interface = None  # another one could bring the same packets
    found = _rows(ipset, interface)
    if len(found) > MAX_CUBES:
        return Condition.maybe(f"-m set: {ipset.name} has too many combinations of values")
    result = NO
    ends = [d for d, kind in zip(directions, held.dimensions, strict=False) if kind != "iface"]
    for row in found:
        result = _either(result, _row(row, ends, held.dimensions[0] == "number", view))
    if "iface" in held.dimensions and interface is None:
        return Condition(NOTHING, result.may, ("another interface could bring the same packets",))
    return result


@lru_cache(maxsize=512)
def _rows(ipset: IpSet, interface: str | None) -> tuple[Row, ...]:
    """Of entries for other interfaces there is nothing left. None: any interface."""
    held = contents(ipset)
    elements = [e for e in held.elements if e.permanent or e.nomatch]
    dimensions = list(held.dimensions)
    if "iface" in dimensions:
        at = dimensions.index("iface")
        del dimensions[at]
        elements = [
            Element((*e.values[:at], *e.values[at + 1 :]), e.nomatch)
            for e in elements
            if interface is None or _is_interface(str(e.values[at]), e.wildcard, interface)
        ]
    return tuple(rows(dimensions, elements))


def _is_interface(name: str, wildcard: bool, interface: str) -> bool:
    return interface.startswith(name) if wildcard else interface == name


def _row(row: Row, ends: list[str], numbers: bool, view: View) -> Condition:
    result = YES
    for cell, end in zip(row, ends, strict=True):
        if numbers:  # bitmap:port answers for TCP and UDP alone
            assert isinstance(cell, IntervalSet)
            result &= view.test("proto", IntervalSet.of(TCP, UDP)) & view.test(_port_field(end), cell)
            result &= of_header(view)
        elif isinstance(cell, tuple):
            result &= _port(*cell, end, view)
        else:
            result &= view.test(end, cell)
    return result


def _port_field(end: str) -> str:
    return "sport" if end == "src" else "dport"


def _port(protocol: int, ports: IntervalSet, end: str, view: View) -> Condition:
    """ip_set_get_ip4_port, ip_set_get_ip6_port: other protocols have port 0, and 0 is none; nor has IPv6 one
    where "no next header" stands (ipv6_skip_exthdr)."""
    if protocol == 0 or (protocol == NO_NEXT_HEADER and view.family is Family.IPV6):
        return NO
    of_protocol = view.test("proto", IntervalSet.of(protocol))
    if protocol in _WITH_PORTS:
        if view.flow_only and protocol not in (TCP, UDP):  # another packet of the flow may have these ports
            why = "connections are tracked, and only those of TCP and UDP by their ports"
            return Condition(NOTHING, of_protocol.may, (why,))
        return with_header(protocol, view) & view.test(_port_field(end), ports)
    if protocol in (ICMP, ICMPV6):
        if (protocol == ICMP) != (view.family is Family.IPV4):  # a message of the other family
            return Condition(NOTHING, of_protocol.may, ("ICMP of the other family is not read",))
        return of_protocol & view.test("icmp", ports)
    return of_protocol if 0 in ports else NO


def changing_sets(rulesets: Iterable[Ruleset], known: tuple[IpSet, ...] | None) -> frozenset[str]:
    """Sets that -j SET fills or empties, as packets pass: itself, and what it lists."""
    names = {
        o.words[0].text
        for ruleset in rulesets
        for rule in ruleset.rules()
        if rule.target is not None and rule.target.name == "SET"
        for o in rule.target.options
        if o.words
    }
    for ipset in known or ():
        if ipset.name in names and ipset.kind == "list:set":
            names |= {str(e.values[0]) for e in contents(ipset).elements}
    return frozenset(names)
