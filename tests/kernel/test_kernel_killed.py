"""Killed at any system call of load, reload and unload, what is attached is the old or the new, and the
next command finds a sound state or makes one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import program
import pytest
from killing import run_and_kill
from test_kernel_load import attached, do_load, do_unload, get_status

from netns import NetnsPair
from xdptables.kernel import compile, load, netns, pins, settle, state, status

pytestmark = pytest.mark.kernel


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, netns_pair: NetnsPair, tmp_path: Path) -> Iterator[NetnsPair]:
    """State and pins of its own, and a program that is compiled once."""
    made = compile.compile_program(program.text())
    with monkeypatch.context() as patch:
        patch.setattr(load, "compile_program", lambda *text: made)
        patch.setattr(state, "DIRECTORY", tmp_path / "run")
        patch.setattr(pins, "DIRECTORY", pins.BPFFS / f"xdptables-{netns_pair.tag}")
        yield netns_pair
        settle.repair()
        if attached(netns_pair):
            do_unload(netns_pair)
        pins.DIRECTORY.rmdir()


def check_record(pair: NetnsPair) -> None:
    """After any command: what is attached, recorded and pinned is one program, or none."""
    programs = attached(pair)
    with pair.enter(pair.server):
        key = state.Key(netns.inode(), pair.server.ifindex)
    if not programs:
        assert state.recorded_keys() == [] and pins.pinned_keys() == []
        return
    seen = get_status(pair)
    assert seen.attached and seen.problems == () and seen.state is not None
    assert programs == {seen.state.mode: seen.state.prog_id}
    assert seen.state.phase == state.ATTACHED and seen.state.previous is None
    assert pins.program_ids(key) == {seen.state.prog_id}


def repair(pair: NetnsPair) -> None:
    before = attached(pair)
    settle.repair()
    assert attached(pair) == before


def reload(pair: NetnsPair) -> None:
    loaded = do_load(pair, replace=True)
    assert attached(pair) == {"native": loaded.prog_id}


def unload(pair: NetnsPair) -> None:
    if attached(pair):
        do_unload(pair)
    else:
        settle.repair()
    assert attached(pair) == {}


NEXT = (repair, reload, unload)


@pytest.mark.parametrize("following", NEXT)
@pytest.mark.parametrize("command", ["load", "reload", "unload"])
def test_killed_at_each_call(quick: NetnsPair, command: str, following: Callable[[NetnsPair], None]) -> None:
    actions: dict[str, Callable[[], object]] = {
        "load": lambda: do_load(quick),
        "reload": lambda: do_load(quick, replace=True),
        "unload": lambda: do_unload(quick),
    }
    at, reached = 0, "killed"
    seen: list[str] = []
    while reached:
        _make_start(quick, loaded=command != "load")
        old = attached(quick)
        seen = run_and_kill(actions[command], at)
        reached = "killed" if len(seen) == at + 1 else ""
        programs = attached(quick)
        if command == "reload":
            assert programs
        if command == "unload":
            assert programs in ({}, old)
        for shown in status.status(quick.server.ifname, netns_name=quick.server.ns):
            assert shown.attached == bool(programs)
        following(quick)
        check_record(quick)
        at += 1
    assert {"load": {"bpf", "sendto", "rename"}, "reload": {"bpf", "sendto", "rename", "unlinkat"}}.get(
        command, {"sendto", "unlink", "unlinkat"}
    ) <= set(seen)
    assert at > 10


def _make_start(pair: NetnsPair, loaded: bool) -> None:
    if attached(pair) and not loaded:
        do_unload(pair)
    elif loaded and not attached(pair):
        do_load(pair)
    check_record(pair)
