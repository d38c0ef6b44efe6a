"""Make state files and pins agree with what is attached: after a crash, a deleted device, a foreign detach.

Every failure ends here too, so that there is one way back to a sound state, and it is the tested one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os

from ..source import UserError
from . import attach, netlink, netns, pins, state
from .state import Key, LoadedState


def settle(key: Key) -> list[str]:
    """For a device of this thread's namespace, under the lock. Returns what was mended, in words."""
    return _settle(key, attach.attached(key.ifindex))


def _settle(key: Key, programs: dict[str, int]) -> list[str]:
    stored = state.read(key)
    existed = state.file_of(key).exists()
    candidates = [s for s in (stored, stored.previous if stored else None) if s]
    winner, mode = None, ""
    for mode, number in programs.items():  # noqa: B007  # the mode of the winner is used below
        winner = next((s for s in candidates if s.prog_id == number and is_alive(s)), None)
        if winner:
            break
    mended = []
    if winner is None:
        state.remove(key)
        if stored:
            mended.append(f"{stored.ifname}: the program that was recorded is not attached any more")
        elif existed:
            mended.append(f"{key}: the record could not be read")
    elif winner.phase != state.ATTACHED or winner.previous or winner.mode != mode or winner is not stored:
        # Where /run is full the record stays as it is, and says enough for the next time.
        with contextlib.suppress(OSError):
            state.write(dataclasses.replace(winner, phase=state.ATTACHED, previous=None, mode=mode))
        mended.append(f"{winner.ifname}: an interrupted load was finished or taken back")
    ours = {number for number in programs.values() if number in pins.program_ids(key)}
    losers = [s for s in candidates if s is not winner]
    for loser in losers:
        mended += _detach_strays(loser)
    kept = ours | ({winner.prog_id} if winner else set())
    pins.unpin_all_but(key, kept)
    state.remove_rules_but(key, kept)
    return mended


def repair() -> list[str]:
    """Settle every device that has a state or pins, in all namespaces."""
    with state.lock():
        everywhere = sorted({*state.recorded_keys(), *pins.pinned_keys()}, key=str)
        if not everywhere:
            return []
        here, reachable = netns.inode(), netns.namespaces()
        mended = []
        for key in everywhere:
            if key.netns_inode == here:
                mended += settle(key)
            elif key.netns_inode in reachable:
                with netns.in_netns(reachable[key.netns_inode]):
                    mended += settle(key)
            elif netns.is_held_elsewhere(key.netns_inode):
                mended.append(f"{key}: its network namespace can't be entered from here; left as it is")
            else:
                mended += _settle(key, {})
        return mended


def is_alive(stored: LoadedState) -> bool:
    """The kernel still has that very program, wherever it is attached."""
    fd = pins.open_program(stored.key, stored.prog_id, stored.load_time)
    if fd is None:
        return False
    os.close(fd)
    return True


def _detach_strays(stored: LoadedState) -> list[str]:
    """A device takes its program along to another namespace, where the rules that it stands for are not."""
    fd = pins.open_program(stored.key, stored.prog_id, stored.load_time)
    if fd is None:
        return []
    mended = []
    try:
        for path in {netns.inode(): "", **_others()}.values():
            # UserError: the namespace was deleted since it was listed.
            with contextlib.suppress(OSError, UserError), netns.in_netns(path):
                for link in netlink.links():
                    for mode, number in link.xdp.items():
                        if number == stored.prog_id and attach.detach(link.ifindex, mode, fd):
                            mended.append(
                                f"{stored.ifname}: moved away as {link.name}; the program is detached there"
                            )
    finally:
        os.close(fd)
    return mended


def _others() -> dict[int, str]:
    here = netns.inode()
    return {number: path for number, path in netns.namespaces().items() if number != here}
