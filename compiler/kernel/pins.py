"""Programs and maps as files in bpffs: <netns>-<ifindex>/<program id>/{program,<map>}.

A pin says that a program is ours, also where the state file is lost, and lets bpftool read the maps.
The program id in the path lets the old and the new one stand side by side during a replacement.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..source import UserError
from . import syscall
from .state import Key

BPFFS = Path("/sys/fs/bpf")
DIRECTORY = BPFFS / "xdptables"
PROGRAM = "program"
_BPF_FS_MAGIC = 0xCAFE4A11


def mount_bpffs() -> None:
    """Mount it where it always is, unless it is there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if _is_bpffs(libc, BPFFS):
        return
    if libc.mount(b"bpf", os.fsencode(BPFFS), b"bpf", 0, b"mode=0700"):
        error = ctypes.get_errno()
        raise UserError(
            f"cannot mount the BPF file system on {BPFFS}: {os.strerror(error)}", f"mount -t bpf bpf {BPFFS}"
        )


def _is_bpffs(libc: ctypes.CDLL, path: Path) -> bool:
    """By the kernel's word for that path: the table of mounts also lists what others lie over."""
    buffer = ctypes.create_string_buffer(256)  # struct statfs, which begins with the type
    if libc.statfs(os.fsencode(path), buffer):
        return False
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF == _BPF_FS_MAGIC


def pin(key: Key, prog_id: int, prog_fd: int, maps: Mapping[str, int]) -> None:
    """Pin the program last, so that a folder with a program is complete."""
    mount_bpffs()
    folder = DIRECTORY / str(key) / str(prog_id)
    if folder.exists():  # the id was used before, by a program that is gone
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    for name, fd in maps.items():
        syscall.obj_pin(fd, folder / name)
    syscall.obj_pin(prog_fd, folder / PROGRAM)


def pinned_keys() -> list[Key]:
    found = [Key.parse(path.name) for path in DIRECTORY.glob("*")]
    return sorted((key for key in found if key), key=str)


def program_ids(key: Key) -> set[int]:
    return {int(path.name) for path in (DIRECTORY / str(key)).glob("*") if path.name.isdecimal()}


def unpin_all_but(key: Key, keep: set[int]) -> None:
    folder = DIRECTORY / str(key)
    for path in folder.glob("*"):
        if path.name not in {str(number) for number in keep}:
            shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # only when empty


def open_program(key: Key, prog_id: int, load_time: int | None = None) -> int | None:
    """A descriptor of our program, by its pin or else by its id; None when it is gone.

    `load_time` guards against an id that another program has by now; a pin needs no such guard.
    """
    with contextlib.suppress(OSError):
        fd = syscall.obj_get(DIRECTORY / str(key) / str(prog_id) / PROGRAM)
        if syscall.prog_info(fd).id == prog_id:
            return fd
        os.close(fd)
    if load_time is None:
        return None
    try:
        fd = syscall.prog_fd_by_id(prog_id)
    except OSError:
        return None
    if syscall.prog_info(fd).load_time == load_time:
        return fd
    os.close(fd)
    return None


def open_maps(key: Key, prog_fd: int) -> dict[str, int]:
    """Descriptors of the program's maps by name; the caller closes them.

    Without pins (they are in a mount namespace that is gone), those that the program itself holds.
    """
    info = syscall.prog_info(prog_fd)
    folder = DIRECTORY / str(key) / str(info.id)
    found = {path.name: syscall.obj_get(path) for path in folder.glob("*") if path.name != PROGRAM}
    if found:
        return found
    for number in info.map_ids:
        fd = syscall.map_fd_by_id(number)
        found[syscall.map_info(fd).name] = fd
    return found
