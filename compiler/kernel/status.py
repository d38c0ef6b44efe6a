"""What is loaded and what it did: the records, set against what is attached. Changes nothing."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import Any

from ..source import UserError
from . import attach, maps, netlink, netns, pins, state
from .maps import Counters
from .preflight import check_privileges
from .state import Key, LoadedState

_NO_COUNTERS = Counters()


@dataclass(frozen=True, slots=True)
class Status:
    """`state` is None for a program of ours whose record is lost. `attached`: it is at work now.

    `ifname`: the present name. `problems`: why the record and the truth differ, for the user. `rules`:
    what was recorded for each counter, by slot.
    """

    state: LoadedState | None
    ifname: str
    attached: bool
    counters: Counters = _NO_COUNTERS
    problems: tuple[str, ...] = ()
    rules: tuple[Any, ...] = ()


def list_loaded() -> list[LoadedState]:
    """All records, of every namespace, that can be read."""
    return [known for key in state.recorded_keys() if (known := state.read(key))]


def find(ifname: str, netns_name: str = "") -> LoadedState | None:
    """The record of a device by its present name, or by the name under which it was loaded."""
    with netns.in_netns(netns_name):
        here = netns.inode()
        with contextlib.suppress(UserError):
            known = state.read(Key(here, attach.ifindex_of(ifname)))
            if known:
                return known
    return next((s for s in list_loaded() if s.netns_inode == here and s.ifname == ifname), None)


def status(ifname: str | None = None, *, netns_name: str = "") -> list[Status]:
    """Of one device, or of everything that is loaded, in all namespaces."""
    check_privileges()
    if ifname is None:
        states = list_loaded()
    else:
        known = find(ifname, netns_name)
        states = [known] if known else []
    if not states:
        return []
    here, reachable = netns.inode(), netns.namespaces()
    found = [_status(known, here, reachable) for known in states]
    return [s if s.attached else _with_rules(s) for s in found]


def _with_rules(status: Status) -> Status:
    return replace(status, rules=state.read_rules(status.state)) if status.state else status


def _status(known: LoadedState, here: int, reachable: dict[int, str]) -> Status:
    if known.netns_inode != here and known.netns_inode not in reachable:
        return Status(known, known.ifname, False, problems=("its network namespace is gone",))
    with netns.in_netns("" if known.netns_inode == here else reachable[known.netns_inode]):
        found = netlink.links(known.ifindex)
    if not found:
        return Status(known, known.ifname, False, problems=("the interface is gone",))
    link = found[0]
    problems = []
    if link.name != known.ifname:
        problems.append(f"the interface was {known.ifname} when it was loaded, and is {link.name} now")
    candidates = [s for s in (known, known.previous) if s and s.prog_id in link.xdp.values()]
    for candidate in candidates:
        fd = pins.open_program(candidate.key, candidate.prog_id, candidate.load_time)
        if fd is None:
            continue
        if known.phase != state.ATTACHED:
            problems.append("a load was interrupted, or is going on")
        try:
            return describe_state(
                known.key, candidate, link.name, fd, attached=True, problems=tuple(problems)
            )
        finally:
            os.close(fd)
    other = ", ".join(attach.describe(number) for number in link.xdp.values())
    problems.append(
        f"another XDP program is attached now: {other}" if other else "the program is not attached any more"
    )
    return Status(known, link.name, False, problems=tuple(problems))


def describe_state(
    key: Key,
    known: LoadedState | None,
    ifname: str,
    prog_fd: int,
    *,
    attached: bool,
    problems: tuple[str, ...] = (),
) -> Status:
    """With the counters of the program at `prog_fd`."""
    fds: dict[str, int] = {}
    counters = _NO_COUNTERS
    try:
        fds = pins.open_maps(key, prog_fd)
        counters = maps.read_counters(fds)
        if maps.is_over(fds):
            problems = (*problems, "its watcher is gone, so it drops nothing: unload it, or watch it again")
    except OSError as e:
        problems = (*problems, f"the counters can't be read: {e.strerror}")
    finally:
        for fd in fds.values():
            os.close(fd)
    return _with_rules(Status(known, ifname, attached, counters, problems))
