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


@dataclass(frozen=True, slots=True)
class IcmpLimits:
    """How the kernel limits its ICMP errors: see HostFacts."""

    ratelimit4: int
    limited4: bool
    ratelimit6: int
    limited6: bool
    msgs_per_sec: int
    msgs_burst: int


DEST_UNREACH4, DEST_UNREACH6 = 3, 1


def icmp_limits() -> IcmpLimits:
    """A file that is not there makes "not limited": nothing is known, and so nothing is dropped for it."""
    return IcmpLimits(
        ratelimit4=_number(_NET / "ipv4/icmp_ratelimit"),
        limited4=bool(_number(_NET / "ipv4/icmp_ratemask") >> DEST_UNREACH4 & 1),
        ratelimit6=_number(_NET / "ipv6/icmp/ratelimit"),
        limited6=_in_list(_NET / "ipv6/icmp/ratemask", DEST_UNREACH6),
        msgs_per_sec=_number(_NET / "ipv4/icmp_msgs_per_sec"),
        msgs_burst=_number(_NET / "ipv4/icmp_msgs_burst"),
    )


def _number(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return int(path.read_text().split()[0])
    return 0


def _in_list(path: Path, number: int) -> bool:
    """Of ranges: "0-1,3-127". IPv6 had no ratemask before Linux 5.2 (then all errors were limited)."""
    if not path.exists():
        return path.parent.exists()
    for part in path.read_text().strip().split(","):
        first, _, last = part.partition("-")
        if first and int(first) <= number <= int(last or first):
            return True
    return False


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
