"""May this process load an XDP program on this kernel? Asked before anything is done."""

from __future__ import annotations

import os
import platform
import re
import resource
from pathlib import Path

from ..source import UserError

_MINIMUM = (5, 10)
_NO_MEMLOCK = (5, 11)  # from here on, BPF memory is charged to the cgroup
_BITS = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}


def kernel_version(release: str = "") -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", release or platform.release())
    return (int(match[1]), int(match[2])) if match else (0, 0)


def check_privileges() -> None:
    """Raises UserError saying what is missing and what to do."""
    have = _capabilities()
    wanted = ["CAP_NET_ADMIN"] if "CAP_SYS_ADMIN" in have else ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]
    missing = [name for name in wanted if name not in have]
    if missing:
        who = "root in this container" if os.geteuid() == 0 else "not root"
        raise UserError(
            f"this needs privileges: the process is {who} and lacks {', '.join(missing)}",
            "run it with sudo, or give the container these; compile, verify and explain need none",
        )


def check_kernel(release: str = "") -> None:
    version = kernel_version(release)
    if version < _MINIMUM:
        raise UserError(
            f"Linux {version[0]}.{version[1]} is too old",
            f"xdptables needs {_MINIMUM[0]}.{_MINIMUM[1]} or later",
        )


def raise_memlock() -> None:
    """Old kernels charge maps to RLIMIT_MEMLOCK, whose default of 64 KiB holds none."""
    if kernel_version() >= _NO_MEMLOCK:
        return
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError) as e:
        raise UserError(f"cannot raise the limit of locked memory: {e}", "ulimit -l unlimited") from e


def preflight() -> None:
    check_kernel()
    check_privileges()
    raise_memlock()


def _capabilities() -> set[str]:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return {name for name, bit in _BITS.items() if bits >> bit & 1}
    return set()
