"""What each fact about the host costs: the one table. Pure; the reasons are docs/semantics.md.

Questions that rest on the rules as well (does one read `length` under GRO?) are asked elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..fields import Family
from . import finding_devices as devices
from .facts import HostFacts
from .finding import Finding, Scope

Check = Callable[[HostFacts], Iterator[Finding]]
OWN_PROGRAM = "xdptables"  # the name of the programs that this project loads


def findings(host: HostFacts) -> tuple[Finding, ...]:
    """Everything that the host alone takes from the program, gravest first."""
    found = [f for check in CHECKS for f in check(host)]
    return tuple(sorted(found, key=lambda f: list(Scope).index(f.scope)))


def _unknown(host: HostFacts) -> Iterator[Finding]:
    """What could not be seen may be the one thing that breaks the promise."""
    for line in host.unknown:
        slug, _, text = line.partition(": ")
        slug = slug if text and re.fullmatch(r"[\w-]+", slug) else "other"
        yield Finding(f"unknown:{slug}", Scope.STOPS, text or line, "run as root, or lift it if you know")


def _not_ethernet(host: HostFacts) -> Iterator[Finding]:
    """A tunnel's packets begin with the IP header. What comes over lo has crossed OUTPUT already, and brings
    its mark and its connection along, even to raw."""
    if not host.interface.ethernet:
        yield Finding(
            "not-ethernet",
            Scope.STOPS,
            f"{host.interface.name} is no Ethernet device",
            "load on the device that the packets come in by",
        )


def _foreign_xdp(host: HostFacts) -> Iterator[Finding]:
    """A device runs one XDP program; another's is never replaced."""
    name = host.interface.name
    if host.interface.xdp and not host.interface.xdp.endswith(f"({OWN_PROGRAM})"):
        yield Finding(
            "foreign-xdp",
            Scope.STOPS,
            f"another XDP program is attached to {name}: {host.interface.xdp}",
            f"ip link set dev {name} xdp off",
        )


def _packet_sockets(host: HostFacts) -> Iterator[Finding]:
    """AF_PACKET readers no longer see what XDP drops."""
    readers = [s for s in host.packet_sockets if not s.harmless]
    if readers:
        names = ", ".join(dict.fromkeys(s.process or f"inode {s.inode}" for s in readers))
        yield Finding(
            "packet-sockets",
            Scope.STOPS,
            f"{names} would no longer see dropped packets (AF_PACKET)",
            "stop it, or lift this if it may miss them",
        )


def _two_backends(host: HostFacts) -> Iterator[Finding]:
    """A chain of one back end may stand before the dropping rule of the other."""
    for family in Family:
        if {f"legacy/{family}", f"nft/{family}"} <= set(host.backends):
            yield Finding(
                f"two-backends:{family}",
                Scope.STOPS,
                f"iptables-legacy and iptables-nft both hold rules for {family.value}",
                "move the rules to one of the two",
                family,
            )


def _tc_ingress(host: HostFacts) -> Iterator[Finding]:
    """They may rewrite or redirect before any rule."""
    if host.interface.tc_ingress:
        text = f"tc programs see packets first: {', '.join(host.interface.tc_ingress)}"
        way_out = f"tc filter del dev {host.interface.name} ingress"
        yield Finding("tc-ingress", Scope.NO_DROPS, text, way_out)


def _bpf_netfilter(host: HostFacts) -> Iterator[Finding]:
    """They run between netfilter's own hooks and may do anything."""
    if host.bpf_netfilter:
        text = f"BPF programs are attached to netfilter: {', '.join(host.bpf_netfilter)}"
        yield Finding("bpf-netfilter", Scope.NO_DROPS, text, "detach them")


_REACH = {
    "ingress": Scope.NO_DROPS,
    "all": Scope.NO_DROPS,
    "conntrack": Scope.NO_DROPS_AFTER_CONNTRACK,
    "input": Scope.NO_INPUT_DROPS,
}


def _native_tables(host: HostFacts) -> Iterator[Finding]:
    """A native chain before the dropping rule that does more than match, count and give verdicts."""
    for t in host.native_tables:
        if t.harmless or t.family == "arp":
            continue
        text = f"native nftables table {t.family} {t.name} comes first: {t.why}"
        family = {"ip": Family.IPV4, "ip6": Family.IPV6}.get(t.family)
        name = f"nft-netdev:{t.name}" if t.family == "netdev" else f"nft:{t.family}/{t.name}"
        yield Finding(name, _REACH.get(t.reach, Scope.NO_DROPS), text, "lift it if you know better", family)


