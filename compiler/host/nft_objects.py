"""nf_tables by netlink: which tables there are, and which devices their ingress chains serve.

The JSON of some nft versions leaves out a chain's devices, and nft may not be installed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from . import netlink

_SUBSYSTEM = 10 << 8
_GETTABLE, _GETCHAIN, _GETFLOWTABLE = _SUBSYSTEM | 1, _SUBSYSTEM | 4, _SUBSYSTEM | 23
_GETGEN, _GEN_ID = _SUBSYSTEM | 16, 1
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_DORMANT = 1
_HOOK_DEV, _HOOK_DEVS, _DEVICE_NAME, _DEVICE_PREFIX = 3, 4, 1, 2


@dataclass(frozen=True, slots=True)
class TableId:
    family: str
    name: str
    dormant: bool = False  # its chains are not hooked in


@dataclass(frozen=True, slots=True)
class DeviceHook:
    """A chain or flowtable on devices. `devices`: names; a trailing * stands for any rest."""

    family: str
    table: str
    name: str
    devices: tuple[str, ...]
    flowtable: bool = False
    egress: bool = False

    def serves(self, ifname: str) -> bool:
        return any(ifname.startswith(d[:-1]) if d.endswith("*") else ifname == d for d in self.devices)


def tables() -> tuple[TableId, ...]:
    """Raises OSError. None where the kernel has no nf_tables."""
    found = []
    for answer in _ask(_GETTABLE):
        a = netlink.attribute_map(answer, 4)
        flags = struct.unpack(">I", a[2])[0] if 2 in a else 0
        family = FAMILIES.get(answer[0], str(answer[0]))
        found.append(TableId(family, netlink.text(a[1]), bool(flags & _DORMANT)))
    return tuple(found)


def generation() -> int | None:
    """Another number after each transaction. None where the kernel has no nf_tables. Raises OSError."""
    for answer in _ask(_GETGEN, flags=0):
        a = netlink.attribute_map(answer, 4)
        if _GEN_ID in a:
            return int(struct.unpack(">I", a[_GEN_ID])[0])
    return None


def table_names(family: str) -> tuple[str, ...]:
    return tuple(t.name for t in tables() if t.family == family)


def device_hooks() -> tuple[DeviceHook, ...]:
    return (*_chains(), *_flowtables())


def _chains() -> list[DeviceHook]:
    found = []
    for answer in _ask(_GETCHAIN):
        a = netlink.attribute_map(answer, 4)
        hook = netlink.attribute_map(a.get(4, b""))
        devices = _devices(hook, _HOOK_DEV, _HOOK_DEVS)
        if devices:
            family = FAMILIES.get(answer[0], str(answer[0]))
            egress = family == "netdev" and struct.unpack(">I", hook[1])[0] == 1
            found.append(DeviceHook(family, netlink.text(a[1]), netlink.text(a[3]), devices, egress=egress))
    return found


def _flowtables() -> list[DeviceHook]:
    found = []
    for answer in _ask(_GETFLOWTABLE):
        a = netlink.attribute_map(answer, 4)
        devices = _devices(netlink.attribute_map(a.get(3, b"")), 0, 3)
        family = FAMILIES.get(answer[0], str(answer[0]))
        found.append(DeviceHook(family, netlink.text(a[1]), netlink.text(a[2]), devices, flowtable=True))
    return found


def _devices(hook: dict[int, bytes], one: int, many: int) -> tuple[str, ...]:
    devices = [netlink.text(hook[one])] if one in hook else []
    for kind, value in netlink.attributes(hook.get(many, b"")):
        devices.append(netlink.text(value) + ("*" if kind == _DEVICE_PREFIX else ""))
    return tuple(dict.fromkeys(devices))


def _ask(kind: int, flags: int = netlink.DUMP) -> list[bytes]:
    try:
        return netlink.dump(netlink.NETFILTER, kind, netlink.nfgenmsg(), flags=flags)
    except netlink.NetlinkError as e:
        if isinstance(e, PermissionError):
            raise
        return []  # the kernel has no nf_tables, or not this kind of object
