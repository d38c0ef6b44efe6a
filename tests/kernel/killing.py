"""Run a function in a child and kill it at a system call: SIGKILL by ptrace, just before the kernel acts.

Only calls that change something outside the process count; between two of them a kill leaves the same
traces as before the second.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_ulong, ctypes.c_long, ctypes.c_ulong, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_SYSGOOD, _EXITKILL = 1, 0x100000
_ENTRY = 1

#: x86_64, and the numbers that all later architectures share.
_X86 = {
    "bpf": 321, "write": 1, "open": 2, "openat": 257, "rename": 82, "renameat": 264, "unlink": 87,
    "unlinkat": 263, "mkdir": 83, "mkdirat": 258, "rmdir": 84, "sendto": 44, "sendmsg": 46, "fsync": 74,
    "ftruncate": 77, "mount": 165, "renameat2": 316,
}  # fmt: skip
_GENERIC = {
    "bpf": 280, "write": 64, "openat": 56, "renameat": 38, "renameat2": 276, "unlinkat": 35, "mkdirat": 34,
    "sendto": 206, "sendmsg": 211, "fsync": 82, "ftruncate": 46, "mount": 40,
}  # fmt: skip
_NUMBERS = _X86 if platform.machine() == "x86_64" else _GENERIC
_NAMES = {number: name for name, number in _NUMBERS.items()}
_CREATES = os.O_CREAT | os.O_TRUNC
_BPF_PIN = 6  # programs and maps that are not pinned go with the process
_SETLINK = 19


def run_and_kill(action: Callable[[], object], at: int | None) -> list[str]:
    """The calls that the child came to, in order. `at`: killed before that one (from 0); None: not killed."""
    child = os.fork()
    if not child:
        try:
            _libc.ptrace(_TRACEME, 0, 0, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            action()
            os._exit(0)
        except BaseException:
            os._exit(99)
    seen: list[str] = []
    try:
        os.waitpid(child, 0)
        _ptrace(_SETOPTIONS, child, 0, _SYSGOOD | _EXITKILL)
        deliver = 0
        while True:
            _ptrace(_SYSCALL, child, 0, deliver)
            _, how = os.waitpid(child, 0)
            if os.WIFEXITED(how) or os.WIFSIGNALED(how):
                assert not os.WIFEXITED(how) or os.WEXITSTATUS(how) == 0, "the action failed"
                return seen
            stopped = os.WSTOPSIG(how)
            deliver = 0 if stopped == signal.SIGTRAP | 0x80 else stopped
            if deliver:
                continue
            name = _changing_call(child)
            if name:
                if at == len(seen):
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    return [*seen, name]
                seen.append(name)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise


def _ptrace(request: int, pid: int, address: int, data: int) -> int:
    result: int = _libc.ptrace(request, pid, address, data)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")
    return result


def _changing_call(pid: int) -> str:
    """The call that the child is about to make; "" where it changes nothing that stays."""
    info = ctypes.create_string_buffer(88)
    _ptrace(_GET_SYSCALL_INFO, pid, len(info), ctypes.addressof(info))
    if info.raw[0] != _ENTRY:
        return ""
    number = int.from_bytes(info.raw[24:32], "little")
    arguments = [int.from_bytes(info.raw[at : at + 8], "little") for at in range(32, 80, 8)]
    name = _NAMES.get(number, "")
    match name:
        case "open":
            return name if arguments[1] & _CREATES else ""
        case "openat":
            return name if arguments[2] & _CREATES else ""
        case "bpf":
            return name if arguments[0] == _BPF_PIN else ""
        case "sendto":
            return name if _netlink_kind(pid, arguments[1]) == _SETLINK else ""
    return name


def _netlink_kind(pid: int, address: int) -> int:
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(address + 4)
        return int.from_bytes(memory.read(2), "little")
