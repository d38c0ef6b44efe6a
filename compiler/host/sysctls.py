"""Switches under /proc/sys/net, which shows the network namespace of the task that reads it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

_NET = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True)
class Sysctls:
    forwards4: bool
    forwards6: bool
    mc_forwarding4: bool
    mc_forwarding6: bool
    bc_forwarding: bool
    log_martians: bool
    conntrack_log_invalid: bool
    helper: bool
    tcp_loose: bool
    conntrack_checksum: bool


def sysctls(ifname: str) -> Sysctls:
    return Sysctls(
        forwards4=_any("ipv4", "forwarding"),
        forwards6=_any("ipv6", "forwarding") or _any("ipv6", "force_forwarding"),
        mc_forwarding4=_any("ipv4", "mc_forwarding"),
        mc_forwarding6=_any("ipv6", "mc_forwarding"),
        bc_forwarding=_any("ipv4", "bc_forwarding"),
        log_martians=any(_is_set(_NET / "ipv4/conf" / name / "log_martians") for name in ("all", ifname)),
        conntrack_log_invalid=_is_set(_NET / "netfilter/nf_conntrack_log_invalid"),
        helper=_is_set(_NET / "netfilter/nf_conntrack_helper"),
        tcp_loose=_is_set(_NET / "netfilter/nf_conntrack_tcp_loose", True),
        conntrack_checksum=_is_set(_NET / "netfilter/nf_conntrack_checksum", True),
    )


def _any(family: str, name: str) -> bool:
    """Of any interface; "default" is left out, since it is nobody's value yet."""
    directory = _NET / family / "conf"
    if not directory.is_dir():
        return False
    return any(_is_set(d / name) for d in directory.iterdir() if d.name != "default")


def _is_set(path: Path, absent: bool = False) -> bool:
    """Absent: this kernel has no such switch, or the module is not loaded."""
    with contextlib.suppress(FileNotFoundError):
        return int(path.read_text().split()[0]) != 0
    return absent
