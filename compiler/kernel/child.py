"""Work that may end the process: LLVM calls exit(), without a word, where the stack or a branch goes beyond
what BPF has. So it works in a child, which hands over what it made: instructions, and descriptors of maps.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Callable, Mapping

from ..source import UserError
from .errors import KernelError, TooComplex

#: Instructions, license, and the maps' descriptors by name.
Made = tuple[bytes, str, dict[str, int]]
_MOST_MAPS = 64


def in_child(work: Callable[[], Made], c_text: str) -> tuple[bytes, str, dict[str, int], dict[str, int]]:
    """What `work` made of `c_text`: its descriptors as numbers of the child, which stand in the instructions,
    and of this process. Raises what it raises, and TooComplex when the child ended."""
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            _send(theirs, work)
        finally:
            os._exit(0)
    theirs.close()
    try:
        said, fds = _receive(ours)
    finally:
        ours.close()
        os.waitpid(child, 0)
    if not said:
        raise TooComplex(
            f"the compiler gives up on a program of {len(c_text) >> 10} KiB",
            hint="this is a defect of xdptables, not of your rules",
        )
    kind, *rest = pickle.loads(said)
    if kind != "made":
        raise {"user": UserError, "complex": TooComplex, "kernel": KernelError}[kind](*rest)
    instructions, license, numbers = rest
    return instructions, license, numbers, dict(zip(numbers, fds, strict=True))


def close(fds: Mapping[str, int]) -> None:
    for fd in fds.values():
        os.close(fd)


def _send(to: socket.socket, work: Callable[[], Made]) -> None:
    fds: list[int] = []
    try:
        instructions, license, maps = work()
        said: tuple[object, ...] = ("made", instructions, license, maps)
        fds = list(maps.values())
    except UserError as e:
        said = ("user", e.message, e.hint)
    except KernelError as e:
        said = ("complex" if isinstance(e, TooComplex) else "kernel", e.message, e.log, e.hint)
    except Exception as e:
        said = ("kernel", f"the compiler: {type(e).__name__}: {e}", "", "this is a defect of xdptables")
    socket.send_fds(to, [b"."], fds)
    to.sendall(pickle.dumps(said))


def _receive(from_: socket.socket) -> tuple[bytes, list[int]]:
    """Nothing at all when the child ended before it was done."""
    first, fds, _, _ = socket.recv_fds(from_, 1, _MOST_MAPS, socket.MSG_CMSG_CLOEXEC)
    said = bytearray()
    while first and (more := from_.recv(1 << 20)):
        said += more
    return bytes(said), fds
