"""Ids of kernel functions, out of BTF (Documentation/bpf/btf.rst).

The kernel proper and each module have a blob of their own; ids and string offsets of a module go on where
those of vmlinux end, so they differ with each build and are looked up when a program is loaded.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from . import syscall

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

    def functions(self, names: frozenset[str], first_string: int = 0) -> tuple[dict[str, int], int]:
        """Numbers of the functions among `names`, counted from 1, and how many types there are in all.

        `first_string`: where the strings of this blob begin in those of base and module together."""
        wanted = {}
        for name in names:
            at = self.strings.find(b"\0" + name.encode() + b"\0")
            if at >= 0:
                wanted[at + 1 + first_string] = name
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


def find_functions(names: frozenset[str], module: str) -> Found | None:
    """All of `names`, in vmlinux or in `module`. None: not both there, or the kernel has no BTF.

    Raises OSError where this process may not ask."""
    base: tuple[Btf, int] | None = None
    candidate: tuple[Btf, int] | None = None
    for number, name, fd in _objects():
        try:
            if name == "vmlinux":
                base = Btf.parse(syscall.btf_blob(fd)), number
            elif name == module:
                candidate = Btf.parse(syscall.btf_blob(fd)), number
        finally:
            os.close(fd)
    if base is None:
        return None
    ids, count = base[0].functions(names)
    if ids.keys() == names:
        return Found(ids, "")
    if candidate is None:
        return None
    ids, _ = candidate[0].functions(names, len(base[0].strings))
    if ids.keys() != names:
        return None
    return Found({name: count + number for name, number in ids.items()}, module, candidate[1])


def _objects() -> list[tuple[int, str, int]]:
    """Id, name and descriptor of each BTF object of the kernel itself; the caller closes them."""
    out = []
    for number in syscall.btf_ids():
        try:
            fd = syscall.btf_fd_by_id(number)
        except FileNotFoundError:  # gone meanwhile
            continue
        name, of_kernel = syscall.btf_name(fd)
        if of_kernel:
            out.append((number, name, fd))
        else:
            os.close(fd)
    return out
