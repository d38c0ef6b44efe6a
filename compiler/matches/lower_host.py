"""Matches whose answer is the host's: address types, marks, bridge ports, and what it remembers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from ..fields import Family
from ..host.facts import HostFacts
from ..intervals import IntervalSet
from ..rules.model import Match
from .condition import EVERYTHING, NO, YES, Condition
from .view import View

#: The class of an address whatever the routes say (inet_addr_type, ipv6_addr_type). Since Linux 5.3 only
#: 0.0.0.0 itself is broadcast, not 0.0.0.0/8.
_FIXED4 = {
    "MULTICAST": IntervalSet.range(0xE0000000, 0xEFFFFFFF),
    "BROADCAST": IntervalSet.of(0, 0xFFFFFFFF),
}
_MULTICAST6 = IntervalSet.prefix(0xFF << 120, 8, 128)
_UNSPEC6 = IntervalSet.of(0)
_MAPPED6 = IntervalSet.prefix(0xFFFF << 32, 96, 128)
_LINK_LOCAL6 = IntervalSet.prefix(0xFE80 << 112, 10, 128)
_FIXED6 = {
    "MULTICAST": _MULTICAST6,
    "UNSPEC": _UNSPEC6,
    "UNICAST": (_MULTICAST6 | _UNSPEC6 | _MAPPED6).complement(128),
}

#: What the answer of addrtype is made of, besides the rule.
ADDRESS_FACTS = frozenset(("local4", "broadcast4", "local6", "unclear4", "unclear6", "local_first6"))


def addrtype(match: Match, view: View) -> Condition:
    """addrtype_mt_v1: classes fixed by the address, and the table "local" where it is known.

    Limited to an interface, what is local by another one is unicast (inet_dev_addr_type, nf_ipv6_chk_addr).
    """
    if any(o.name not in ("--src-type", "--dst-type") for o in match.options):
        return Condition.maybe("addrtype limited to an interface")
    result = YES
    for option in match.options:
        kinds = frozenset(w for word in option.words for w in word.text.upper().split(","))
        certain, possible = (_of_types4 if view.family is Family.IPV4 else _of_types6)(kinds, view.host)
        if option.negated:
            bits = 32 if view.family is Family.IPV4 else 128
            certain, possible = possible.complement(bits), certain.complement(bits)
        field = "src" if option.name == "--src-type" else "dst"
        why = (f"addrtype {','.join(sorted(kinds))} depends on the host's routes",)
        result &= Condition(view.test(field, certain).yes, view.test(field, possible).may, why)
    return result


def _of_types4(kinds: frozenset[str], host: HostFacts) -> tuple[IntervalSet, IntervalSet]:
    """Addresses that certainly, and that possibly, are of one of these types."""
    classes = _classes4(host.local4, host.broadcast4, host.unclear4)
    certain = _union(s for kind, s in classes.items() if kind in kinds)
    return certain, certain | classes["unclear"]


@lru_cache(maxsize=8)
def _classes4(
    local: tuple[str, ...], broadcast: tuple[str, ...], unclear: tuple[str, ...]
) -> dict[str, IntervalSet]:
    """inet_addr_type: the type of the route in the table "local", and unicast without one. Until the first
    `ip rule` that table is one with "main", so prefixes there may have more specific routes inside."""
    fixed = _union(_FIXED4.values())
    if not local:  # the addresses are not known
        return {**_FIXED4, "unclear": fixed.complement(32)}
    ours, groups = _whole(local, 32), _whole(broadcast, 32)
    odd = (_all((*local, *broadcast, *unclear)) - ours - groups) | _all(unclear) | (ours & groups)
    odd -= fixed
    taken = fixed | odd
    classes = {"LOCAL": ours - taken, "BROADCAST": _FIXED4["BROADCAST"] | (groups - taken)}
    classes["MULTICAST"], classes["unclear"] = _FIXED4["MULTICAST"], odd
    classes["UNICAST"] = (taken | ours | groups).complement(32)
    return classes


_LOOKED_UP6 = frozenset(("LOCAL", "ANYCAST", "UNREACHABLE"))


def _of_types6(kinds: frozenset[str], host: HostFacts) -> tuple[IntervalSet, IntervalSet]:
    """match_type6: all classes listed must hold; of LOCAL, ANYCAST and UNREACHABLE any."""
    base = IntervalSet.full(128)
    for kind in kinds & _FIXED6.keys():
        base &= _FIXED6[kind]
    if kinds - _FIXED6.keys() - _LOOKED_UP6:
        return IntervalSet(), base
    if not kinds & _LOOKED_UP6:
        return base, base
    local, unclear = _classes6(host.local6, host.unclear6, host.local_first6)
    certain = base & local if "LOCAL" in kinds else IntervalSet()
    # A route to anycast or to nowhere is found in any table.
    possible = base if kinds & _LOOKED_UP6 != {"LOCAL"} else base & (local | unclear)
    return certain, possible


@lru_cache(maxsize=8)
def _classes6(
    local: tuple[str, ...], unclear: tuple[str, ...], local_first: bool
) -> tuple[IntervalSet, IntervalSet]:
    """Local for certain, and maybe. Link-local addresses of other interfaces are not in `local`."""
    if not local:
        return IntervalSet(), IntervalSet.full(128)
    ours = _whole(local, 128)
    odd = (_all(local) - ours) | _all(unclear) | (_LINK_LOCAL6 - ours)
    return (ours - odd, odd) if local_first else (IntervalSet(), ours | odd)


def _all(prefixes: Iterable[str]) -> IntervalSet:
    networks = (ipaddress.ip_network(p) for p in prefixes)
    return IntervalSet.union_of((int(n.network_address), int(n.broadcast_address)) for n in networks)


def _whole(prefixes: Iterable[str], bits: int) -> IntervalSet:
    return _all(p for p in prefixes if ipaddress.ip_network(p).prefixlen == bits)


def _union(sets: Iterable[IntervalSet]) -> IntervalSet:
    return IntervalSet.union_of(pair for s in sets for pair in s)


def mark(match: Match, view: View) -> Condition:
    """mark_mt. A packet fresh from the driver has mark 0, and keeps it until something sets one."""
    why = "an earlier target may have changed mark" if "mark" in view.tainted else may_be_marked(view.host)
    if why:
        return Condition.maybe(f"-m mark: {why}")
    option = match.option("--mark")
    if option is None or option.value is None:
        return Condition.maybe("the value of --mark is not known here")
    return YES if (option.value[0] == 0) != option.negated else NO


def may_be_marked(host: HostFacts) -> str:
    """Why a packet may have a mark before its first rule; "" where it has none.

    Devices that take packets from other devices of this host may hand their marks on: veth, vlan, ifb,
    tunnels. A NIC has no kind.
    """
    if host.interface.kind:
        return f"a {host.interface.kind} device may hand marks on"
    if host.ipsec:
        return "IPsec may mark what it decrypts"
    if host.interface.uppers:
        return "the device above may set marks"
    if host.interface.tc_ingress:
        return "a tc program may set marks"
    if host.bpf_netfilter:
        return "a BPF program may set marks"
    native = next((t for t in host.native_tables if not t.harmless and t.family != "arp"), None)
    return f"the native table {native.family} {native.name} may set marks" if native else ""


def physdev(match: Match, view: View) -> Condition:
    """physdev_mt: no packet of a bridge, so no option holds, and every negated one does."""
    if view.host.interface.kind not in ("", "veth") or view.host.interface.uppers:
        return Condition.maybe("-m physdev: the interface may be part of a bridge")
    return YES if all(o.negated for o in match.options) else NO


#: recent_mt only reads with these.
_LOOKS = frozenset(
    ("--rcheck", "--seconds", "--hitcount", "--rttl", "--name", "--mask", "--rsource", "--rdest")
)


def recent(match: Match, view: View) -> Condition:
    return Condition.maybe("-m recent: who was here before")


def writes_recent(match: Match, view: View) -> Condition:
    """--set, --update and --remove write to the list, --reap takes old entries out."""
    names = {o.name for o in match.options}
    return NO if "--rcheck" in names <= _LOOKS else _everything("-m recent: remembers addresses")


def statistic(match: Match, view: View) -> Condition:
    return Condition.maybe("-m statistic: chance")


def counts_packets(match: Match, view: View) -> Condition:
    mode = match.option("--mode")
    random = mode is not None and [w.text for w in mode.words] == ["random"]
    return NO if random else _everything("-m statistic: counts every nth packet")


def runs_program(match: Match, view: View) -> Condition:
    """Classic BPF only reads. A pinned program may write to maps, which others read."""
    if [o.name for o in match.options] == ["--bytecode"]:
        return NO
    return _everything("-m bpf: a pinned program may remember packets")


def _everything(why: str) -> Condition:
    return Condition(EVERYTHING, EVERYTHING, (why,))
