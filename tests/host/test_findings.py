from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from xdptables.fields import Family
from xdptables.host.facts import PLAIN_HOST, ROUTER, HostFacts, InterfaceFacts, NativeTable, PacketSocket
from xdptables.host.finding import Finding, Scope, lift
from xdptables.host.findings import findings

QUIET = replace(PLAIN_HOST, interface=InterfaceFacts("eth0", gro=False))


def device(**facts: Any) -> HostFacts:
    return replace(QUIET, interface=replace(QUIET.interface, **facts))


def table(reach: str, family: str = "inet") -> HostFacts:
    return replace(QUIET, native_tables=(NativeTable(family, "t", ("input",), False, "log", reach=reach),))


CASES: list[tuple[HostFacts, str, Scope]] = [
    (device(xdp="id 3 (other)"), "foreign-xdp", Scope.STOPS),
    (device(ethernet=False), "not-ethernet", Scope.STOPS),
    (device(uppers=("bridge:br0",)), "upper:bridge:br0", Scope.STOPS),
    (device(mac_children=("macvlan:a",)), "macvlan", Scope.NO_GROUP_DROPS),
    (device(mac_children=("macvlan/passthru:a",)), "macvlan-passthru", Scope.STOPS),
    (device(mac_children=("ipvlan:a@web",)), "ipvlan", Scope.STOPS),
    (device(children_complete=False), "unscanned-namespaces", Scope.NO_GROUP_DROPS),
    (device(vlan_children=("v",), rxvlan=True), "vlan-offload", Scope.STOPS),
    (device(vlan_children=("v",), rxvlan=None), "vlan-offload", Scope.STOPS),
    (device(vlan_children=("v",), rxvlan=False, kind="veth"), "vlan-offload", Scope.STOPS),
    (device(tc_ingress=("filter u32",)), "tc-ingress", Scope.NO_DROPS),
    (device(gro=True), "gro", Scope.NOTE),
    (device(gro=None), "gro", Scope.NOTE),
    (replace(QUIET, packet_sockets=(PacketSocket(3, 0, 1),)), "packet-sockets", Scope.STOPS),
    (replace(QUIET, backends=("legacy/ipv4", "nft/ipv4")), "two-backends:ipv4", Scope.STOPS),
    (replace(QUIET, bpf_netfilter=("id 3",)), "bpf-netfilter", Scope.NO_DROPS),
    (table("all"), "nft:inet/t", Scope.NO_DROPS),
    (table(""), "nft:inet/t", Scope.NO_DROPS),
    (table("conntrack"), "nft:inet/t", Scope.NO_DROPS_AFTER_CONNTRACK),
    (table("input", "ip6"), "nft:ip6/t", Scope.NO_INPUT_DROPS),
    (table("ingress", "netdev"), "nft-netdev:t", Scope.NO_DROPS),
    (replace(QUIET, conntrack_log_invalid=True), "conntrack-log-invalid", Scope.NO_DROPS_AFTER_CONNTRACK),
    (replace(QUIET, helpers=("x",)), "helpers", Scope.NO_DROPS_AFTER_CONNTRACK),
    (replace(QUIET, log_martians=True), "log-martians", Scope.NO_INPUT_DROPS),
    (replace(QUIET, fwmark_rules4=True), "fwmark-rules:ipv4", Scope.NO_INPUT_DROPS),
    (replace(QUIET, tos_rules6=True), "tos-rules:ipv6", Scope.NOTE),
    (replace(QUIET, unknown=("tc: cannot",)), "unknown:tc", Scope.STOPS),
    (replace(QUIET, unknown=("no slug at all",)), "unknown:other", Scope.STOPS),
]


@pytest.mark.parametrize(("host", "id", "scope"), CASES, ids=[c[1] for c in CASES])
def test_each_fact_has_its_cost(host: HostFacts, id: str, scope: Scope) -> None:
    assert [(f.id, f.scope) for f in findings(host)] == [(id, scope)]


@pytest.mark.parametrize(
    "host",
    [
        QUIET,
        replace(ROUTER, interface=QUIET.interface),
        device(vlan_children=("v",), rxvlan=False),
        device(xdp="id 3 (xdptables)"),
        replace(QUIET, packet_sockets=(PacketSocket(0x88CC, 0, 1, "lldpd", True),)),
        replace(QUIET, backends=("legacy/ipv4", "nft/ipv6")),
        replace(QUIET, native_tables=(NativeTable("inet", "t", ("input",), True),)),
        replace(QUIET, native_tables=(NativeTable("arp", "t", ("input",), False, "mangle"),)),
    ],
)
def test_these_cost_nothing(host: HostFacts) -> None:
    assert findings(host) == ()


def test_a_family_is_named_where_only_one_is_concerned() -> None:
    (finding,) = findings(table("input", "ip6"))
    assert finding.family is Family.IPV6
    assert not finding.concerns(Family.IPV4)


def test_the_gravest_comes_first() -> None:
    host = replace(device(gro=True, xdp="id 3"), log_martians=True)
    assert [f.scope for f in findings(host)] == [Scope.STOPS, Scope.NO_INPUT_DROPS, Scope.NOTE]


def test_lift_by_globs_and_name_those_that_lift_nothing() -> None:
    found = tuple(Finding(id, Scope.STOPS, "") for id in ("upper:bridge:br0", "packet-sockets", "gro"))
    kept, lifted, idle = lift(found, ["upper:*", "gro", "tc-*", "Gro"])
    assert [f.id for f in kept] == ["packet-sockets"]
    assert [f.id for f in lifted] == ["upper:bridge:br0", "gro"]
    assert idle == ("tc-*", "Gro")
