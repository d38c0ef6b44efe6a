"""Load and unload, in an order that leaves at any point what was there before or what was asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..host.facts import HostFacts
from ..source import UserError
from . import attach, kfuncs, maps, pins, state, syscall
from .attach import AttachResult
from .compile import CompiledProgram, compile_program
from .errors import KernelError, no_memory
from .netns import in_netns, inode
from .preflight import preflight
from .settle import settle
from .state import Key, LoadedState
from .status import Status, describe_state


def load_program(
    c_text: str,
    ifname: str,
    host: HostFacts,
    *,
    values: Mapping[str, memoryview] | None = None,
    mode: str = "auto",
    replace: bool = False,
    source: str = "",
    slots: Sequence[Any] = (),
    report_json: Any = None,
    disregarded: Sequence[str] = (),
    netns: str = "",
    lease: float = 0,
    fill: Callable[[Mapping[str, int]], None] | None = None,
    check: Callable[[int, Mapping[str, int]], None] | None = None,
) -> LoadedState:
    """Compile, load, fill, pin, attach. On any failure the device keeps what it had.

    `values`: the tables, see compile_program. `fill` writes maps other than those of the host, given
    descriptors by name. `slots`: JSON for each counter, shown by the status; `report_json`: kept in the
    record, which is read often: keep it small.
    `lease`: seconds after which the program drops nothing, unless maps.renew was called.
    `check` is given the program's descriptor too, and raises to refuse it before it is attached.
    Raises UserError for what the user can mend, KernelError for defects of ours.
    """
    if mode not in attach.MODES:
        raise UserError(f"no mode {mode!r}", f"it is one of {', '.join(attach.MODES)}")
    preflight()
    with in_netns(netns):
        _check_device(attach.ifindex_of(ifname), ifname, replace)  # before the work of compiling
        program = compile_program(c_text, values)
        prog_fd, frags = _load(program, host, lease, fill)
        try:
            if check:
                check(prog_fd, program.maps)
            info = syscall.prog_info(prog_fd)
            ifindex = attach.ifindex_of(ifname)
            new = LoadedState(
                ifname=ifname,
                ifindex=ifindex,
                netns=netns,
                netns_inode=inode(),
                mode=mode,
                prog_id=info.id,
                load_time=info.load_time,
                since=datetime.now(UTC).isoformat(timespec="seconds"),
                source=source,
                host=host,
                disregarded=tuple(disregarded),
                report=report_json,
                frags=frags,
            )
            with state.lock():
                return _install(new, prog_fd, program.maps, replace, slots)
        finally:
            os.close(prog_fd)


def _load(
    program: CompiledProgram,
    host: HostFacts,
    lease: float,
    fill: Callable[[Mapping[str, int]], None] | None,
) -> tuple[int, bool]:
    loaded = kfuncs.load(program.instructions, program.license)
    try:
        maps.fill(program.maps, host, lease)
        if fill:
            fill(program.maps)
    except BaseException as e:
        os.close(loaded.fd)
        if isinstance(e, OSError) and e.errno in (errno.ENOMEM, errno.E2BIG, errno.ENOSPC):
            raise no_memory("the entries of its maps", os.strerror(e.errno)) from e
        raise
    return loaded.fd, loaded.frags


def _install(
    new: LoadedState, prog_fd: int, map_fds: Mapping[str, int], replace: bool, slots: Sequence[Any]
) -> LoadedState:
    key = new.key
    settle(key)
    _settle_namesakes(new)
    old = state.read(key)
    current = _check_device(new.ifindex, new.ifname, replace)
    attached = False
    try:
        pins.pin(key, new.prog_id, prog_fd, map_fds)
        state.write_rules(new, slots)
        state.write(dataclasses.replace(new, previous=old))
        result = _attach(new, prog_fd, current, old)
        attached = True
        final = dataclasses.replace(
            new,
            phase=state.ATTACHED,
            mode=result.mode,
            native_refused=result.native_refused,
            gro_before=result.gro_before,
            gro_after=result.gro_after,
        )
        state.write(final)
    except BaseException as e:
        if attached:
            _take_back(new, prog_fd, current, old)
        settle(key)
        if isinstance(e, OSError):
            raise _failed(new.ifname, e) from e
        raise
    pins.unpin_all_but(key, {new.prog_id})
    state.remove_rules_but(key, {new.prog_id})
    return final


def _failed(ifname: str, e: OSError) -> UserError:
    where = f"{e.filename}: " if e.filename else ""
    hint = f"make room in {state.DIRECTORY}" if e.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return UserError(f"loading on {ifname} failed, and it keeps what it had: {where}{e.strerror or e}", hint)


def _take_back(new: LoadedState, prog_fd: int, current: int | None, old: LoadedState | None) -> None:
    """The record of what is attached could not be written, so nobody would follow it: the old one again."""
    mode = next(iter(attach.attached(new.ifindex)), "native")
    before = pins.open_program(new.key, current, old.load_time if old else None) if current else None
    with contextlib.suppress(OSError, UserError, KernelError):
        if before is None:
            attach.detach(new.ifindex, mode, prog_fd)
        else:
            attach.replace(before, new.ifname, "auto", prog_fd)
    if before is not None:
        os.close(before)


def _settle_namesakes(new: LoadedState) -> None:
    """Records of earlier devices of that name, which were deleted or moved away."""
    for key in state.recorded_keys():
        if key.netns_inode == new.netns_inode and key != new.key:
            known = state.read(key)
            if known is None or known.ifname == new.ifname:
                settle(key)


def _check_device(ifindex: int, ifname: str, replace: bool) -> int | None:
    """The id of our program that is there and may be replaced; None when the device is free."""
    programs = attach.attached(ifindex)
    if not programs:
        return None
    key = Key(inode(), ifindex)
    ours = _our_program(key, programs)
    if ours is None:
        attach.refuse_if_occupied(ifname, programs)
    if not replace:
        known = state.read(key)
        since = f", since {known.since}" if known else ""
        raise UserError(
            f"{ifname} already has an xdptables program{since}", "replace it (--replace), or unload it first"
        )
    return ours


def _our_program(key: Key, programs: Mapping[str, int]) -> int | None:
    """Ours if it is in our state, or pinned in our folder."""
    known = state.read(key)
    recorded = [s for s in (known, known.previous if known else None) if s]
    for number in programs.values():
        if number in pins.program_ids(key) or number in {s.prog_id for s in recorded}:
            fd = _open(key, number)
            if fd is not None:
                os.close(fd)
                return number
    return None


def _open(key: Key, number: int) -> int | None:
    known = state.read(key)
    recorded = [s for s in (known, known.previous if known else None) if s and s.prog_id == number]
    return pins.open_program(key, number, recorded[0].load_time if recorded else None)


def _attach(new: LoadedState, prog_fd: int, current: int | None, old: LoadedState | None) -> AttachResult:
    if current is None:
        return attach.attach(prog_fd, new.ifname, new.mode)
    expected = pins.open_program(new.key, current, old.load_time if old else None)
    if expected is None:
        raise UserError(f"the program on {new.ifname} went away meanwhile", "try again")
    try:
        return attach.replace(prog_fd, new.ifname, new.mode, expected)
    finally:
        os.close(expected)


def unload_program(ifname: str, *, netns: str = "") -> Status:
    """Detach ours and forget it; returns what it was, with its last counters. Another's program stays."""
    preflight()
    with in_netns(netns), state.lock():
        ifindex = _ifindex_or_recorded(ifname)
        key = Key(inode(), ifindex)
        mended = settle(key)
        programs = attach.attached(ifindex)
        number = _our_program(key, programs)
        if number is None:
            if mended and not programs:
                return Status(None, ifname, False, problems=tuple(mended))
            raise _nothing_to_unload(ifname, programs)
        before = state.read(key)
        fd = _open(key, number)
        mode = next(mode for mode, n in programs.items() if n == number)
        if fd is None or not attach.detach(ifindex, mode, fd):
            settle(key)
            raise UserError(
                f"the program on {ifname} was replaced or detached meanwhile", "look at the status"
            )
        try:
            result = describe_state(key, before, ifname, fd, attached=False)
        finally:
            os.close(fd)
            settle(key)
        return result


def _ifindex_or_recorded(ifname: str) -> int:
    """Also for a device that is gone, of which only the record is left."""
    here = inode()
    try:
        return attach.ifindex_of(ifname)
    except UserError:
        for key in state.recorded_keys():
            known = state.read(key) if key.netns_inode == here else None
            if known and known.ifname == ifname:
                return key.ifindex
        raise


def _nothing_to_unload(ifname: str, programs: Mapping[str, int]) -> UserError:
    with contextlib.suppress(StopIteration):
        other = attach.describe(next(iter(programs.values())))
        return UserError(
            f"the XDP program on {ifname} is not from xdptables: {other}",
            f"it stays; whoever attached it can detach it, or: ip link set dev {ifname} xdp off",
        )
    return UserError(f"no xdptables program is loaded on {ifname}", "the status shows what is loaded where")
