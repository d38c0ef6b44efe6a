"""The live host as `HostFacts`: everything the promise rests on besides the rules."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from ..kernel.kfuncs import why_no_conntrack_lookup
from ..source import UserError
from . import (
    addresses,
    bpf,
    conntrack,
    features,
    links,
    live_rules,
    live_sets,
    namespaces,
    nftables,
    sockets,
    sysctls,
    tc,
    xfrm,
)
from .facts import HostFacts, InterfaceFacts, NativeTable, PacketSocket
from .generation import KeptByGeneration
from .netlink import Interrupted

_NFT_FAMILY = {"ipv4": "ip", "ipv6": "ip6"}
_UNREAD = (OSError, Interrupted)


def observe(
    ifname: str,
    dumps: tuple[live_rules.LiveDump, ...] | None = None,
    listed: KeptByGeneration | None = None,
    sets: bool = True,
    *,
    seen_as: str = "",
) -> HostFacts:
    """What is true now in the network namespace of the calling thread. Raises UserError.

    `dumps`: the live rules, where the caller has read them just now; `listed`: native nftables that earlier
    looks have read; `sets`: also what the ipsets hold; `seen_as`: the master under whose name the
    interface's packets cross netfilter."""
    unknown: list[str] = []
    try:
        here = links.links()
        ours = _find(ifname, here)
        upper = _master(ours, seen_as, here) if seen_as else None
        local, rules = addresses.addresses((upper or ours).ifindex), addresses.rules()
        switches, icmp = sysctls.sysctls((upper or ours).name), sysctls.icmp_limits()
        dumps = live_rules.all_dumps() if dumps is None else dumps
    except Interrupted as e:
        raise UserError(f"the network configuration changes too fast to be read: {e}", "try again") from e
    except OSError as e:
        raise UserError(f"the host cannot be observed: {e}", "run this as root") from e
    tracked = conntrack.conntrack()
    unknown += tracked.unknown
    path = (ours, upper) if upper else (ours,)
    native = _native([k.name for k in path], dumps, unknown, listed or KeptByGeneration())
    helpers = [f"native table {t.family} {t.name}: {h}" for t in native for h in t.helpers]
    if switches.helper:
        helpers.append("sysctl net.netfilter.nf_conntrack_helper is set")
    try:
        ipsec = xfrm.ipsec()
    except OSError as e:
        ipsec = xfrm.Ipsec(True)
        unknown.append(f"ipsec: its states cannot be listed: {e.strerror}")
    kept = [d for d in dumps if d.of_consequence]
    return HostFacts(
        assumed=False,
        label=f"{os.uname().nodename} {ours.name}",
        kernel=os.uname().release,
        interface=_interface(ours, upper, here, unknown),
        other_interfaces=any(
            k not in path and not _is_loopback(k) and not (upper and k.master == upper.ifindex) for k in here
        ),
        local4=local.local4,
        broadcast4=local.broadcast4,
        local6=local.local6,
        unclear4=local.unclear4,
        unclear6=local.unclear6,
        local_first4=rules.local_first4,
        local_first6=rules.local_first6,
        forwards4=switches.forwards4,
        forwards6=switches.forwards6,
        mc_forwarding4=switches.mc_forwarding4,
        mc_forwarding6=switches.mc_forwarding6,
        bc_forwarding=switches.bc_forwarding,
        fwmark_rules4=rules.fwmark4,
        fwmark_rules6=rules.fwmark6,
        tos_rules4=rules.tos4,
        tos_rules6=rules.tos6,
        ipsec=ipsec.in_use,
        esp_ports=ipsec.ports,
        log_martians=switches.log_martians,
        conntrack_log_invalid=switches.conntrack_log_invalid,
        conntrack_entries=tracked.entries,
        nat_entries=tracked.nat,
        helpers=(*helpers, *tracked.helpers),
        tcp_loose=switches.tcp_loose,
        conntrack_checksum=switches.conntrack_checksum,
        icmp_ratelimit4=icmp.ratelimit4,
        icmp_limited4=icmp.limited4,
        icmp_ratelimit6=icmp.ratelimit6,
        icmp_limited6=icmp.limited6,
        icmp_msgs_per_sec=icmp.msgs_per_sec,
        icmp_msgs_burst=icmp.msgs_burst,
        no_conntrack_lookup=why_no_conntrack_lookup(),
        conntrack_loaded=conntrack.is_loaded(),
        backends=tuple(f"{d.variant}/{d.family}" for d in kept),
        foreign_tables=tuple(f"{_NFT_FAMILY[d.family]}/{n}: {why}" for d in dumps for n, why in d.foreign),
        native_tables=native,
        bpf_netfilter=_bpf_netfilter(unknown),
        packet_sockets=_packet_sockets(ours, here, unknown),
        ipsets=live_sets.live_sets(live_sets.set_names(d.text for d in dumps)) if sets else None,
        unknown=tuple(unknown),
    )


