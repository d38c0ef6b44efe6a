"""What conntrack makes of a packet, and what `-m state` and `-m conntrack` then see of it.

nf_conntrack_in, tcp_error, tcp_new, udp_error, xt_conntrack.c, xt_state.c. Written from these, apart
from matches/lower_state.py.
"""

from __future__ import annotations

from enum import StrEnum

from ..fields import Family
from ..host.facts import HostFacts
from ..rules.model import Match, Option
from .answers import Answer, Sight, conjunction, known, opposite
from .packet import ICMP, ICMP6, TCP, UDP, Packet


class Entry(StrEnum):
    """What is known of conntrack's table before the packet comes."""

    UNKNOWN = "unknown"
    NONE = "none"  # no entry for the packet, in the default zone


class State(StrEnum):
    """What a packet counts as, in one world. `BEFORE`: it has not come to conntrack, which the matches
    show as INVALID. `UNKNOWN`: it has, and what it found is not known."""

    BEFORE = "before conntrack"
    UNKNOWN = "unknown"
    NEW = "NEW"
    ESTABLISHED = "ESTABLISHED"
    RELATED = "RELATED"
    INVALID = "INVALID"
    UNTRACKED = "UNTRACKED"

    @property
    def in_a_flow(self) -> bool:
        """What is done to the packet may move the state of a flow."""
        return self in (State.UNKNOWN, State.ESTABLISHED, State.RELATED)

    @property
    def has_entry(self) -> bool:
        """nat is crossed: a packet without one is not translated (nf_nat_inet_fn)."""
        return self not in (State.INVALID, State.UNTRACKED)


FIN, SYN, RST, ACK, URG = 0x01, 0x02, 0x04, 0x10, 0x20
#: tcp_valid_flags of which tcp_conntracks[ORIGINAL][…][NONE] is a state; PSH, ECE and CWR are masked out.
_STARTS = frozenset({SYN, SYN | URG})
_PICKED_UP = frozenset({ACK, ACK | URG})
#: ICMP types for which no entry can be made, and which belong to none: beyond those that icmp_error takes for
#: errors (3, 4, 5, 11, 12), those without a reply type in nf_conntrack_invert_icmp_tuple.
_NO_ICMP_CONNECTION = frozenset({1, 2, 6, 7, 9, 10, *range(19, 256)})
#: noct_valid_new in nf_conntrack_icmpv6_error; older kernels lack the last.
_DISCOVERY = frozenset({*range(130, 137), 143, 151})


def can_be_looked_up(packet: Packet) -> bool:
    """bpf_xdp_ct_lookup takes TCP and UDP; the ports of a fragment are not the datagram's."""
    return packet.protocol in (TCP, UDP) and not packet.fragment


def leaving_conntrack(
    packet: Packet, host: HostFacts, entry: Entry, given: State | None
) -> tuple[State, ...]:
    """Every state in which a tracked packet may come out of nf_conntrack_in.

    Without an entry and an expectation it is NEW or INVALID. It is never certainly NEW: a checksum that
    looks right here may be wrong to the kernel, and the reverse, where the device computes it."""
    if given is not None:
        return (given,)
    if _icmp_type(packet, Family.IPV4, ICMP) in _NO_ICMP_CONNECTION:
        return (State.INVALID,)
    if _icmp_type(packet, Family.IPV6, ICMP6) in _DISCOVERY:  # INVALID by its checksum
        return (State.UNTRACKED, State.INVALID)
    if entry is Entry.UNKNOWN or not can_be_looked_up(packet):
        return (State.UNKNOWN,)
    if packet.protocol == TCP:
        flags = packet.tcp_flags & (FIN | SYN | RST | ACK | URG)
        if flags not in _STARTS and not (flags in _PICKED_UP and host.tcp_loose):
            return (State.INVALID,)
    return (State.NEW, State.INVALID)


def _icmp_type(packet: Packet, family: Family, protocol: int) -> int:
    here = packet.family is family and packet.protocol == protocol and not packet.fragment
    return packet.icmp >> 8 if here else -1


def state(match: Match, sight: Sight) -> Answer:
    """`--state` and `--ctstate`; other options ask for more of the entry than is known here."""
    return conjunction(_answer(option, sight) for option in match.options)


def _answer(option: Option, sight: Sight) -> Answer:
    if option.name not in ("--state", "--ctstate") or not isinstance(option.value, frozenset):
        return Answer.MAYBE
    if sight.state in ("", State.UNKNOWN):
        return Answer.MAYBE
    shown = State.INVALID if sight.state == State.BEFORE else sight.state
    answer = known(shown in option.value)
    if answer is Answer.NO and option.value & {"SNAT", "DNAT"} and State(sight.state).in_a_flow:
        answer = Answer.MAYBE
    return opposite(answer) if option.negated else answer
