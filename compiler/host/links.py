"""The links of a network namespace, and what the one that we serve is tied to."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from . import netlink

_GETLINK = 18
_ADDRESS, _BROADCAST, _IFNAME, _LINK, _MASTER, _LINKINFO, _NETNSID, _XDP, _PROP_LIST, _ALT_IFNAME = (
    *(1, 2, 3, 5, 10, 18, 37, 43, 52, 53),
)
_ALL_ONES = b"\xff" * 6
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND = 1, 2, 4
_ARPHRD_ETHER = 1
_MACVLAN_MODE = 1
_BR_VLAN_FILTERING = 7
_MODES = {8: "passthru", 16: "source"}  # these take frames by more than the child's own MAC
_XDP_ATTACHED, _XDP_PROG_IDS = 2, (4, 5, 6, 7)

# Devices that take frames off their parent before any hook: by tag, by MAC, or all of them.
TAKES_BY_MAC = ("macvlan", "macvtap", "ipvlan", "ipvtap", "macsec")
# IFLA_LINK is only the route or the peer of these: what they receive crossed INPUT of the parent.
_HARMLESS_CHILDREN = frozenset(
    [
        "veth",
        "netkit",
        "gre",
        "gretap",
        "erspan",
        "ip6gre",
        "ip6gretap",
        "ip6erspan",
        "ipip",
        "sit",
        "ip6tnl",
        "vti",
        "vti6",
        "vxlan",
        "geneve",
        "gtp",
        "bareudp",
        "xfrm",
        "l2tp",
        "wireguard",
        "ovpn",
        "ifb",
        "amt",
    ]
)


@dataclass(frozen=True, slots=True)
class Link:
    """`parent`: IFLA_LINK; `parent_netnsid`: where the parent lives, None for this namespace."""

    ifindex: int
    name: str
    mac: str
    kind: str
    mode: str = ""
    slave_kind: str = ""
    master: int = 0
    parent: int = 0
    parent_netnsid: int | None = None
    xdp: tuple[int, ...] = ()
    altnames: tuple[str, ...] = ()
    vlan_filtering: bool = False  # a bridge that tags what comes in by its ports' VLANs
    ethernet: bool = True  # ARPHRD_ETHER; loopback, tun, WireGuard and the like are none
    odd_broadcast: bool = False  # another link-layer broadcast address than ff:ff:ff:ff:ff:ff


@dataclass(frozen=True, slots=True)
class Ties:
    """What stands above a link, as the texts of InterfaceFacts."""

    uppers: tuple[str, ...] = ()
    vlan_children: tuple[str, ...] = ()
    mac_children: tuple[str, ...] = ()


def links() -> list[Link]:
    """All links of the calling thread's namespace."""
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
    return [_link(answer) for answer in netlink.dump(netlink.ROUTE, _GETLINK, body)]


def _link(body: bytes) -> Link:
    a = netlink.attribute_map(body, 16)
    info = netlink.attribute_map(a.get(_LINKINFO, b""))
    kind = netlink.text(info.get(_INFO_KIND, b""))
    mode = ""
    data = netlink.attribute_map(info.get(_INFO_DATA, b""))
    if kind in ("macvlan", "macvtap"):
        mode = _MODES.get(netlink.u32(data.get(_MACVLAN_MODE)), "")
    xdp = netlink.attribute_map(a.get(_XDP, b""))
    attached = xdp.get(_XDP_ATTACHED, b"\0")[0]
    programs = {netlink.u32(xdp[k]) for k in _XDP_PROG_IDS if k in xdp} - {0} if attached else set()
    names = netlink.attributes(a.get(_PROP_LIST, b""))
    return Link(
        ifindex=struct.unpack_from("=i", body, 4)[0],
        name=netlink.text(a.get(_IFNAME, b"")),
        mac=":".join(f"{b:02x}" for b in a.get(_ADDRESS, b"")),
        kind=kind,
        mode=mode,
        slave_kind=netlink.text(info.get(_INFO_SLAVE_KIND, b"")),
        master=netlink.u32(a.get(_MASTER)),
        parent=netlink.u32(a.get(_LINK)),
        parent_netnsid=struct.unpack("=i", a[_NETNSID])[0] if _NETNSID in a else None,
        xdp=tuple(sorted(programs)),
        altnames=tuple(netlink.text(v) for k, v in names if k == _ALT_IFNAME),
        vlan_filtering=kind == "bridge" and data.get(_BR_VLAN_FILTERING, b"\0") != b"\0",
        ethernet=struct.unpack_from("=H", body, 2)[0] == _ARPHRD_ETHER,
        odd_broadcast=a.get(_BROADCAST, _ALL_ONES) != _ALL_ONES,
    )


def ties(ours: Link, here: list[Link]) -> Ties:
    """Masters and children of `ours` among the links of its own namespace."""
    uppers = [_upper(ours, here)] if ours.master else []
    children = [k for k in here if k.parent == ours.ifindex and k.parent_netnsid is None]
    below = children_of(children, ours.ifindex, None)
    return Ties((*uppers, *below.uppers), below.vlan_children, below.mac_children)


def _upper(ours: Link, here: list[Link]) -> str:
    master = next((k for k in here if k.ifindex == ours.master), None)
    kind = (master.kind if master else "") or ours.slave_kind or "master"
    return f"{kind}:{master.name if master else ours.master}"


def children_of(there: list[Link], ifindex: int, netnsid: int | None, where: str = "") -> Ties:
    """Which links of a namespace sit on device `ifindex` of the namespace that has this id there."""
    uppers, vlans, macs = [], [], []
    for link in there:
        if link.parent != ifindex or link.parent_netnsid != netnsid:
            continue
        if netnsid is None and link.ifindex == ifindex:
            continue
        name = f"{link.name}@{where}" if where else link.name
        if link.kind == "vlan":
            vlans.append(name)
        elif link.kind in TAKES_BY_MAC:
            kind = f"{link.kind}/{link.mode}" if link.mode else link.kind
            macs.append(f"{kind}:{name}")
        elif link.kind not in _HARMLESS_CHILDREN:
            # DSA ports, and kinds that this code does not know.
            uppers.append(f"{link.kind or 'child'}:{name}")
    return Ties(tuple(uppers), tuple(vlans), tuple(macs))
