"""What a host can lack or lose: room, bpffs, memory, the device. Never half a program, always a message."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest
from commands import Command, eventually, with_rules, words, xdptables
from test_kernel_load import attached, do_load, do_unload, get_status, nothing_left

from netns import NetnsPair
from xdptables.kernel import compile, maps, netns, pins, settle, state, status
from xdptables.source import UserError

pytestmark = pytest.mark.kernel


@pytest.fixture
def pair(netns_pair: NetnsPair) -> Iterator[NetnsPair]:
    with with_rules(netns_pair) as pair:
        yield pair


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
