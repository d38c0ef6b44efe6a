"""C text to BPF instructions and maps, by BCC with our own headers.

BCC loads nothing itself: it can set neither program flags nor kfunc calls, so the instructions, in which
the descriptors of the maps already stand, are handed to `syscall.prog_load`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import importlib.resources
import os
import platform
import re
import struct
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..source import UserError
from . import syscall
from .bcc_import import import_bcc
from .errors import KernelError, TooComplex, last_lines, no_memory

FUNCTION = "xdptables"
#: Text of more characters than this, several times that of ordinary rules, may be beyond what LLVM takes.
LARGE = 100_000
_LD_IMM64, _PSEUDO_MAP_FD = 0x18, 1


@dataclass(frozen=True)
class CompiledProgram:
    """Instructions with the descriptors of live maps in them. `maps`: descriptors by name, owned by `bcc`.

    The descriptors close with this value, so keep it until the program is loaded and filled.
    """

    instructions: bytes = field(repr=False)
    license: str
    maps: Mapping[str, int]
    bcc: Any = field(repr=False)


def compile_program(c_text: str, values: Mapping[str, memoryview] | None = None) -> CompiledProgram:
    """`values`: array maps of one entry, by name, with their content. The text declares them with a value of
    one word, as BCC would write code for each word of a larger one, and defines NAME_BYTES. Those that are
    not given are zero: no tables, so every packet passes.

    Raises UserError when BCC is missing, KernelError when it refuses the text."""
    bcc = import_bcc()
    if len(c_text) > LARGE:
        _refuse_what_ends_the_compiler(bcc, c_text)
    said = ""
    try:
        with _environment(), _captured_output() as log:
            try:
                # An undeclared function would become a call that only the verifier notices.
                module = bcc.BPF(text=c_text.encode(), cflags=["-Werror=implicit-function-declaration"])
            finally:
                said = log()
    except Exception as e:  # BCC raises plain Exception
        _raise_if_map_refused(said + str(e))
        kind = TooComplex if "Branch target out of insn range" in said else KernelError
        raise kind(
            f"the generated C program does not compile: {e}",
            _diagnostics(said),
            "this is a defect of xdptables",
        ) from e
    atexit.unregister(module.cleanup)
    lib = bcc.lib
    name = FUNCTION.encode()
    size = lib.bpf_function_size(module.module, name)
    if not size:
        raise KernelError(f"the generated C program has no function {FUNCTION}()")
    instructions = ctypes.string_at(lib.bpf_function_start(module.module, name), size)
    map_fds = _map_fds(lib, module.module)
    made: dict[str, int] = {}
    try:
        for map_name in map_fds:
            size = re.search(rf"^#define {map_name.upper()}_BYTES (\d+)$", c_text, re.M)
            if size:
                content = (values or {}).get(map_name) or memoryview(bytes(int(size[1])))
                made[map_name] = _made(map_name, content)
    except BaseException:
        _close(made)
        raise
    instructions = _with_maps(instructions, {map_fds[n]: fd for n, fd in made.items()})
    license = lib.bpf_module_license(module.module).decode()
    program = CompiledProgram(instructions, license, {**map_fds, **made}, module)
    weakref.finalize(program, _release, module, made)
    return program


def _release(module: Any, made: Mapping[str, int]) -> None:
    """BCC would keep the module, its maps and their descriptors until the process ends."""
    module.cleanup()
    _close(made)


def _refuse_what_ends_the_compiler(bcc: Any, c_text: str) -> None:
    """LLVM ends the whole process, without a word, where a branch or the stack goes beyond what BPF has. So a
    large text is compiled in a child first. Raises TooComplex."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            with _environment():
                bcc.BPF(text=c_text.encode())
        except BaseException:  # what it refuses it refuses again, with its reasons
            os._exit(0)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        raise TooComplex(
            f"the compiler gives up on a program of {len(c_text) >> 10} KiB",
            hint="this is a defect of xdptables, not of your rules",
        )


def _made(name: str, content: memoryview) -> int:
    try:
        return syscall.map_of_one_value(name, content)
    except OSError as e:
        raise UserError(
            f"the kernel has no map for tables of {len(content) >> 10} KiB: {e.strerror}",
            "--table-memory sets how large they may be (an older kernel has no values above 4 MiB)",
        ) from e


def _close(fds: Mapping[str, int]) -> None:
    for fd in fds.values():
        os.close(fd)


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


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Point BCC at our headers; without this it looks for those of the running kernel."""
    headers = importlib.resources.files("xdptables.templates").joinpath("headers")
    wanted = {"BCC_KERNEL_SOURCE": str(headers), "BCC_LINUX_VERSION_CODE": str(_version_code())}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _captured_output() -> Iterator[Callable[[], str]]:
    """clang and BCC write past sys.stdout, to descriptors 1 and 2. Yields a function: what they wrote."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    sys.stderr.flush()
    libc.fflush(None)
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1), os.dup(2)
        for number in (1, 2):
            os.dup2(file.fileno(), number)

        def written() -> str:
            libc.fflush(None)
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield written
        finally:
            libc.fflush(None)  # BCC's warnings wait in C's buffer, and would come out among ours
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def _diagnostics(said: str) -> str:
    lines = [line for line in said.splitlines() if not line.startswith("WARNING: ")]
    start = next((i for i, line in enumerate(lines) if "error:" in line), 0)
    return last_lines("\n".join(lines[start : start + 25]))
