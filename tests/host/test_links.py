"""Kinds of links that few kernels at hand can make."""

from __future__ import annotations

import pytest

from xdptables.host.links import Link, Ties, children_of, ties

ETH0 = Link(2, "eth0", "02:00:00:00:00:01", "")


def child(kind: str, mode: str = "", netnsid: int | None = None, parent: int = 2) -> Link:
    return Link(9, "kid", "", kind, mode, parent=parent, parent_netnsid=netnsid)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (child("vlan"), Ties(vlan_children=("kid",))),
        (child("ipvlan"), Ties(mac_children=("ipvlan:kid",))),
        (child("macsec"), Ties(mac_children=("macsec:kid",))),
        (child("macvtap", "source"), Ties(mac_children=("macvtap/source:kid",))),
        (child("dsa"), Ties(uppers=("dsa:kid",))),
        (child(""), Ties(uppers=("child:kid",))),
        (child("rmnet"), Ties(uppers=("rmnet:kid",))),
        (child("veth"), Ties()),
        (child("gre"), Ties()),
        (child("vlan", parent=3), Ties()),
        (child("vlan", netnsid=0), Ties()),
    ],
)
def test_children(link: Link, expected: Ties) -> None:
    assert ties(ETH0, [ETH0, link]) == expected


def test_children_elsewhere_point_back_by_namespace_id() -> None:
    there = [child("vlan", netnsid=0), child("vlan", netnsid=1), child("vlan")]
    assert children_of(there, 2, 0, "web") == Ties(vlan_children=("kid@web",))


@pytest.mark.parametrize(
    ("master", "slave_kind", "expected"),
    [
        (Link(7, "bond0", "", "bond"), "bond", "bond:bond0"),
        (Link(7, "vrf-red", "", "vrf"), "vrf", "vrf:vrf-red"),
        (Link(7, "ovs-system", "", "openvswitch"), "openvswitch", "openvswitch:ovs-system"),
        (Link(7, "team0", "", ""), "team", "team:team0"),
    ],
)
def test_uppers(master: Link, slave_kind: str, expected: str) -> None:
    ours = Link(2, "eth0", "", "", slave_kind=slave_kind, master=7)
    assert ties(ours, [ours, master]).uppers == (expected,)
