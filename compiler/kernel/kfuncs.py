"""Calls of kernel functions: found in the running kernel, and written into the instructions.

The C calls numbers that are no helper's; here each such call becomes one of the kernel function
(BPF_PSEUDO_KFUNC_CALL: src_reg 2, imm the BTF id, off the index into `fd_array` for a module's).
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import syscall
from .btf import Found, find_functions
from .errors import KernelError
from .preflight import kernel_version

MODULE = "nf_conntrack"
#: By the number that templates/conntrack.c.j2 calls. Linux 5.18 (net/netfilter/nf_conntrack_bpf.c).
CALLS = {0x70000001: "bpf_xdp_ct_lookup", 0x70000002: "bpf_ct_release"}
_NAMES = frozenset(CALLS.values())
_CALL, _PSEUDO_KFUNC_CALL = 0x85, 2


def why_no_conntrack_lookup() -> str:
    """Why XDP can't ask conntrack on the running kernel; "" when it can."""
    try:
        if _find() is not None:
            return ""
    except PermissionError:
        return "its BTF may not be read by this process"
    except OSError as e:
        return f"its BTF can't be read: {e.strerror}"
    if kernel_version() < (5, 18):
        return "this kernel has no bpf_xdp_ct_lookup (Linux 5.18)"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"
    if Path("/sys/module/nf_conntrack/initstate").exists() and not Path(f"/sys/kernel/btf/{MODULE}").exists():
        return f"the module {MODULE} has no BTF (CONFIG_DEBUG_INFO_BTF_MODULES)"
    if not Path("/proc/sys/net/netfilter/nf_conntrack_max").exists():
        return f"the module {MODULE} is not loaded"
    return "this kernel has no bpf_xdp_ct_lookup"


def load(instructions: bytes, license: str, *, name: str = "xdptables") -> syscall.LoadedProgram:
    """Load what `compile_program` made. Raises KernelError with the end of the verifier's log."""
    with _resolved(instructions) as (code, fd_array):
        return syscall.prog_load(code, license, name=name, fd_array=fd_array)


@contextmanager
def _resolved(instructions: bytes) -> Iterator[tuple[bytes, Sequence[int]]]:
    """The instructions with real calls in them, and the `fd_array` to load them with; the descriptor in it
    is open for the length of the block. Raises KernelError when the functions are not there."""
    sites = list(_sites(instructions))
    if not sites:
        yield instructions, ()
        return
    found = _find()
    if found is None:
        raise KernelError(
            f"conntrack can't be asked: {why_no_conntrack_lookup()}",
            hint="compile for the facts of this host",
        )
    code = bytearray(instructions)
    for at, number in sites:
        registers = code[at + 1] & 0x0F | _PSEUDO_KFUNC_CALL << 4
        struct.pack_into("=Bhi", code, at + 1, registers, 1 if found.module else 0, found.ids[CALLS[number]])
    if not found.module:
        yield bytes(code), ()
        return
    fd = syscall.btf_fd_by_id(found.module_id)
    try:
        yield bytes(code), (0, fd)
    finally:
        os.close(fd)


def _sites(instructions: bytes) -> Iterator[tuple[int, int]]:
    """Where a placeholder is called, and which. A 16-byte load takes two places; its second is all data."""
    at = 0
    while at < len(instructions):
        opcode, number = instructions[at], struct.unpack_from("=i", instructions, at + 4)[0]
        if opcode == _CALL and number in CALLS:
            yield at, number
        at += 16 if opcode == 0x18 else 8


@functools.lru_cache(maxsize=1)
def _found_once() -> Found:
    found = find_functions(_NAMES, MODULE)
    if found is None:
        raise LookupError
    return found


def _find() -> Found | None:
    """Once found they stay, unless the module is loaded anew; then its BTF object has another id."""
    try:
        found = _found_once()
    except LookupError:  # not kept: the module may be loaded later
        return None
    if found.module:
        try:
            os.close(syscall.btf_fd_by_id(found.module_id))
        except FileNotFoundError:
            _found_once.cache_clear()
            return _find()
    return found
