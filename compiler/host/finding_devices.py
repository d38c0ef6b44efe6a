"""What the devices above, on and beside an interface cost: a part of the table in findings.py. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import HostFacts
from .finding import Finding, Scope
from .masters import HAND_UP, is_named


def uppers(host: HostFacts) -> Iterator[Finding]:
    """`-i` sees the upper device. Where that is named, only its group frames remain: a bridge also hands
    them to its other ports. A VRF lets a packet cross PREROUTING twice, once under each name; others
    (Open vSwitch) may do anything with it: no name helps there."""
    for upper in host.interface.uppers:
        kind, _, name = upper.partition(":")
        hands_up = kind in HAND_UP and "@" not in name
        if is_named(upper, host.interface):
            if kind == "bridge":
                yield Finding(
                    "bridge-port",
                    Scope.NO_GROUP_DROPS,
                    f"broadcast and multicast frames also go to the other ports of {name}",
                )
            continue
        yield Finding(
            f"upper:{upper}",
            Scope.STOPS,
            f"{host.interface.name} belongs to the {kind} {name}, which is what rules with -i see",
            f"--interface-name {name}" if hands_up else "",
        )


def ebtables(host: HostFacts) -> Iterator[Finding]:
    """A frame may be logged, sent to another MAC, or (broute) handed up by the port's own name."""
    if host.interface.ebtables_legacy:
        yield Finding(
            "ebtables-legacy",
            Scope.NO_DROPS,
            f"legacy ebtables may see packets first on {host.interface.seen_as}",
            "rmmod ebtable_broute ebtable_nat ebtable_filter",
        )


def mac_children(host: HostFacts) -> Iterator[Finding]:
    """ipvlan shares the MAC, passthru and source modes take frames by other means than the child's MAC,
    MACsec takes what it decrypts: these decline. Other macvlans get only broadcast and multicast."""
    parts = [child.partition(":") for child in host.interface.mac_children]
    for kind in dict.fromkeys(p[0] for p in parts):
        names = ", ".join(name for k, _, name in parts if k == kind)
        if kind in ("macvlan", "macvtap"):
            yield Finding(
                kind,
                Scope.NO_GROUP_DROPS,
                f"broadcast and multicast frames also go to {kind} {names}",
                "give it another parent",
            )
        else:
            yield Finding(
                kind.replace("/", "-"),
                Scope.STOPS,
                f"{kind} {names} takes frames of {host.interface.name} before its rules",
                "give it another parent",
            )


def unscanned(host: HostFacts) -> Iterator[Finding]:
    """A macvlan in a namespace that can't be entered is not seen, and gets broadcasts."""
    if not host.interface.children_complete:
        why = f": {host.interface.children_unknown}" if host.interface.children_unknown else ""
        yield Finding(
            "unscanned-namespaces",
            Scope.NO_GROUP_DROPS,
            f"not every network namespace could be searched for macvlan devices{why}",
            "run on the host itself, as root",
        )


def vlan_offload(host: HostFacts) -> Iterator[Finding]:
    """The tag travels beside the frame, where XDP sees none; a veth does so whatever its features say."""
    i = host.interface
    if i.vlan_children and (i.rxvlan is not False or i.kind == "veth"):
        off = f"ethtool -K {i.name} rxvlan off rx-vlan-stag-hw-parse off"
        yield Finding(
            "vlan-offload",
            Scope.STOPS,
            f"the tag of frames for {', '.join(i.vlan_children)} may travel beside the frame, unseen by XDP",
            off if i.kind != "veth" else "remove the VLAN devices",
        )
