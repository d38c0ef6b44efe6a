"""Whether the kernel answers a packet that REJECT drops, read from its sources apart from matches/silence.py:
ipt_REJECT.c, nf_reject_ipv4.c, nf_reject_ipv6.c, icmp.c (icmp_send), ipv6/icmp.c (icmp6_send)."""

from __future__ import annotations

from ..fields import Family
from ..rules.model import Target
from .answers import Sight
from .packet import ICMP, ICMP6, TCP

RESET = ("tcp-reset", "tcp-rst")
#: icmp_pointers[]: the types that are no errors. All others count as errors, unknown ones too.
_REQUESTS4 = (0, 8, 13, 14, 15, 16, 17, 18)


def word(target: Target) -> str:
    """ "" for the default, an ICMP error."""
    option = target.option("--reject-with")
    return option.words[0].text.lower() if option and option.words else ""


def certainly_silent(target: Target, sight: Sight) -> bool:
    packet = sight.packet
    four = packet.family is Family.IPV4
    if packet.dst >> 28 == 14 or packet.dst == 0xFFFFFFFF if four else packet.dst >> 120 == 0xFF:
        return True
    if not four and packet.src == 0:
        return True
    if word(target) in RESET:
        return packet.protocol == TCP and sight.reads("tcp") and bool(packet.tcp_flags & 4)
    if sight.reads("pkttype") and packet.pkttype != 0:
        return True
    if packet.fragment:
        return False
    kind = packet.l4[0] if packet.l4 else 0
    if four:
        return packet.protocol == ICMP and kind not in _REQUESTS4
    return packet.protocol == ICMP6 and kind < 128
