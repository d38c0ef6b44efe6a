"""Attach, replace and detach on a device of this network namespace, never touching another's program."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass

from ..source import UserError
from . import netlink, syscall
from .errors import KernelError

MODES = ("auto", "native", "generic")
_IP_WORD = {"native": "xdpdrv", "generic": "xdpgeneric", "offload": "xdpoffload"}
_FLAG = {"native": netlink.DRV_MODE, "generic": netlink.SKB_MODE}


@dataclass(frozen=True, slots=True)
class AttachResult:
    """`native_refused`: why "auto" attached a generic program. `gro_*`: does the kernel do GRO there."""

    mode: str
    native_refused: str
    gro_before: bool | None
    gro_after: bool | None


def ifindex_of(ifname: str) -> int:
    try:
        return socket.if_nametoindex(ifname)
    except OSError as e:
        names = ", ".join(link.name for link in netlink.links())
        raise UserError(f"no network interface {ifname!r}", f"there are: {names}") from e


def attached(ifindex: int) -> dict[str, int]:
    """mode -> program id; empty when nothing is attached or the device is gone."""
    found = netlink.links(ifindex)
    return found[0].xdp if found else {}


def attach(prog_fd: int, ifname: str, mode: str) -> AttachResult:
    """Attach where nothing is attached. Raises UserError when something is."""
    ifindex = ifindex_of(ifname)
    refuse_if_occupied(ifname, attached(ifindex))
    before = gro_enabled(ifname)
    refused = ""
    if mode in ("auto", "native"):
        try:
            netlink.set_xdp(ifindex, prog_fd, netlink.IF_NOEXIST | netlink.DRV_MODE)
            return AttachResult("native", "", before, gro_enabled(ifname))
        except netlink.NetlinkError as e:
            if mode == "native" or e.errno in (errno.EEXIST, errno.EBUSY, errno.EPERM, errno.ENODEV):
                raise _attach_error(e, ifname, "native") from e
            refused = e.strerror or str(e)
    try:
        netlink.set_xdp(ifindex, prog_fd, netlink.IF_NOEXIST | netlink.SKB_MODE)
    except netlink.NetlinkError as e:
        raise _attach_error(e, ifname, "generic") from e
    return AttachResult("generic", refused, before, gro_enabled(ifname))


def replace(prog_fd: int, ifname: str, mode: str, expected_fd: int) -> AttachResult:
    """Put a program in the place of the one at `expected_fd`: no packet meets neither. The mode stays."""
    ifindex = ifindex_of(ifname)
    current = next(iter(attached(ifindex)), "")
    if mode not in ("auto", current) or current not in _FLAG:
        raise UserError(
            f"the program on {ifname} is attached in {current or 'no'} mode, and replacing keeps the mode",
            "unload it first, or leave the mode to 'auto'",
        )
    before = gro_enabled(ifname)
    try:
        netlink.set_xdp(ifindex, prog_fd, netlink.REPLACE | _FLAG[current], expected_fd)
    except netlink.NetlinkError as e:
        raise _attach_error(e, ifname, current) from e
    return AttachResult(current, "", before, gro_enabled(ifname))


def detach(ifindex: int, mode: str, expected_fd: int) -> bool:
    """Detach the program at `expected_fd`. False when another one, or none, is attached by now."""
    try:
        netlink.set_xdp(ifindex, -1, netlink.REPLACE | _FLAG[mode], expected_fd)
    except netlink.NetlinkError as e:
        if e.errno in (errno.EEXIST, errno.ENOENT, errno.ENODEV):
            return False
        raise KernelError(f"detaching failed: {e.strerror}") from e
    return True


def refuse_if_occupied(ifname: str, programs: dict[str, int]) -> None:
    for mode, number in programs.items():
        raise UserError(
            f"{ifname} already has an XDP program that is not ours: {describe(number)}, {mode}",
            f"xdptables never replaces it; to detach it: ip link set dev {ifname} {_IP_WORD[mode]} off",
        )


def describe(prog_id: int) -> str:
    """ "id 12 (name)"."""
    try:
        fd = syscall.prog_fd_by_id(prog_id)
    except OSError:
        return f"id {prog_id}"
    try:
        name = syscall.prog_info(fd).name
    finally:
        os.close(fd)
    return f"id {prog_id} ({name})" if name else f"id {prog_id}"


def gro_enabled(ifname: str) -> bool | None:
    """Does the kernel merge packets received on the device? None when that can't be read.

    The kernel skips GRO on a device with a generic program, whatever the feature flag says.
    """
    value = ctypes.create_string_buffer(struct.pack("=II", 0x2B, 0))  # ETHTOOL_GGRO
    request = struct.pack("16sP16x", ifname.encode(), ctypes.addressof(value))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, 0x8946, request)  # SIOCETHTOOL
        feature = bool(struct.unpack("=II", value.raw[:8])[1])
        return feature and "generic" not in attached(socket.if_nametoindex(ifname))
    except OSError:
        return None


def _attach_error(e: netlink.NetlinkError, ifname: str, mode: str) -> Exception:
    if e.errno in (errno.EEXIST, errno.EBUSY):
        return UserError(f"another XDP program was attached to {ifname} meanwhile: {e.strerror}", "try again")
    if e.errno == errno.EPERM:
        return UserError(f"attaching to {ifname} is not permitted: {e.strerror}", "CAP_NET_ADMIN is needed")
    if e.errno == errno.ENODEV:
        return UserError(f"{ifname} is gone")
    hint = "use generic mode" if mode == "native" else ""
    return UserError(f"{ifname} takes no {mode} XDP program: {e.strerror}", hint)
