"""The host that frames are made for: what is not known of it is made up, the same each time."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from ..host.facts import HostFacts
from .model import Place

#: The interface where none is given.
USUAL = "eth0"
_PEERS4 = ("198.51.100.7", "203.0.113.9", "192.0.2.2")
_PEERS6 = ("2001:db8:1::7", "2001:db8::2")


def settle(host: HostFacts, interface: str | None = None) -> tuple[HostFacts, Place]:
    """The facts with an interface name, a MAC and local addresses, and who speaks to whom there.

    An assumed host has none of these; a verdict in INPUT hangs on them."""
    link = host.interface
    if interface:
        link = replace(link, name=interface)
    usual = Place()
    link = replace(link, name=link.name or USUAL, mac=link.mac or usual.own_mac)
    local4, broadcast4, local6 = host.local4, host.broadcast4, host.local6
    if not local4:
        local4, broadcast4 = ("127.0.0.0/8", f"{usual.own4}/32"), (f"{usual.broadcast4}/32",)
    if not local6:
        local6 = ("::1/128", f"{usual.own6}/128")
    host = replace(host, interface=link, local4=local4, broadcast4=broadcast4, local6=local6)
    own4, own6 = _own(local4, usual.own4), _own(local6, usual.own6)
    place = Place(
        own_mac=link.mac,
        peer_mac=usual.peer_mac if link.mac != usual.peer_mac else "02:00:00:00:00:0c",
        own4=own4,
        peer4=_peer(_PEERS4 if own4 != usual.own4 else (usual.peer4,), local4),
        broadcast4=_own(broadcast4, usual.broadcast4),
        own6=own6,
        peer6=_peer(_PEERS6 if own6 != usual.own6 else (usual.peer6,), local6),
    )
    return host, place


def _own(prefixes: tuple[str, ...], default: str) -> str:
    networks = [ipaddress.ip_network(p, strict=False) for p in prefixes]
    for network in networks:
        address = network.network_address
        if not (address.is_loopback or address.is_link_local or address.is_unspecified):
            return str(address)
    return default


def _peer(candidates: tuple[str, ...], local: tuple[str, ...]) -> str:
    networks = [ipaddress.ip_network(p, strict=False) for p in local]
    for text in candidates:
        if not any(ipaddress.ip_address(text) in n for n in networks):
            return text
    return candidates[0]
