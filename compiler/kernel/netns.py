"""Enter a network namespace, and nothing but the network namespace.

The mount namespace stays, so that /sys/fs/bpf and /run are the same inside and outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from ..source import UserError

NAMED = Path("/run/netns")
_CURRENT = "/proc/thread-self/ns/net"  # of the thread: /proc/self is the first thread's
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def inode(path: str | Path = _CURRENT) -> int:
    return os.stat(path).st_ino


def netns_path(name_or_path: str) -> Path:
    return Path(name_or_path) if "/" in name_or_path else NAMED / name_or_path


@contextlib.contextmanager
def in_netns(name_or_path: str | Path | None) -> Iterator[None]:
    """The calling thread is in that namespace during the block. None or "": stay where we are."""
    if not name_or_path:
        yield
        return
    path = netns_path(str(name_or_path))
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        names = ", ".join(sorted(p.name for p in NAMED.glob("*"))) or "none"
        raise UserError(
            f"no network namespace {str(name_or_path)!r}: {e.strerror}", f"`ip netns list` shows: {names}"
        ) from e
    back = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            _setns(target)
        except PermissionError as e:
            raise UserError(
                f"may not enter network namespace {str(name_or_path)!r}", "run this as root"
            ) from e
        except OSError as e:
            raise UserError(f"{path} is not a network namespace", "give a name from `ip netns list`") from e
        finally:
            os.close(target)
        try:
            yield
        finally:
            _setns(back)
    finally:
        os.close(back)


def namespaces() -> dict[int, str]:
    """A path to every network namespace that is named or that a visible process lives in, by inode."""
    found: dict[int, str] = {}
    for path in [*NAMED.glob("*"), *_of_processes("ns/net")]:
        with contextlib.suppress(OSError):
            found.setdefault(inode(path), str(path))
    return found


def is_held_elsewhere(number: int) -> bool:
    """Whether some mount namespace has a name for it: it lives, though nothing here leads there."""
    name = f" net:[{number}] "
    for path in _of_processes("mountinfo"):
        with contextlib.suppress(OSError):
            if name in path.read_text(errors="replace"):
                return True
    return False


def _of_processes(name: str) -> list[Path]:
    """That file of every process; some are gone when it is opened. A glob would fail on those."""
    return [Path("/proc", pid, name) for pid in os.listdir("/proc") if pid.isdecimal()]


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
