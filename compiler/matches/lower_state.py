"""Connection state, where it is known: a packet of which conntrack has no entry.

Without an entry, a helper and NOTRACK a TCP or UDP packet is NEW or INVALID (nf_conntrack_in); it can't
be RELATED, as only an expectation makes it so. NEW is never certain, since a bad checksum is INVALID;
INVALID is, for flags that start no connection (tcp_new in nf_conntrack_proto_tcp.c).
"""

from __future__ import annotations

from ..intervals import IntervalSet
from ..rules.model import Match, Option
from .condition import EVERYTHING, NO, NOTHING, YES, Condition
from .lower import TCP
from .view import View

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


def state(match: Match, view: View) -> Condition:
    result = YES
    for option in match.options:
        if option.name not in ("--state", "--ctstate") or option.value is None:
            result &= Condition.maybe(f"{option.name} asks for more than the state of a connection")
        elif not view.no_entry:
            result &= Condition.maybe("connection state")
        elif "ctstate" in view.tainted:
            result &= Condition.maybe("the packet may be untracked")
        else:
            result &= _without_entry(option, view)
    return result


def _without_entry(option: Option, view: View) -> Condition:
    """SNAT and DNAT: translation starts with an entry, and packets that a NAT rule may match have passed."""
    new, invalid = ("NEW" in option.value) != option.negated, ("INVALID" in option.value) != option.negated
    if new == invalid:
        return YES if new else NO
    tcp = view.test("proto", IntervalSet.of(TCP))
    starts = IntervalSet.of(*(v for v in range(512) if _may_start(v, view.tcp_loose)))
    started = tcp & view.test("tcp_flags", starts)
    broken = tcp & view.test("tcp_flags", starts.complement(9))
    why = ("a packet without a connection may be NEW or INVALID",)
    if new:
        return Condition(
            NOTHING, (*view.test("proto", IntervalSet.of(TCP).complement(8)).may, *started.may), why
        )
    return Condition(broken.yes, EVERYTHING, why)


def _may_start(flags: int, loose: bool) -> bool:
    """tcp_conntracks[ORIGINAL][flags][NONE] is not INVALID: a SYN, or an ACK where that is allowed."""
    if flags & (RST | FIN):
        return False
    if flags & SYN:
        return not flags & ACK
    return bool(flags & ACK) and loose
