"""Modules of stock kernels that a test needs before any rule has asked for them."""

from __future__ import annotations

import subprocess

from xdptables.host import conntrack


def need_conntrack() -> None:
    if not conntrack.is_loaded():
        subprocess.run(["modprobe", "nf_conntrack"], check=True)
