"""Children of a device in other network namespaces, where no link shows on this side."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

from . import netlink
from .links import Link, Ties, children_of, links

_CLONE_NEWNET = 0x40000000
_GETNSID, _NSID, _NSID_FD = 90, 1, 3
_INIT_PID_NAMESPACE = 0xEFFFFFFC
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Children:
    """`complete`: no namespace is known that could not be looked into."""

    ties: Ties
    complete: bool
    why: str = ""


def children_elsewhere(ours: Link) -> Children:
    """Scan every namespace that is mounted or that a process lives in."""
    try:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as e:
        return Children(Ties(), False, f"/proc/thread-self/ns/net: {e.strerror}")
    try:
        found, problems = _namespaces()
        found.pop(os.fstat(home).st_ino, None)
        # A thread of its own enters them: if coming back failed, nothing of the caller's would be lost.
        ties: list[Ties] = []
        visitor = threading.Thread(target=_visit_all, args=(ours, home, found, ties, problems))
        visitor.start()
        visitor.join()
    finally:
        os.close(home)
    merged = Ties(
        tuple(t for tie in ties for t in tie.uppers),
        tuple(t for tie in ties for t in tie.vlan_children),
        tuple(t for tie in ties for t in tie.mac_children),
    )
    return Children(merged, not problems, "; ".join(dict.fromkeys(problems)))


def _visit_all(ours: Link, home: int, found: dict[int, str], ties: list[Ties], problems: list[str]) -> None:
    for number, path in found.items():
        try:
            ties.append(_visit(ours, home, number, path))
        except FileNotFoundError:
            continue  # its last process ended meanwhile
        except (OSError, netlink.Interrupted) as e:
            problems.append(f"{path}: {e}")


def _visit(ours: Link, home: int, number: int, path: str) -> Ties:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_ino != number:
            raise FileNotFoundError  # the process id now belongs to another
        if _libc.setns(fd, _CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
    finally:
        os.close(fd)
    # First the links: the dump gives ids to the namespaces that links point to.
    there = links()
    if not any(k.parent == ours.ifindex and k.parent_netnsid is not None for k in there):
        return Ties()
    netnsid = _nsid_of(home)
    if netnsid is None:
        return Ties()
    return children_of(there, ours.ifindex, netnsid, _label(path))


def _nsid_of(fd: int) -> int | None:
    body = struct.pack("=Bxxx", 0) + netlink.attribute(_NSID_FD, struct.pack("=I", fd))
    for answer in netlink.dump(netlink.ROUTE, _GETNSID, body, flags=0):
        number = struct.unpack("=i", netlink.attribute_map(answer, 4)[_NSID])[0]
        return None if number < 0 else int(number)
    return None


def _label(path: str) -> str:
    found = re.match(r"/proc/(\d+)/", path)
    return f"pid{found[1]}" if found else Path(path).name


def _namespaces() -> tuple[dict[int, str], list[str]]:
    """A path to each namespace by inode, and why there may be more."""
    found: dict[int, str] = {}
    problems: list[str] = []
    for path in [*_mounted(), *Path("/run/netns").glob("*")]:
        with contextlib.suppress(OSError):
            stat = os.stat(path)
            if _is_nsfs(path):
                found.setdefault(stat.st_ino, str(path))
    closed = set()
    for task in _tasks():
        try:
            found.setdefault(os.stat(f"{task}/ns/net").st_ino, f"{task}/ns/net")
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            closed.add(int(task.split("/")[2]))
    if closed:
        problems.append(f"{len(closed)} processes may not be looked into (the first is {min(closed)})")
    if os.stat("/proc/self/ns/pid").st_ino != _INIT_PID_NAMESPACE:
        problems.append("processes outside this container cannot be seen")
    return found, problems


def _is_nsfs(path: Path) -> bool:
    # A name in /run/netns whose mount is in another mount namespace is an empty file.
    return os.stat(path).st_dev == os.stat("/proc/self/ns/net").st_dev


def _mounted() -> list[Path]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    fields = [line.split() for line in lines]
    return [Path(f[4]) for f in fields if f[3].startswith("net:[")]


def _tasks() -> list[str]:
    """Threads can live in namespaces of their own, so each is looked at."""
    tasks = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            with contextlib.suppress(OSError):
                tasks += [f"/proc/{pid}/task/{tid}" for tid in os.listdir(f"/proc/{pid}/task")]
    return tasks
