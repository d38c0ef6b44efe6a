"""What can happen to the watcher, and to what it follows: a program that nobody can follow comes off."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from commands import Command, eventually, with_rules, words, xdptables
from test_kernel_load import attached, do_load, nothing_left

from netns import NetnsPair
from xdptables import watcher_process, watching
from xdptables.host.generation import KeptByGeneration
from xdptables.kernel import netlink, netns, state
from xdptables.source import UserError

pytestmark = pytest.mark.kernel


@pytest.fixture
def pair(netns_pair: NetnsPair) -> Iterator[NetnsPair]:
    with with_rules(netns_pair) as pair:
        yield pair


def watcher(pair: NetnsPair) -> int | None:
    found = json.loads(xdptables(pair, "status", "--json").said)
    return found[0]["watcher"] if found else None


def test_watcher_killed(pair: NetnsPair) -> None:
    """The program goes with it, and can be loaded again."""
    assert xdptables(pair, "load").returncode == 0
    pid = watcher(pair)
    assert pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: attached(pair) == {}, "the program is off")
    eventually(lambda: nothing_left(pair), "nothing is left")
    assert xdptables(pair, "load").returncode == 0
    assert watcher(pair) not in (None, pid)


def test_the_guardian_killed(pair: NetnsPair) -> None:
    """The watcher goes on."""
    assert xdptables(pair, "load").returncode == 0
    pid = watcher(pair)
    assert pid
    with open(f"/proc/{pid}/stat") as file:
        guardian = int(file.read().rsplit(")", 1)[1].split()[1])
    os.kill(guardian, signal.SIGKILL)
    pair.run(pair.server, ["iptables-nft", "-I", "INPUT", "-j", "ACCEPT"])
    before = attached(pair)
    assert before
    eventually(lambda: attached(pair) not in (before, {}), "the watcher has loaded anew")
    assert watcher(pair) == pid


def test_no_watcher_no_program(pair: NetnsPair) -> None:
    """Where the watcher can't start the program does not stay."""
    command = Command(words(pair, "load"), lambda: setattr(watcher_process.sys, "executable", "/bin/false"))
    done = command.done()
    assert done.returncode == 1 and "no watcher could be started" in done.said
    assert attached(pair) == {} and nothing_left(pair)


def test_a_device_that_moves_away_loses_its_program(netns_pair: NetnsPair) -> None:
    known = do_load(netns_pair)
    netns_pair.run(netns_pair.server, ["ip", "link", "set", known.ifname, "netns", netns_pair.client.ns])
    said: list[str] = []
    with netns_pair.enter(netns_pair.server):
        assert watching._one_look(known, KeptByGeneration(), said.append) is None
    with netns_pair.enter(netns_pair.client):
        assert {link.name: link.xdp for link in netlink.links()}[known.ifname] == {}
    assert "moved away" in said[0]
    assert nothing_left(netns_pair)


def _raises(error: Exception) -> Callable[..., Any]:
    def raising(*args: object, **options: object) -> Any:
        raise error

    return raising


@pytest.mark.parametrize(
    ("module", "name", "error"),
    [
        (watching, "observe", RuntimeError("a defect")),
        (watching, "_settled", UserError("another xdptables has been loading")),
        (watching, "all_dumps", MemoryError()),
    ],
    ids=["defect", "lock", "memory"],
)
def test_a_program_that_cannot_be_followed_comes_off(
    netns_pair: NetnsPair, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: Exception
) -> None:
    known = do_load(netns_pair)
    said: list[str] = []
    with netns_pair.enter(netns_pair.server), monkeypatch.context() as patch:
        patch.setattr(module, name, _raises(error))
        watching.watch(known.ifname, "", 0.01, said.append)
    assert attached(netns_pair) == {}
    assert "taken off" in said[-1]


def test_off_even_where_the_lock_is_held(netns_pair: NetnsPair, monkeypatch: pytest.MonkeyPatch) -> None:
    known = do_load(netns_pair)
    said: list[str] = []
    monkeypatch.setattr(state, "LOCK_SECONDS", 0.1)
    with netns_pair.enter(netns_pair.server), state.lock():
        watching.watch(known.ifname, "", 0.01, said.append)
    assert attached(netns_pair) == {}
    assert "taken off" in said[-1] and "another xdptables" in said[-1]


def test_a_lost_record_takes_the_program_off(netns_pair: NetnsPair) -> None:
    known = do_load(netns_pair)
    state.file_of(known.key).write_text("{")
    said: list[str] = []
    with netns_pair.enter(netns_pair.server):
        assert netns.inode() == known.netns_inode
        assert watching._one_look(known, KeptByGeneration(), said.append) is None
    assert attached(netns_pair) == {}
    assert "its record is lost" in said[-1]
    assert nothing_left(netns_pair)
