"""Connection state, where it is known: before conntrack, without an entry there, and of some ICMP.

Without an entry, a helper and NOTRACK a TCP or UDP packet is NEW or INVALID (nf_conntrack_in); it can't
be RELATED, as only an expectation makes it so. NEW is never certain, since a bad checksum is INVALID;
INVALID is, for flags that start no connection (tcp_new in nf_conntrack_proto_tcp.c).
"""

from __future__ import annotations

from ..fields import Family
from ..intervals import IntervalSet
from ..rules.model import Match, Option
from .condition import NO, YES, Condition, Region
from .lower import ICMP, ICMPV6, TCP
from .view import View

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_STATE = ("--state", "--ctstate")
#: Types that nf_conntrack_icmpv6_error leaves untracked: neighbour and router discovery, MLD.
_UNTRACKED6 = IntervalSet.union_of((t << 8, t << 8 | 255) for t in (*range(130, 137), 143, 151))
#: Types without a reply type, and unknown ones: icmp_error, nf_conntrack_invert_icmp_tuple.
_INVALID4 = IntervalSet.union_of([(9 << 8, 10 << 8 | 255), (19 << 8, 255 << 8 | 255)])


def state(match: Match, view: View) -> Condition:
    result = YES
    for option in match.options:
        if option.name not in _STATE or option.value is None:
            result &= Condition.maybe(f"{option.name} asks for more than the state of a connection")
        else:
            result &= _state(option, view)
    return result


def _state(option: Option, view: View) -> Condition:
    """SNAT and DNAT: translation starts with an entry, and packets that a NAT rule may match have passed."""
    known = view.ctstate or ("INVALID" if view.before_conntrack else "")
    if known:
        return YES if _holds(option, known) else NO
    if view.no_entry:
        new, invalid = _holds(option, "NEW"), _holds(option, "INVALID")
        if new == invalid:
            return YES if new else NO
        return Condition.maybe("a packet without a connection may be NEW or INVALID")
    return _of_icmp(option, view)


def _holds(option: Option, state: str) -> bool:
    return (state in option.value) != option.negated


def asks_new_or_invalid(match: Match) -> bool:
    """Whether the answer hangs on which of the two it is, of a packet without an entry."""
    return match.name in ("state", "conntrack") and any(
        o.name in _STATE and o.value is not None and _holds(o, "NEW") != _holds(o, "INVALID")
        for o in match.options
    )


def never_new(view: View) -> Region:
    """Packets that start no connection: without an entry they are INVALID."""
    starts = IntervalSet.of(*(v for v in range(512) if _may_start(v, view.tcp_loose)))
    return (view.test("proto", IntervalSet.of(TCP)) & view.test("tcp_flags", starts.complement(9))).yes


def _may_start(flags: int, loose: bool) -> bool:
    """tcp_conntracks[ORIGINAL][flags][NONE] is not INVALID: a SYN, or an ACK where that is allowed."""
    if flags & (RST | FIN):
        return False
    if flags & SYN:
        return not flags & ACK
    return bool(flags & ACK) and loose


def _of_icmp(option: Option, view: View) -> Condition:
    """Some ICMP is in no connection, whatever conntrack holds; all else is maybe. What is left untracked is
    INVALID by a bad checksum, which is not looked at here."""
    four = view.family is Family.IPV4
    number, types = (ICMP, _INVALID4) if four else (ICMPV6, _UNTRACKED6)
    why = ("connection state",)
    if view.unreadable("icmp") or view.unreadable("proto"):
        return Condition.maybe(*why)
    answers = {_holds(option, state) for state in (("INVALID",) if four else ("UNTRACKED", "INVALID"))}
    if len(answers) > 1:
        return Condition.maybe(*why)
    here = view.test("proto", IntervalSet.of(number)) & view.test("icmp", types)
    if True in answers:
        return Condition(here.yes, why=why)
    elsewhere = view.test("proto", IntervalSet.of(number).complement(8)).may
    others = view.test("proto", IntervalSet.of(number)) & view.test("icmp", types.complement(16))
    return Condition((), (*elsewhere, *others.may), why)
