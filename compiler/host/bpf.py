"""BPF programs that see packets before netfilter's rules: tcx, and BPF netfilter links."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_NUMBERS = {"x86_64": 321, "i686": 357, "armv7l": 386, "ppc64le": 361, "s390x": 351}
_NUMBER = _NUMBERS.get(platform.machine(), 280)  # arm64, riscv64 and all later ones
_libc = ctypes.CDLL(None, use_errno=True)

_PROG_FD, _INFO, _QUERY, _LINK_FD, _LINK_NEXT = 13, 15, 16, 30, 31
_TCX_INGRESS, _LINK_NETFILTER = 46, 10
_FAMILIES = {2: "ipv4", 10: "ipv6"}
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")


def _bpf(command: int, attr: bytes) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result: int = _libc.syscall(_NUMBER, command, buffer, len(buffer))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result, buffer.raw


def program_text(prog_id: int) -> str:
    """As "id 12 (name)"."""
    try:
        fd, _ = _bpf(_PROG_FD, struct.pack("=III", prog_id, 0, 0))
    except OSError:
        return f"id {prog_id}"
    try:
        raw = _info(fd, 80)
    finally:
        os.close(fd)
    name = raw[64:80].split(b"\0", 1)[0].decode(errors="replace")
    return f"id {prog_id} ({name})" if name else f"id {prog_id}"


def tcx_ingress(ifindex: int) -> tuple[str, ...]:
    """Raises OSError; a kernel before tcx (6.6) has none."""
    ids = ctypes.create_string_buffer(64 * 4)
    attr = struct.pack("=IIIIQIIQQQQ", ifindex, _TCX_INGRESS, 0, 0, ctypes.addressof(ids), 64, 0, 0, 0, 0, 0)
    try:
        _, answer = _bpf(_QUERY, attr)
    except OSError as e:
        if e.errno in (errno.EINVAL, errno.ENOENT, errno.ENOSYS):
            return ()
        if e.errno == errno.ENOSPC:
            return ("more than 64 tcx programs",)
        raise
    count = struct.unpack_from("=I", answer, 24)[0]
    return tuple(f"tcx {program_text(i)}" for i in struct.unpack_from(f"={count}I", ids.raw))


def netfilter_links() -> tuple[str, ...]:
    """Of all namespaces: the kernel does not say to which one a link belongs. Raises OSError."""
    found: list[str] = []
    number = 0
    while True:
        try:
            _, answer = _bpf(_LINK_NEXT, struct.pack("=III", number, 0, 0))
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.EINVAL, errno.ENOSYS):  # the end, or no links at all
                return tuple(found)
            raise
        number = struct.unpack_from("=I", answer, 4)[0]
        try:
            fd, _ = _bpf(_LINK_FD, struct.pack("=III", number, 0, 0))
        except FileNotFoundError:
            continue
        try:
            raw = _info(fd, 48)
        finally:
            os.close(fd)
        kind, _, program = struct.unpack_from("=III", raw)
        if kind == _LINK_NETFILTER:
            family, hook = struct.unpack_from("=II", raw, 16)
            place = _HOOKS[hook] if hook < len(_HOOKS) else str(hook)
            found.append(f"{program_text(program)} at {_FAMILIES.get(family, str(family))} {place}")


def _info(fd: int, size: int) -> bytes:
    info = ctypes.create_string_buffer(size)
    _bpf(_INFO, struct.pack("=IIQ", fd, size, ctypes.addressof(info)))
    return info.raw
