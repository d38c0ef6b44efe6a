"""What a host can lack or lose: room, bpffs, memory, the device, the watcher. Never half a program, always a
message, and a program that nobody can follow any more comes off."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from test_kernel_load import attached, do_load, do_unload, get_status, nothing_left

from netns import NetnsPair
from xdptables import watching
from xdptables.cli.main import main
from xdptables.host.generation import KeptByGeneration
from xdptables.kernel import compile, maps, netlink, netns, pins, settle, state, status
from xdptables.source import UserError

pytestmark = pytest.mark.kernel

RULES = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 198.51.100.0/24 -j DROP\nCOMMIT\n"
_SECONDS = 20


@pytest.fixture
def pair(netns_pair: NetnsPair) -> Iterator[NetnsPair]:
    """With rules in force, and nothing of ours on its device at the end."""
    netns_pair.run(netns_pair.server, ["iptables-nft-restore"], input=RULES)
    yield netns_pair
    if attached(netns_pair):
        do_unload(netns_pair)


def words(pair: NetnsPair, command: str, *more: str) -> list[str]:
    return [command, pair.server.ifname, "--netns", pair.server.ns, *more]


@dataclass(frozen=True)
class Done:
    returncode: int
    said: str


class Command:
    """`xdptables WORDS` in a forked child, since importing takes longer than the command. `before` runs
    there first."""

    def __init__(self, argv: list[str], before: Callable[[], object] = lambda: None) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed in done()
        self._child = os.fork()
        if self._child:
            return
        try:
            os.dup2(self._output.fileno(), 1)
            os.dup2(self._output.fileno(), 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            before()
            _run_main(argv)
        finally:
            os._exit(98)

    def done(self) -> Done:
        _, how = os.waitpid(self._child, 0)
        with self._output as file:
            file.seek(0)
            said = file.read().decode()
        assert "Traceback" not in said
        return Done(os.waitstatus_to_exitcode(how), said)


def xdptables(pair: NetnsPair, command: str, *more: str, mounts: str = "") -> Done:
    """`mounts`: shell commands before it, in a mount namespace of its own."""
    return Command(words(pair, command, *more), lambda: mounts and _private_mounts(mounts)).done()


def _private_mounts(commands: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x20000) == 0  # CLONE_NEWNS
    assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
    subprocess.run(["sh", "-ec", commands], check=True)


def _run_main(argv: list[str]) -> None:
    sys.argv[1:] = argv
    code = 0
    try:
        main()
    except SystemExit as e:
        code = int(e.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 97
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def eventually(look: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        if got := look():
            return got
        time.sleep(0.05)
    raise AssertionError(f"not within {_SECONDS} s: {what}")


# -- room ---------------------------------------------------------------------------------------------

_FULL = """
mkdir -p /run/xdptables
mkdir /tmp/{tag}
cp /run/xdptables/{key}.json /tmp/{tag} 2>/dev/null || true
mount -t tmpfs -o size=256k tmpfs /run/xdptables
mv /tmp/{tag}/* /run/xdptables 2>/dev/null || true
rmdir /tmp/{tag}
touch /run/xdptables/lock
dd if=/dev/zero of=/run/xdptables/fill bs=1k 2>/dev/null || true
"""


def full(pair: NetnsPair) -> str:
    with pair.enter(pair.server):
        key = state.Key(netns.inode(), pair.server.ifindex)
    return _FULL.format(tag=pair.tag, key=key)


def test_no_room_for_the_record(pair: NetnsPair) -> None:
    done = xdptables(pair, "load", "--no-watch", mounts=full(pair))
    assert done.returncode == 1
    assert "No space left on device" in done.said and "make room in /run/xdptables" in done.said
    assert attached(pair) == {} and nothing_left(pair)


def test_no_room_keeps_the_old_one_and_unload_works(pair: NetnsPair) -> None:
    assert xdptables(pair, "load", "--no-watch").returncode == 0
    before = attached(pair)
    done = xdptables(pair, "load", "--replace", "--no-watch", mounts=full(pair))
    assert done.returncode == 1 and "it keeps what it had" in done.said
    assert attached(pair) == before
    assert xdptables(pair, "unload", mounts=full(pair)).returncode == 0
    assert attached(pair) == {}


@pytest.mark.parametrize("replace", [False, True])
def test_no_room_for_the_last_word(
    netns_pair: NetnsPair, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """The program is attached already when the record can't be completed: the old one comes back."""
    old = do_load(netns_pair) if replace else None
    real, calls = state.write, []

    def write(new: state.LoadedState) -> None:
        calls.append(new.phase)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(state.file_of(new.key)))
        real(new)

    with monkeypatch.context() as patch:
        patch.setattr(state, "write", write)
        with pytest.raises(UserError, match="No space left"):
            do_load(netns_pair, replace=replace)
    assert calls[:2] == [state.ATTACHING, state.ATTACHED]
    assert attached(netns_pair) == ({"native": old.prog_id} if old else {})
    settle.repair()
    if old:
        assert get_status(netns_pair).state == old
        do_unload(netns_pair)
    assert nothing_left(netns_pair)


# -- bpffs ---------------------------------------------------------------------------------------------


def test_bpffs_is_mounted_where_it_is_missing(pair: NetnsPair) -> None:
    """And a pin that only the loader's mount namespace had is not needed to unload elsewhere."""
    unmounted = (
        "mountpoint -q /sys/fs/bpf && umount /sys/fs/bpf\nwhile umount /sys/fs/bpf 2>/dev/null; do :; done"
    )
    done = xdptables(pair, "load", "--no-watch", mounts=unmounted)
    assert done.returncode == 0, done.said
    assert attached(pair)
    assert xdptables(pair, "status").returncode == 0
    assert xdptables(pair, "unload").returncode == 0
    assert attached(pair) == {}


@pytest.mark.parametrize(
    "mounts", ["mount -t tmpfs tmpfs /sys/fs", "mount -o ro,bind /sys/fs/bpf /sys/fs/bpf"], ids=["gone", "ro"]
)
def test_bpffs_that_takes_no_pins(pair: NetnsPair, mounts: str) -> None:
    done = xdptables(pair, "load", "--no-watch", mounts=mounts)
    assert done.returncode == 1
    assert "/sys/fs/bpf" in done.said
    assert attached(pair) == {} and nothing_left(pair)


# -- memory --------------------------------------------------------------------------------------------


def test_a_map_that_is_too_large(netns_pair: NetnsPair) -> None:
    text = (
        'BPF_TABLE("hash", u32, u64, xt_big, 1 << 30);\n'
        "int xdptables(struct xdp_md *ctx) { u32 k = 0; return xt_big.lookup(&k) ? XDP_DROP : XDP_PASS; }"
    )
    with pytest.raises(UserError, match="refuses the memory for the map xt_big"):
        do_load(netns_pair, text)
    assert attached(netns_pair) == {} and nothing_left(netns_pair)


def test_a_memory_limit(netns_pair: NetnsPair) -> None:
    with pytest.raises(UserError, match="refuses the memory for the map xt_big: Cannot allocate memory"):
        raise _in_memory_group(_load_much)


def _load_much() -> None:
    compile.compile_program(
        'BPF_TABLE("array", u32, u64, xt_big, 40000000);\n'
        "int xdptables(struct xdp_md *ctx) { u32 k = 0; return xt_big.lookup(&k) ? XDP_DROP : XDP_PASS; }"
    )


def _in_memory_group(action: Callable[[], None]) -> Exception:
    """The UserError of a child that may use 100 MB."""
    name = f"xdptables-test-{os.getpid()}"
    second = os.path.exists("/sys/fs/cgroup/cgroup.procs")
    root, limit = ("", "memory.max") if second else ("memory", "memory.limit_in_bytes")
    group = f"/sys/fs/cgroup/{root}/{name}"
    os.mkdir(group)
    try:
        with open(f"{group}/{limit}", "w") as file:
            file.write("100000000")
        read, write = os.pipe()
        child = os.fork()
        if not child:
            try:
                with open(f"{group}/cgroup.procs", "w") as file:
                    file.write(str(os.getpid()))
                action()
            except UserError as e:
                os.write(write, str(e).encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as file:
            said = file.read()
        os.waitpid(child, 0)
    finally:
        eventually(lambda: _removed(group), "the group is empty")
    return UserError(said)


def _removed(group: str) -> bool:
    try:
        os.rmdir(group)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("replace", [False, True])
def test_no_memory_for_the_entries(
    netns_pair: NetnsPair, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    old = do_load(netns_pair) if replace else None

    def refuses(*args: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with monkeypatch.context() as patch:
        patch.setattr(maps.syscall, "map_update", refuses)
        with pytest.raises(UserError, match="refuses the memory for the entries"):
            do_load(netns_pair, replace=replace)
    assert attached(netns_pair) == ({"native": old.prog_id} if old else {})
    if not old:
        assert nothing_left(netns_pair)


# -- two at once, and devices that change --------------------------------------------------------------


def test_two_loads_at_once(pair: NetnsPair) -> None:
    both = [Command(words(pair, "load", "--no-watch")) for _ in "12"]
    ended = [command.done() for command in both]
    codes, said = [e.returncode for e in ended], [e.said for e in ended]
    assert sorted(codes) == [0, 1], said
    assert "already has an xdptables program" in said[codes.index(1)] or "meanwhile" in said[codes.index(1)]
    seen = get_status(pair)
    assert seen.attached and not seen.problems and seen.state
    assert attached(pair) == {seen.state.mode: seen.state.prog_id}
    assert pins.program_ids(seen.state.key) == {seen.state.prog_id}


def test_a_device_made_anew_under_its_name(netns_pair: NetnsPair) -> None:
    old = do_load(netns_pair)
    server, client = netns_pair.server, netns_pair.client
    netns_pair.run(server, ["ip", "link", "del", server.ifname])
    add = f"ip link add {server.ifname} type veth peer name {client.ifname} netns {client.ns}"
    netns_pair.run(server, add.split())
    netns_pair.run(server, ["ip", "link", "set", server.ifname, "up"])
    (seen,) = status.status(server.ifname, netns_name=server.ns)
    assert seen.problems == ("the interface is gone",) and not seen.attached
    new = do_load(netns_pair)
    assert new.key != old.key
    assert state.read(old.key) is None and not pins.program_ids(old.key)
    assert status.find(server.ifname, server.ns) == new
    assert do_unload(netns_pair).state == new


# -- privileges ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["load", "lo"], ["unload", "lo"], ["unload", "--all"], ["status"], ["watch", "lo"]]
)
def test_no_root(command: list[str]) -> None:
    done = Command(command, lambda: (os.setgid(65534), os.setuid(65534))).done()
    assert done.returncode == 1
    assert "needs privileges" in done.said and "sudo" in done.said


# -- the watcher ---------------------------------------------------------------------------------------


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
    command = Command(words(pair, "load"), lambda: setattr(watching.sys, "executable", "/bin/false"))
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