def _find(ifname: str, here: list[links.Link]) -> links.Link:
    for link in here:
        if ifname == link.name or ifname in link.altnames:
            return link
    names = [k.name for k in here]
    close = difflib.get_close_matches(ifname, names)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UserError(
        f"there is no interface {ifname!r}", f"{hint}these exist: {', '.join(sorted(names)) or 'none'}"
    )


def _master(ours: links.Link, name: str, here: list[links.Link]) -> links.Link:
    master = next((k for k in here if k.ifindex == ours.master), None)
    if master is not None and name in (master.name, *master.altnames):
        return master
    known = f"it belongs to {master.name}" if master else "it belongs to no other device"
    raise UserError(f"{ours.name} does not belong to {name}", known)


def _is_loopback(link: links.Link) -> bool:
    return link.name == "lo"


def _interface(
    ours: links.Link, upper: links.Link | None, here: list[links.Link], unknown: list[str]
) -> InterfaceFacts:
    mine, elsewhere = links.ties(ours, here), namespaces.children_elsewhere(ours)
    path = [(mine, elsewhere)]
    tc_ingress = _tc_ingress(ours, unknown)
    if upper:
        path.append((links.ties(upper, here), namespaces.children_elsewhere(upper)))
        tc_ingress += _tc_ingress(upper, unknown)
        tc_ingress += tuple(f"XDP {bpf.program_text(p)} on {upper.name}" for p in upper.xdp)
    try:
        active = features.active_features(ours.name)
    except OSError as e:
        active = None
        unknown.append(f"features: the features of {ours.name} cannot be read: {e.strerror}")
    ties = [t for mine, elsewhere in path for t in (mine, elsewhere.ties)]
    uppers = [u for t in ties for u in t.uppers]
    if upper and upper.vlan_filtering:
        # What comes in untagged may be handed up with the tag of its port, and belongs to that device then.
        uppers += [f"vlan:{v}" for t in ties[2:] for v in t.vlan_children]
    return InterfaceFacts(
        name=ours.name,
        ifindex=ours.ifindex,
        mac=ours.mac,
        kind=ours.kind,
        ethernet=ours.ethernet,
        odd_broadcast=ours.odd_broadcast,
        seen_as=upper.name if upper else "",
        ebtables_legacy=bool(upper and upper.kind == "bridge" and _has_ebtables()),
        uppers=tuple(uppers),
        vlan_children=tuple(v for t in ties for v in t.vlan_children),
        mac_children=tuple(m for t in ties for m in t.mac_children),
        children_complete=elsewhere.complete,
        children_unknown=elsewhere.why,
        gro=None if active is None else bool(active & {"rx-gro", "rx-lro", "rx-gro-hw"}),
        rxvlan=None if active is None else bool(active & {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"}),
        xdp=", ".join(map(bpf.program_text, ours.xdp)),
        tc_ingress=tc_ingress,
    )


def _has_ebtables() -> bool:
    """The legacy ones: ebtables-nft makes native tables. A module may hold rules for any namespace."""
    return any(Path("/sys/module", f"ebtable_{table}").exists() for table in ("broute", "nat", "filter"))


def _tc_ingress(link: links.Link, unknown: list[str]) -> tuple[str, ...]:
    try:
        return tc.ingress(link.ifindex)
    except _UNREAD as e:
        unknown.append(f"tc: the ingress programs of {link.name} cannot be read: {e}")
        return ()


def _native(
    ifnames: list[str],
    dumps: tuple[live_rules.LiveDump, ...],
    unknown: list[str],
    listed: KeptByGeneration,
) -> tuple[NativeTable, ...]:
    owned = {(_NFT_FAMILY[d.family], name) for d in dumps if d.variant == "nft" for name in d.tables}
    try:
        tables, problems = nftables.native_tables(ifnames, owned, listed)
    except _UNREAD as e:
        tables, problems = (), (f"nftables: native tables cannot be read: {e}",)
    unknown += problems
    return tables


def _bpf_netfilter(unknown: list[str]) -> tuple[str, ...]:
    try:
        return bpf.netfilter_links()
    except OSError as e:
        unknown.append(f"bpf-links: BPF netfilter programs cannot be listed: {e.strerror}")
        return ()


def _packet_sockets(ours: links.Link, here: list[links.Link], unknown: list[str]) -> tuple[PacketSocket, ...]:
    # A reader on the bridge, or on a macvlan of ours, misses what we drop as well.
    ifindexes = {ours.ifindex, ours.master} - {0}
    ifindexes |= {
        k.ifindex for k in here if k.parent == ours.ifindex and k.parent_netnsid is None and k.kind != "veth"
    }
    try:
        return sockets.packet_sockets(ifindexes)
    except FileNotFoundError:  # no AF_PACKET in this kernel, or its module is not loaded
        return ()
    except OSError as e:
        unknown.append(f"packet: packet sockets cannot be listed: {e.strerror}")
        return ()
