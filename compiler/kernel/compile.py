"""C text to BPF instructions and maps, by BCC with our own headers.

BCC loads nothing itself: it can set neither program flags nor kfunc calls, so the instructions, in which
the descriptors of the maps already stand, are handed to `syscall.prog_load`.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.resources
import os
import platform
import re
import struct
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..source import UserError
from . import syscall
from .bcc_import import import_bcc
from .child import Made, close, in_child
from .errors import KernelError, TooComplex, last_lines, no_memory

FUNCTION = "xdptables"
_LD_IMM64, _PSEUDO_MAP_FD = 0x18, 1


@dataclass(frozen=True)
class CompiledProgram:
    """Instructions with the descriptors of live maps in them. `maps`: descriptors by name.

    The descriptors close with this value, so keep it until the program is loaded and filled.
    """

    instructions: bytes = field(repr=False)
    license: str
    maps: Mapping[str, int]


def compile_program(c_text: str, values: Mapping[str, memoryview] | None = None) -> CompiledProgram:
    """`values`: array maps of one entry, by name, with their content. The text declares them with a value of
    one word, as BCC would write code for each word of a larger one, and defines NAME_BYTES. Those that are
    not given are zero: no tables, so every packet passes.

    Raises UserError when BCC is missing, KernelError when it refuses the text."""
    instructions, license, numbers, maps = in_child(partial(_compile, import_bcc(), c_text), c_text)
    try:
        for name in maps:
            size = re.search(rf"^#define {name.upper()}_BYTES (\d+)$", c_text, re.M)
            if size:
                content = (values or {}).get(name) or memoryview(bytes(int(size[1])))
                declared, maps[name] = maps[name], _made(name, content)
                os.close(declared)
    except BaseException:
        close(maps)
        raise
    program = CompiledProgram(
        _with_maps(instructions, {numbers[n]: fd for n, fd in maps.items()}), license, maps
    )
    weakref.finalize(program, close, maps)
    return program


def _compile(bcc: Any, c_text: str) -> Made:
    """In the child, whose output and environment are nobody's business."""
    written = _captured_output()
    os.environ.update(_environment())
    try:
        # An undeclared function would become a call that only the verifier notices.
        module = bcc.BPF(text=c_text.encode(), cflags=["-Werror=implicit-function-declaration"])
    except Exception as e:  # BCC raises plain Exception
        said = written()
        _raise_if_map_refused(said + str(e))
        kind = TooComplex if "Branch target out of insn range" in said else KernelError
        raise kind(
            f"the generated C program does not compile: {e}",
            _diagnostics(said),
            "this is a defect of xdptables",
        ) from e
    lib = bcc.lib
    name = FUNCTION.encode()
    size = lib.bpf_function_size(module.module, name)
    if not size:
        raise KernelError(f"the generated C program has no function {FUNCTION}()")
    instructions = ctypes.string_at(lib.bpf_function_start(module.module, name), size)
    return instructions, lib.bpf_module_license(module.module).decode(), _map_fds(lib, module.module)


def _made(name: str, content: memoryview) -> int:
    try:
        return syscall.map_of_one_value(name, content)
    except OSError as e:
        raise UserError(
            f"the kernel has no map for tables of {len(content) >> 10} KiB: {e.strerror}",
            "--table-memory sets how large they may be (an older kernel has no values above 4 MiB)",
        ) from e


def _with_maps(instructions: bytes, replaced: Mapping[int, int]) -> bytes:
    """Other descriptors in the instructions that load a map's address (BPF_LD_IMM64, BPF_PSEUDO_MAP_FD)."""
    out = bytearray(instructions)
    at = 0
    while at < len(out):
        code, registers, _, value = struct.unpack_from("=BBhi", out, at)
        if code == _LD_IMM64:
            if registers >> 4 == _PSEUDO_MAP_FD and value in replaced:
                struct.pack_into("=i", out, at + 4, replaced[value])
            at += 8  # it takes two places
        at += 8
    return bytes(out)


def _raise_if_map_refused(said: str) -> None:
    """BCC makes the maps while it compiles."""
    match = re.search(r"could not open bpf map: (\w+), error: (.+)", said)
    if match and match[2] in {os.strerror(e) for e in (errno.ENOMEM, errno.E2BIG, errno.EPERM)}:
        raise no_memory(f"the map {match[1]}", match[2])


def _map_fds(lib: Any, module: Any) -> dict[str, int]:
    # BCC's Python declares neither; a pointer would be cut to an int.
    lib.bpf_num_tables.restype, lib.bpf_num_tables.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    lib.bpf_table_name.restype = ctypes.c_char_p
    lib.bpf_table_name.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    names = [lib.bpf_table_name(module, number) for number in range(lib.bpf_num_tables(module))]
    return {name.decode(): lib.bpf_table_fd(module, name) for name in names}


def _version_code() -> int:
    match = re.match(r"(\d+)\.(\d+)", platform.release())
    major, minor = (int(match[1]), int(match[2])) if match else (5, 10)
    return (major << 16) + (minor << 8)


def _environment() -> dict[str, str]:
    """Points BCC at our headers; without this it looks for those of the running kernel."""
    headers = importlib.resources.files("xdptables.templates").joinpath("headers")
    return {"BCC_KERNEL_SOURCE": str(headers), "BCC_LINUX_VERSION_CODE": str(_version_code())}


def _captured_output() -> Callable[[], str]:
    """clang and BCC write past sys.stdout, to descriptors 1 and 2: from now on elsewhere. What they wrote."""
    libc = ctypes.CDLL(None)
    file = os.memfd_create("said")
    for number in (1, 2):
        os.dup2(file, number)

    def written() -> str:
        libc.fflush(None)
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    return written


def _diagnostics(said: str) -> str:
    lines = [line for line in said.splitlines() if not line.startswith("WARNING: ")]
    start = next((i for i, line in enumerate(lines) if "error:" in line), 0)
    return last_lines("\n".join(lines[start : start + 25]))
