"""What is known of the host, as one value beside the rules.

`compile` assumes a `HostFacts` (a plain host unless told); `load` observes one; the artifact carries
the one it relied on. The rules never mix with it. Plain data: it round-trips through JSON.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from .ipsets import IpSet


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
    reads_state_prerouting: bool = False
    # Unless harmless, which drops come after it: "ingress" and "all": every one; "conntrack": those
    # after raw PREROUTING; "input": those in INPUT.
    reach: str = ""
    helpers: tuple[str, ...] = ()  # objects from which expectations can come


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
    # macvlan, macvtap, ipvlan, macsec as "kind:name"; "macvlan/passthru:name" where it takes more than
    # its own MAC; "kind:name@namespace" elsewhere.
    mac_children: tuple[str, ...] = ()
    children_complete: bool = True  # every namespace was scanned
    children_unknown: str = ""  # why not
    gro: bool | None = True
    rxvlan: bool | None = False
    xdp: str = ""  # an XDP program attached now, as "id 12 (name)"
    tc_ingress: tuple[str, ...] = ()  # tc or tcx ingress programs and filters
    # The master by whose name `-i` sees its packets: what is above the interface then holds for both.
    seen_as: str = ""
    ethernet: bool = True
    # Its master is a bridge, and the kernel has iptables' elder brother for those, whose rules are not read.
    ebtables_legacy: bool = False
    odd_broadcast: bool = False  # its link-layer broadcast address is not ff:ff:ff:ff:ff:ff


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Everything besides the rules that the promise rests on. Field names say what is true when set.

    `local4`, `local6`: prefixes (CIDR text) of local, broadcast and anycast routes of the table
    "local", which every packet is looked up in; link-local ones of this interface only.
    """

    assumed: bool = True
    label: str = "plain host"
    kernel: str = ""  # uname release
    interface: InterfaceFacts = InterfaceFacts()
    other_interfaces: bool = False  # besides lo and `interface`
    local4: tuple[str, ...] = ()
    broadcast4: tuple[str, ...] = ()
    local6: tuple[str, ...] = ()
    # Prefixes in which those three do not tell the type of an address (addrtype): anycast, routes of other
    # kinds in the table "local", and routes of these kinds in other tables.
    unclear4: tuple[str, ...] = ()
    unclear6: tuple[str, ...] = ()
    # The first routing rule asks the table "local" for every packet.
    local_first4: bool = True
    local_first6: bool = True
    forwards4: bool = False  # any conf/*/forwarding
    forwards6: bool = False
    mc_forwarding4: bool = False
    mc_forwarding6: bool = False
    bc_forwarding: bool = False
    fwmark_rules4: bool = False  # `ip rule` with fwmark
    fwmark_rules6: bool = False
    tos_rules4: bool = False
    tos_rules6: bool = False
    # IPsec states or policies: what they decrypt passes a generic program as well, and GRO may take it first.
    ipsec: bool = False
    esp_ports: tuple[int, ...] = ()  # of UDP, in which its states hide their ESP
    log_martians: bool = False
    conntrack_log_invalid: bool = False
    conntrack_entries: bool = False  # the table of this namespace holds entries
    nat_entries: bool = False  # ... with a NATed one among them
    # Why expectations are possible: sysctl, native `ct helper`, live expectations.
    helpers: tuple[str, ...] = ()
    tcp_loose: bool = True  # nf_conntrack_tcp_loose: a lone ACK may be NEW
    conntrack_checksum: bool = True  # nf_conntrack_checksum: a bad checksum is INVALID
    # How the kernel limits its ICMP errors. Of one destination: ms between two (net.ipv4.icmp_ratelimit,
    # net.ipv6.icmp.ratelimit; 0: not limited), if the ratemask has "destination unreachable". Of all
    # together: net.ipv4.icmp_msgs_per_sec and icmp_msgs_burst; 0: not known.
    icmp_ratelimit4: int = 1000
    icmp_limited4: bool = True
    icmp_ratelimit6: int = 1000
    icmp_limited6: bool = True
    icmp_msgs_per_sec: int = 1000
    icmp_msgs_burst: int = 50
    no_conntrack_lookup: str = ""  # why XDP can't ask conntrack on this kernel
    conntrack_loaded: bool = True  # without the module nothing is tracked, and no rule reads state
    backends: tuple[str, ...] = ()  # of iptables, with rules: "legacy/ipv4", "nft/ipv6", ...
    # iptables-nft tables that nft changed, "ip/filter: why": native, so among `native_tables` too.
    foreign_tables: tuple[str, ...] = ()
    native_tables: tuple[NativeTable, ...] = ()
    bpf_netfilter: tuple[str, ...] = ()  # BPF netfilter links
    ipsets: tuple[IpSet, ...] | None = None  # those that rules name; None: not known
    packet_sockets: tuple[PacketSocket, ...] = ()
    unknown: tuple[str, ...] = ()  # what could not be observed, and why

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> HostFacts:
        """Raises ValueError with a message for the user. Fields that are left out keep their default."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as e:
            raise ValueError(f"not JSON: {e}") from e
        made = _read(HostFacts, data, "host")
        assert isinstance(made, HostFacts)
        _check_values(made)
        return made


def _read(wanted: Any, value: Any, path: str) -> Any:
    """`value` as the type that a field declares."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{path}: a list is expected, not {value!r}")
        return tuple(_read(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is UnionType:
        return None if value is None else _read(arguments[0], value, path)
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        if not isinstance(value, dict):
            raise ValueError(f"{path}: an object is expected, not {value!r}")
        types = get_type_hints(wanted)
        for key in value:
            if key not in types:
                raise ValueError(f"{path} has no field {key!r}; it has {', '.join(sorted(types))}")
        try:
            return wanted(**{k: _read(types[k], v, f"{path}.{k}") for k, v in value.items()})
        except TypeError as e:  # a field without default is left out
            raise ValueError(f"{path}: {str(e).removeprefix(wanted.__name__ + '.__init__() ')}") from e
    if type(value) is not wanted:
        raise ValueError(f"{path}: {_WORDS[wanted]} is expected, not {value!r}")
    return value


_WORDS = {bool: "true or false", int: "a whole number", str: "a text"}


def _check_values(host: HostFacts) -> None:
    for name in ("local4", "broadcast4", "local6", "unclear4", "unclear6"):
        for prefix in getattr(host, name):
            try:
                version = ipaddress.ip_network(prefix).version
            except ValueError as e:
                raise ValueError(f"host.{name}: {e}") from e
            if version != int(name[-1]):
                raise ValueError(f"host.{name}: {prefix} is not an IPv{name[-1]} prefix")
    if host.interface.mac and not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2})*", host.interface.mac):
        raise ValueError(f"host.interface.mac: {host.interface.mac!r} is not like 02:00:00:aa:bb:cc")


PLAIN_HOST = HostFacts()
ROUTER = HostFacts(label="router", other_interfaces=True, forwards4=True, forwards6=True)
#: Containers behind bridges: forwards, and translates addresses whatever the rules given say.
DOCKER_HOST = HostFacts(
    label="Docker host",
    other_interfaces=True,
    forwards4=True,
    forwards6=True,
    conntrack_entries=True,
    nat_entries=True,
)
ASSUMPTIONS = {"plain": PLAIN_HOST, "router": ROUTER, "docker": DOCKER_HOST}
