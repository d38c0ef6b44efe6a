"""AF_PACKET sockets: readers that no longer see what XDP drops."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from .facts import PacketSocket

_TABLE = Path("/proc/thread-self/net/packet")
_READS_IP = (0x0003, 0x0800, 0x86DD, 0x8100, 0x88A8)  # 3: everything
# These read UDP 67 and 68 (or LLDP) through a filter of their own. Process names are cut at 15 bytes.
_DHCP_OR_LLDP = frozenset(
    [
        "dhclient",
        "dhcpcd",
        "systemd-network",
        "NetworkManager",
        "udhcpc",
        "udhcpd",
        "dhcpd",
        "dhcrelay",
        "isc-dhcp-server",
        "isc-dhcp-relay",
        "kea-dhcp4",
        "dnsmasq",
        "connmand",
        "pump",
        "dhcp-helper",
        "dhcp4relay",
        "lldpd",
        "wickedd-dhcp4",
    ]
)


def packet_sockets(ifindexes: Collection[int]) -> tuple[PacketSocket, ...]:
    """Those of this namespace that read one of these devices. Raises OSError."""
    found = parse(_TABLE.read_text(), ifindexes)
    owners = _owners({s.inode for s in found})
    return tuple(_judged(s, owners.get(s.inode, "")) for s in found)


def parse(table: str, ifindexes: Collection[int]) -> list[PacketSocket]:
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        protocol, ifindex, inode = int(words[3], 16), int(words[4]), int(words[8])
        # Protocol 0 only sends. One that is not running waits for its device to come up.
        if protocol and (ifindex == 0 or ifindex in ifindexes):
            found.append(PacketSocket(protocol, ifindex, inode))
    return found


def _judged(s: PacketSocket, process: str) -> PacketSocket:
    harmless = s.protocol not in _READS_IP or (s.protocol in (0x0003, 0x0800) and process in _DHCP_OR_LLDP)
    return PacketSocket(s.protocol, s.ifindex, s.inode, process, harmless)


def _owners(inodes: set[int]) -> dict[int, str]:
    if not inodes:
        return {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, str] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    inode = wanted.get(os.readlink(f"/proc/{pid}/fd/{fd}"))
                    if inode is not None:
                        found.setdefault(inode, Path(f"/proc/{pid}/comm").read_text().strip())
    return found
