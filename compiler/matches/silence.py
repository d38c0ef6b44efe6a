"""Where REJECT sends nothing, and so is a DROP.

nf_send_unreach, nf_send_reset (nf_reject_ipv4.c) and their IPv6 pendants; icmp_send (icmp.c), icmp6_send and
is_ineligible (ipv6/icmp.c). They are silent for a bad checksum too, but not where the device has already
checked it, which XDP can't see.
"""

from __future__ import annotations

from ..fields import Family
from ..intervals import IntervalSet
from ..rules.model import Target
from .condition import Region
from .lower import ICMP, ICMPV6, TCP
from .view import View

_RST = 0x04
#: icmp_pointers[].error, and whatever is beyond NR_ICMP_TYPES.
_ERRORS4 = IntervalSet.union_of([(1 << 8, 7 << 8 | 255), (9 << 8, 12 << 8 | 255), (19 << 8, 255 << 8 | 255)])
#: Without ICMPV6_INFOMSG_MASK.
_ERRORS6 = IntervalSet.range(0, 127 << 8 | 255)
#: RTCF_MULTICAST and RTCF_BROADCAST whatever the routes say.
_GROUPS4 = IntervalSet.union_of([(0xE0000000, 0xEFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF)])
_GROUPS6 = IntervalSet.range(0xFF << 120, (1 << 128) - 1)

RESETS = frozenset({"tcp-reset", "tcp-rst"})
_ICMP = {
    Family.IPV4: (
        ("icmp-net-unreachable", "net-unreach"),
        ("icmp-host-unreachable", "host-unreach"),
        ("icmp-proto-unreachable", "proto-unreach"),
        ("icmp-port-unreachable", "port-unreach"),
        ("icmp-net-prohibited", "net-prohib"),
        ("icmp-host-prohibited", "host-prohib"),
        ("icmp-admin-prohibited", "admin-prohib"),
    ),
    Family.IPV6: (
        ("icmp6-no-route", "no-route"),
        ("icmp6-adm-prohibited", "adm-prohibited"),
        ("icmp6-addr-unreachable", "addr-unreach"),
        ("icmp6-port-unreachable", "port-unreach"),
        ("icmp6-policy-fail", "policy-fail"),
        ("icmp6-reject-route", "reject-route"),
    ),
}


def rejects_with(target: Target) -> str:
    option = target.option("--reject-with")
    return option.words[0].text.lower() if option and option.words else "port-unreach"


def by_icmp(target: Target, family: Family) -> bool:
    """Whether the reply is an ICMP error of the type "destination unreachable"."""
    return any(rejects_with(target) in names for names in _ICMP[family])


def silence(target: Target, view: View) -> Region:
    """Of the packets that this REJECT gets, those that it certainly does not answer."""
    four = view.family is Family.IPV4
    groups = view.test("dst", _GROUPS4 if four else _GROUPS6).yes
    nobody = () if four else view.test("src", IntervalSet.of(0)).yes
    if rejects_with(target) in RESETS:
        resets = IntervalSet.of(*(v for v in range(512) if v & _RST))
        of_reset = view.test("proto", IntervalSet.of(TCP)) & view.test("tcp_flags", resets)
        return (*of_reset.yes, *groups, *nobody)
    if not by_icmp(target, view.family):
        return ()
    frames = view.test("pkttype", IntervalSet.of(1, 2)).yes
    errors = view.test("proto", IntervalSet.of(ICMP if four else ICMPV6)) & view.test(
        "icmp", _ERRORS4 if four else _ERRORS6
    )
    return (*frames, *groups, *nobody, *errors.yes)