def _foreign_tables(host: HostFacts) -> Iterator[Finding]:
    """iptables-nft-save would show other rules than those in force, so theirs are left to netfilter."""
    for line in host.foreign_tables:
        name, _, why = line.partition(": ")
        text = f"none of the rules in table {name} is compiled: {why}"
        yield Finding(f"nft-made:{name}", Scope.NOTE, text, "load the rules by iptables-restore")


def _conntrack_log_invalid(host: HostFacts) -> Iterator[Finding]:
    """Logs what conntrack finds invalid, in PREROUTING."""
    if host.conntrack_log_invalid:
        yield Finding(
            "conntrack-log-invalid",
            Scope.NO_DROPS_AFTER_CONNTRACK,
            "conntrack logs invalid packets",
            "sysctl net.netfilter.nf_conntrack_log_invalid=0",
        )


def _helpers(host: HostFacts) -> Iterator[Finding]:
    """An expected packet is RELATED, and even when dropped it uses the expectation up."""
    if host.helpers:
        text = f"conntrack helpers make packets RELATED: {', '.join(host.helpers)}"
        yield Finding("helpers", Scope.NO_DROPS_AFTER_CONNTRACK, text, "remove the helper")


def _no_conntrack_lookup(host: HostFacts) -> Iterator[Finding]:
    """Without it every drop that hangs on the state of a connection stays in netfilter."""
    if host.no_conntrack_lookup and host.conntrack_loaded:
        yield Finding(
            "no-conntrack-lookup",
            Scope.NOTE,
            f"XDP can't ask conntrack here: {host.no_conntrack_lookup}",
            "Linux 5.18 or later, with BTF",
        )


def _log_martians(host: HostFacts) -> Iterator[Finding]:
    """Routing logs them between PREROUTING and INPUT; IPv6 has no such log."""
    if host.log_martians:
        yield Finding(
            "log-martians",
            Scope.NO_INPUT_DROPS,
            "packets with impossible sources are logged",
            f"sysctl net.ipv4.conf.all.log_martians=0 net.ipv4.conf.{host.interface.name}.log_martians=0",
            Family.IPV4,
        )


def _fwmark_rules(host: HostFacts) -> Iterator[Finding]:
    """bpf_fib_lookup does not know the mark that rules would set."""
    for family, is_set in ((Family.IPV4, host.fwmark_rules4), (Family.IPV6, host.fwmark_rules6)):
        if is_set:
            yield Finding(
                f"fwmark-rules:{family}",
                Scope.NO_INPUT_DROPS,
                f"{family.value} packets are routed by their mark, which XDP does not know",
                "remove the ip rules with fwmark",
                family,
            )


def _tos_rules(host: HostFacts) -> Iterator[Finding]:
    """Costs only where a rule rewrites tos before routing, which the rules tell."""
    for family, is_set in ((Family.IPV4, host.tos_rules4), (Family.IPV6, host.tos_rules6)):
        if is_set:
            yield Finding(
                f"tos-rules:{family}",
                Scope.NOTE,
                f"{family.value} packets are routed by tos: after a rule that rewrites it, nothing drops",
                "",
                family,
            )


def _rules_first(host: HostFacts) -> Iterator[Finding]:
    """bpf_fib_lookup knows the port alone, rules with iif the master."""
    if not host.interface.seen_as:
        return
    for family, local_first in ((Family.IPV4, host.local_first4), (Family.IPV6, host.local_first6)):
        if not local_first:
            yield Finding(
                f"rules-first:{family}",
                Scope.NO_INPUT_DROPS,
                f"{family.value} routing rules come before the local routes, and may ask for "
                f"{host.interface.seen_as}, which XDP can't say",
                "let the rule for the table local be the first again",
                family,
            )


def _gro(host: HostFacts) -> Iterator[Finding]:
    """Merges segments between XDP and netfilter; which rules that touches, the rules tell."""
    if host.interface.gro is not False:
        yield Finding(
            "gro",
            Scope.NOTE,
            "GRO merges segments: rules on length, FIN and PSH stay in netfilter",
            f"ethtool -K {host.interface.name or 'DEV'} gro off lro off",
        )


CHECKS: tuple[Check, ...] = (
    _unknown,
    _not_ethernet,
    _foreign_xdp,
    devices.uppers,
    devices.ebtables,
    devices.mac_children,
    devices.unscanned,
    devices.vlan_offload,
    _packet_sockets,
    _two_backends,
    _tc_ingress,
    _bpf_netfilter,
    _native_tables,
    _foreign_tables,
    _conntrack_log_invalid,
    _helpers,
    _no_conntrack_lookup,
    _log_martians,
    _fwmark_rules,
    _tos_rules,
    _rules_first,
    _gro,
)
