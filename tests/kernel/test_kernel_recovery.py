"""What is left when something goes wrong between two steps, and how it is mended."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from typing import Any

import pytest
from test_kernel_load import attach_other, attached, do_load, do_unload, get_status, nothing_left

from netns import NetnsPair
from xdptables.kernel import attach, load, netlink, netns, pins, settle, state, status
from xdptables.source import UserError

pytestmark = [pytest.mark.kernel, pytest.mark.stock]

STEPS = [
    (pins, "pin"),
    (state, "write"),
    (attach, "attach"),
    (attach, "replace"),
    (load, "_attach"),
    (pins, "unpin_all_but"),
]


def kill_in_load(pair: NetnsPair, module: Any, name: str, after: bool, replace: bool) -> None:
    """Load in a child that is killed before or after its first call of that function."""
    child = os.fork()
    if not child:
        real = getattr(module, name)

        def killed(*args: Any, **options: Any) -> Any:
            if after:
                real(*args, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(module, name, killed)
        try:
            do_load(pair, replace=replace)
        finally:
            os._exit(0)  # the step is not on this way
    _, how = os.waitpid(child, 0)
    on_the_way = name != ("attach" if replace else "replace")
    assert os.WIFSIGNALED(how) == on_the_way


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(("module", "name"), STEPS)
def test_killed_between_steps(
    netns_pair: NetnsPair, module: Any, name: str, replace: bool, after: bool
) -> None:
    old = do_load(netns_pair) if replace else None
    kill_in_load(netns_pair, module, name, after, replace)
    programs = attached(netns_pair)
    assert programs or not old  # what was at work is at work, or its successor is
    settle.repair()
    assert attached(netns_pair) == programs
    if not programs:
        assert nothing_left(netns_pair)
        assert status.status(netns_pair.server.ifname, netns_name=netns_pair.server.ns) == []
    else:
        seen = get_status(netns_pair)
        assert seen.attached and not seen.problems and seen.state
        assert programs == {seen.state.mode: seen.state.prog_id}
        assert pins.program_ids(seen.state.key) == {seen.state.prog_id}
    final = do_load(netns_pair, replace=True)  # and the next load works, repaired or not
    assert attached(netns_pair) == {"native": final.prog_id}
    do_unload(netns_pair)
    assert nothing_left(netns_pair)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(("module", "name"), STEPS[:3])
def test_failed_step(
    netns_pair: NetnsPair, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, replace: bool
) -> None:
    old = do_load(netns_pair) if replace else None

    def fails(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    name = "replace" if name == "attach" and replace else name
    with monkeypatch.context() as patch:
        patch.setattr(module, name, fails)
        with pytest.raises(UserError, match="No space left"):
            do_load(netns_pair, replace=replace)
    settle.repair()
    if old:
        assert get_status(netns_pair).state == old
        assert pins.program_ids(old.key) == {old.prog_id}
    else:
        assert nothing_left(netns_pair)


def test_killed_in_unload(netns_pair: NetnsPair) -> None:
    do_load(netns_pair)
    child = os.fork()
    if not child:
        load.describe_state = lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore
        do_unload(netns_pair)
        os._exit(1)
    os.waitpid(child, 0)
    assert attached(netns_pair) == {}
    assert "not attached any more" in get_status(netns_pair).problems[0]
    assert any(netns_pair.server.ifname in line for line in settle.repair())
    assert nothing_left(netns_pair)


def test_interface_deleted(netns_pair: NetnsPair) -> None:
    loaded = do_load(netns_pair)
    netns_pair.run(netns_pair.server, ["ip", "link", "del", netns_pair.server.ifname])
    assert get_status(netns_pair).problems == ("the interface is gone",)
    assert any(netns_pair.server.ifname in line for line in settle.repair())
    assert state.read(loaded.key) is None
    assert not (pins.DIRECTORY / str(loaded.key)).exists()


def test_unload_of_a_deleted_interface(netns_pair: NetnsPair) -> None:
    loaded = do_load(netns_pair)
    netns_pair.run(netns_pair.server, ["ip", "link", "del", netns_pair.server.ifname])
    done = do_unload(netns_pair)
    assert "not attached any more" in done.problems[0]
    assert state.read(loaded.key) is None


def test_namespace_deleted(netns_pair: NetnsPair) -> None:
    loaded = do_load(netns_pair)
    netns_pair.close()
    (seen,) = [s for s in status.status() if s.state == loaded]
    assert seen.problems == ("its network namespace is gone",)
    settle.repair()
    assert state.read(loaded.key) is None
    assert not (pins.DIRECTORY / str(loaded.key)).exists()


def test_interface_moved_to_another_namespace(netns_pair: NetnsPair) -> None:
    """It takes its program along; the rules that the program stands for stay behind."""
    do_load(netns_pair)
    netns_pair.run(
        netns_pair.server, ["ip", "link", "set", netns_pair.server.ifname, "netns", netns_pair.client.ns]
    )

    def programs() -> list[dict[str, int]]:
        with netns_pair.enter(netns_pair.client):
            return [link.xdp for link in netlink.links() if link.name == netns_pair.server.ifname]

    assert programs() != [{}]
    assert any("moved away" in line for line in settle.repair())
    assert programs() == [{}]
    assert nothing_left(netns_pair)


def test_interface_renamed(netns_pair: NetnsPair) -> None:
    loaded = do_load(netns_pair)
    for command in ("down", "name renamed0", "up"):
        name = "renamed0" if command == "up" else netns_pair.server.ifname
        netns_pair.run(netns_pair.server, ["ip", "link", "set", name, *command.split()])
    (seen,) = status.status("renamed0", netns_name=netns_pair.server.ns)
    assert seen.attached and seen.state == loaded
    assert "is renamed0 now" in seen.problems[0]
    load.unload_program("renamed0", netns=netns_pair.server.ns)
    assert nothing_left(netns_pair)


def test_detached_by_another(netns_pair: NetnsPair) -> None:
    do_load(netns_pair)
    netns_pair.run(netns_pair.server, ["ip", "link", "set", netns_pair.server.ifname, "xdpdrv", "off"])
    assert get_status(netns_pair).problems == ("the program is not attached any more",)
    assert do_load(netns_pair).phase == state.ATTACHED


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"ifname": 1}', "null"])
def test_lost_or_broken_record(netns_pair: NetnsPair, content: str | None) -> None:
    """The pin still says that the program is ours."""
    loaded = do_load(netns_pair)
    if content is None:
        state.remove(loaded.key)
    else:
        state.file_of(loaded.key).write_text(content)
    assert loaded not in status.list_loaded()
    with pytest.raises(UserError, match="already has an xdptables program"):
        do_load(netns_pair)
    again = do_load(netns_pair, replace=True)
    state.remove(again.key)
    done = do_unload(netns_pair)
    assert done.state is None
    assert attached(netns_pair) == {}
    assert nothing_left(netns_pair)


def test_temporaries_of_killed_writers_go(netns_pair: NetnsPair) -> None:
    with netns_pair.enter(netns_pair.server):
        key = state.Key(netns.inode(), netns_pair.server.ifindex)
    state.DIRECTORY.mkdir(exist_ok=True)
    left = state.DIRECTORY / f".{key}.abc"
    left.touch()
    settle.repair()
    assert not left.exists()


def test_an_id_that_another_program_got(netns_pair: NetnsPair) -> None:
    """An id alone proves nothing: the load time must agree, where no pin vouches."""
    loaded = do_load(netns_pair)
    do_unload(netns_pair)
    other = attach_other(netns_pair)
    assert pins.open_program(loaded.key, other, loaded.load_time) is None


def test_lock_is_waited_for_and_given_up(monkeypatch: pytest.MonkeyPatch, netns_pair: NetnsPair) -> None:
    monkeypatch.setattr(state, "LOCK_SECONDS", 0.1)
    with state.lock(), pytest.raises(UserError, match="another xdptables"):
        do_load(netns_pair)
    assert attached(netns_pair) == {}


def test_a_namespace_that_has_no_name_here_is_left_alone(netns_pair: NetnsPair) -> None:
    do_load(netns_pair)
    programs = attached(netns_pair)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            libc = ctypes.CDLL(None)
            assert libc.unshare(0x20000) == 0  # CLONE_NEWNS
            assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
            assert libc.mount(b"none", b"/run/netns", b"tmpfs", 0, None) == 0
            said = settle.repair()
            code = 0 if any("can't be entered from here" in line for line in said) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert attached(netns_pair) == programs
    with netns_pair.enter(netns_pair.server):
        assert state.read(state.Key(netns.inode(), netns_pair.server.ifindex))
