"""What is known of the host, as one value beside the rules.

`compile` assumes a `HostFacts` (a plain host unless told); `load` observes one; the artifact carries
the one it relied on. The rules never mix with it. Plain data: it round-trips through JSON.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class NativeTable:
    """An nftables table that iptables-nft does not own. `hooks`: of its base chains.

    `harmless`: before INPUT ends it only matches, counts and gives verdicts; else `why` says what not.
    """

    family: str  # ip, ip6, inet, netdev, bridge, arp
    name: str
    hooks: tuple[str, ...] = ()
    harmless: bool = False
    why: str = ""
    uses_conntrack: bool = False
    has_nat: bool = False
    reads_state_outbound: bool = False  # OUTPUT, FORWARD or POSTROUTING chains read connection state


@dataclass(frozen=True, slots=True)
class PacketSocket:
    """An AF_PACKET socket: `protocol` as an EtherType (3: all), ifindex 0: every interface."""

    protocol: int
    ifindex: int
    inode: int
    process: str = ""
    harmless: bool = False  # known to read only what XDP always passes (ARP, LLDP, EAPOL, DHCP)


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """The interface that the program serves. `mac` as aa:bb:..., "" when not known.

    `uppers`: devices it is a port, slave or parent of, as "kind:name" ("bridge:br0").
    `gro`, `rxvlan`: device features; None when not known.
    """

    name: str = ""
    ifindex: int = 0
    mac: str = ""
    kind: str = ""  # IFLA_INFO_KIND: veth, vlan, ...
    uppers: tuple[str, ...] = ()
    vlan_children: tuple[str, ...] = ()
    mac_children: tuple[str, ...] = ()  # macvlan, macvtap, ipvlan, in any namespace that was scanned
    children_complete: bool = True  # every namespace was scanned
    gro: bool | None = True
    rxvlan: bool | None = False
    xdp: str = ""  # an XDP program attached now, as "id 12 (name)"
    tc_ingress: tuple[str, ...] = ()  # tc or tcx ingress programs and filters


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Everything besides the rules that the promise rests on. Field names say what is true when set.

    `local4`, `local6`: prefixes (CIDR text) of local, broadcast and anycast routes, of all routing tables.
    """

    assumed: bool = True
    label: str = "plain host"
    kernel: str = ""  # uname release
    interface: InterfaceFacts = InterfaceFacts()
    other_interfaces: bool = False  # besides lo and `interface`
    local4: tuple[str, ...] = ()
    broadcast4: tuple[str, ...] = ()
    local6: tuple[str, ...] = ()
    forwards4: bool = False  # any conf/*/forwarding
    forwards6: bool = False
    mc_forwarding4: bool = False
    mc_forwarding6: bool = False
    bc_forwarding: bool = False
    fwmark_rules4: bool = False  # `ip rule` with fwmark
    fwmark_rules6: bool = False
    tos_rules4: bool = False
    tos_rules6: bool = False
    log_martians: bool = False
    conntrack_log_invalid: bool = False
    conntrack_entries: bool = False  # the table of this namespace holds entries
    nat_entries: bool = False  # ... with a NATed one among them
    helpers: tuple[str, ...] = ()  # why expectations are possible: sysctl, native `ct helper`, live expectations
    native_tables: tuple[NativeTable, ...] = ()
    bpf_netfilter: tuple[str, ...] = ()  # BPF netfilter links
    packet_sockets: tuple[PacketSocket, ...] = ()
    unknown: tuple[str, ...] = ()  # what could not be observed, and why

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> HostFacts:
        """Raises ValueError with a message for the user."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as e:
            raise ValueError(f"not JSON: {e}") from e
        if not isinstance(data, dict):
            raise ValueError("a JSON object is expected")
        nested: dict[str, Any] = {
            "interface": lambda v: _make(InterfaceFacts, v),
            "native_tables": lambda v: tuple(_make(NativeTable, t) for t in v),
            "packet_sockets": lambda v: tuple(_make(PacketSocket, s) for s in v),
        }
        return _make(HostFacts, {k: nested[k](v) if k in nested else v for k, v in data.items()})


def _make(cls: Any, data: dict[str, Any]) -> Any:
    known = {f.name for f in dataclasses.fields(cls)}
    for key in data:
        if key not in known:
            raise ValueError(f"{cls.__name__} has no field {key!r}; it has {', '.join(sorted(known))}")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


PLAIN_HOST = HostFacts()
ROUTER = HostFacts(label="router", other_interfaces=True, forwards4=True, forwards6=True)
ASSUMPTIONS = {"plain": PLAIN_HOST, "router": ROUTER}
