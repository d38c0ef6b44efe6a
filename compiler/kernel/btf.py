"""Ids of kernel functions, out of BTF (Documentation/bpf/btf.rst).

The kernel proper and each module have a blob of their own; ids and string offsets of a module go on where
those of vmlinux end, so they differ with each build and are looked up when a program is loaded.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from dataclasses import dataclass

from . import syscall

VMLINUX = "vmlinux"
_MAGIC = 0xEB9F
_FUNC = 12
#: What follows the three words of a type: (bytes in all, bytes for each of its `vlen` members).
_TAIL = {
    1: (4, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 13: (0, 8), 14: (4, 0), 15: (0, 12),
    17: (4, 0), 19: (0, 12),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Btf:
    """`strings`: with the leading empty one. `types`: the records, one behind the other."""

    types: bytes
    strings: bytes

    @staticmethod
    def parse(blob: bytes) -> Btf:
        """Raises ValueError when it is no BTF of this machine's byte order."""
        if len(blob) < 24 or struct.unpack_from("=H", blob)[0] != _MAGIC:
            raise ValueError("no BTF")
        head, type_at, type_len, str_at, str_len = struct.unpack_from("=5I", blob, 4)
        at = head + type_at
        return Btf(blob[at : at + type_len], blob[head + str_at : head + str_at + str_len])

    def offsets(self, names: frozenset[str], first_string: int = 0) -> dict[int, str]:
        """Where these names stand among the strings; `first_string`: where the strings of this blob begin
        in those of base and module together."""
        found = {}
        for name in names:
            at = self.strings.find(b"\0" + name.encode() + b"\0")
            if at >= 0:
                found[at + 1 + first_string] = name
        return found

    def functions(self, wanted: dict[int, str]) -> tuple[dict[str, int], int]:
        """Numbers, counted from 1, of the functions whose names stand at `wanted`, and how many types
        there are in all."""
        found: dict[str, int] = {}
        types, end, at, number = self.types, len(self.types), 0, 0
        read, tails = struct.Struct("=II").unpack_from, _TAIL
        while at < end:
            number += 1
            name_at, info = read(types, at)
            kind = info >> 24 & 0x1F
            if kind == _FUNC and name_at in wanted:
                found[wanted[name_at]] = number
            fixed, each = tails.get(kind, (0, 0))
            at += 12 + fixed + each * (info & 0xFFFF)
        return found, number


@dataclass(frozen=True, slots=True)
class Found:
    """Where functions are: `ids` by name, and the module's name, "" for the kernel proper."""

    ids: dict[str, int]
    module: str
    module_id: int = 0  # of the BTF object


@dataclass(frozen=True, slots=True)
class _Base:
    """What is left of vmlinux: a module's ids and string offsets go on behind `types` and `strings`, and a
    string that vmlinux has is not stored again (`offsets`)."""

    ids: dict[str, int]
    types: int
    strings: int
    offsets: dict[int, str]


def find_functions(names: frozenset[str], module: str) -> Found | None:
    """All of `names`, in vmlinux or in `module`. None: not both there, or the kernel has no BTF.

    Raises OSError where this process may not ask."""
    objects = _objects()
    if VMLINUX not in objects:
        return None
    base = _base(objects[VMLINUX], names)
    if base.ids.keys() == names:
        return Found(base.ids, "")
    if module not in objects:
        return None
    try:
        ids = _in_module(objects[module], objects[VMLINUX], names)
    except FileNotFoundError:  # unloaded meanwhile
        return None
    return Found(ids, module, objects[module]) if ids.keys() == names else None


@functools.lru_cache(maxsize=1)
def _base(number: int, names: frozenset[str]) -> _Base:
    # A tenth of a second and more, and a watcher asks every few seconds until the module is there.
    btf = _read(number)
    offsets = btf.offsets(names)
    ids, count = btf.functions(offsets)
    return _Base(ids, count, len(btf.strings), offsets)


@functools.lru_cache(maxsize=1)
def _in_module(number: int, base_number: int, names: frozenset[str]) -> dict[str, int]:
    btf, base = _read(number), _base(base_number, names)
    ids, _ = btf.functions(base.offsets | btf.offsets(names, base.strings))
    return {name: base.types + own for name, own in ids.items()}


def _read(number: int) -> Btf:
    fd = syscall.btf_fd_by_id(number)
    try:
        return Btf.parse(syscall.btf_blob(fd))
    finally:
        os.close(fd)


def _objects() -> dict[str, int]:
    """Id by name of each BTF object of the kernel itself: vmlinux, and modules."""
    out = {}
    for number in syscall.btf_ids():
        try:
            fd = syscall.btf_fd_by_id(number)
        except FileNotFoundError:  # gone meanwhile
            continue
        try:
            name, of_kernel = syscall.btf_name(fd)
        except OSError as e:
            if e.errno != errno.E2BIG:
                raise
            return {}  # before Linux 5.11 these objects have no names, and modules have none of them
        finally:
            os.close(fd)
        if of_kernel:
            out[name] = number
    return out
