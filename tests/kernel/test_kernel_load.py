"""Load, replace, unload on a device, in a network namespace of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from typing import Any

import program
import pytest

from netns import NetnsPair
from xdptables.host.facts import HostFacts
from xdptables.kernel import (
    attach,
    compile,
    kfuncs,
    load,
    netlink,
    netns,
    pins,
    settle,
    state,
    status,
    syscall,
)
from xdptables.kernel.errors import KernelError
from xdptables.source import UserError

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


def do_load(pair: NetnsPair, text: str | None = None, **options: Any) -> state.LoadedState:
    options.setdefault("netns", pair.server.ns)
    return load.load_program(text or program.text(), pair.server.ifname, HostFacts(), **options)


def do_unload(pair: NetnsPair) -> status.Status:
    return load.unload_program(pair.server.ifname, netns=pair.server.ns)


def get_status(pair: NetnsPair) -> status.Status:
    (found,) = status.status(pair.server.ifname, netns_name=pair.server.ns)
    return found


def attached(pair: NetnsPair) -> dict[str, int]:
    with pair.enter(pair.server):
        return attach.attached(pair.server.ifindex)


def attach_other(pair: NetnsPair, flags: int = netlink.DRV_MODE) -> int:
    """A program of someone else's on the server's device; returns its id."""
    compiled = compile.compile_program("int xdptables(struct xdp_md *ctx) { return XDP_PASS; }")
    fd = kfuncs.load(compiled.instructions, compiled.license, name="other").fd
    with pair.enter(pair.server):
        netlink.set_xdp(pair.server.ifindex, fd, flags)
    return syscall.prog_info(fd).id


def nothing_left(pair: NetnsPair) -> bool:
    with pair.enter(pair.server):
        key = state.Key(netns.inode(), pair.server.ifindex)
    records = list(state.DIRECTORY.glob(f"{key}.*"))
    return not [r for r in records if r.suffix != ".watch"] and not (pins.DIRECTORY / str(key)).exists()


@pytest.mark.parametrize(
    ("mode", "expected"), [("auto", "native"), ("native", "native"), ("generic", "generic")]
)
def test_load_and_unload(netns_pair: NetnsPair, mode: str, expected: str) -> None:
    slots = [{"rule": 1}]
    loaded = do_load(
        netns_pair, mode=mode, source="rules.v4", slots=slots, report_json={"a": [1]}, disregarded=("x",)
    )
    assert (loaded.mode, loaded.phase, loaded.native_refused) == (expected, state.ATTACHED, "")
    assert attached(netns_pair) == {expected: loaded.prog_id}
    netns_pair.send_frames([program.DROPPED] * 5)
    seen = get_status(netns_pair)
    assert seen.state == loaded and seen.rules == tuple(slots)
    assert (seen.attached, seen.problems) == (True, ())
    assert seen.counters.rules[1].packets == 5
    assert loaded in status.list_loaded()
    ended = do_unload(netns_pair)
    assert ended.counters.rules[1].packets == 5 and ended.rules == tuple(slots)
    assert attached(netns_pair) == {}
    assert nothing_left(netns_pair)
    with pytest.raises(UserError, match="no xdptables program is loaded"):
        do_unload(netns_pair)


def test_auto_falls_back_and_says_why(netns_pair: NetnsPair) -> None:
    loaded = load.load_program(program.text(), "lo", HostFacts(), netns=netns_pair.server.ns)
    assert loaded.mode == "generic"
    assert loaded.native_refused
    load.unload_program("lo", netns=netns_pair.server.ns)
    with pytest.raises(UserError, match="takes no native XDP program"):
        load.load_program(program.text(), "lo", HostFacts(), netns=netns_pair.server.ns, mode="native")


def test_generic_ends_gro(netns_pair: NetnsPair) -> None:
    netns_pair.run(netns_pair.server, ["ethtool", "-K", netns_pair.server.ifname, "gro", "on"])
    loaded = do_load(netns_pair, mode="generic")
    assert (loaded.gro_before, loaded.gro_after) == (True, False)
    do_unload(netns_pair)
    loaded = do_load(netns_pair, mode="native")
    assert (loaded.gro_before, loaded.gro_after) == (True, True)


def test_jumbo_frames() -> None:
    with NetnsPair(mtu=9000) as pair:
        loaded = do_load(pair, mode="native")
        assert loaded.frags
        pair.send_frames([program.DROPPED + bytes(8000)])
        assert get_status(pair).counters.rules[1].packets == 1


def test_survives_the_process(netns_pair: NetnsPair) -> None:
    code = (
        "import sys, program; from xdptables.kernel.load import load_program;"
        "from xdptables.host.facts import HostFacts;"
        "load_program(program.text(), sys.argv[1], HostFacts(), netns=sys.argv[2])"
    )
    subprocess.run(
        [sys.executable, "-c", code, netns_pair.server.ifname, netns_pair.server.ns],
        check=True,
        cwd=program.__file__.rpartition("/")[0],
    )
    netns_pair.send_frames([program.DROPPED] * 3)
    assert get_status(netns_pair).counters.rules[1].packets == 3
    do_unload(netns_pair)
    assert attached(netns_pair) == {}


def test_load_under_ip_netns_exec(netns_pair: NetnsPair) -> None:
    """There /sys is another one, and the pins go with it; the program is found by its id."""
    code = (
        "import sys, program; from xdptables.kernel.load import load_program;"
        "from xdptables.host.facts import HostFacts;"
        "load_program(program.text(), sys.argv[1], HostFacts())"
    )
    command = [
        "ip",
        "netns",
        "exec",
        netns_pair.server.ns,
        sys.executable,
        "-c",
        code,
        netns_pair.server.ifname,
    ]
    subprocess.run(command, check=True, cwd=program.__file__.rpartition("/")[0])
    netns_pair.send_frames([program.DROPPED] * 3)
    assert get_status(netns_pair).counters.rules[1].packets == 3
    do_load(netns_pair, replace=True)
    do_unload(netns_pair)
    assert attached(netns_pair) == {}


def test_replace_loses_no_packet(netns_pair: NetnsPair) -> None:
    """Every frame meets the old or the new program: both drop it, so none gets through."""
    old = do_load(netns_pair)
    with netns_pair.enter(netns_pair.server):
        receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
    stop = threading.Event()
    sent = 0

    def send() -> None:
        nonlocal sent
        while not stop.is_set():
            netns_pair.send_frames([program.DROPPED] * 50)
            sent += 50

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for _ in range(5):
            new = do_load(netns_pair, replace=True)
            assert new.prog_id != old.prog_id
    finally:
        stop.set()
        sender.join()
    receiver.setblocking(False)
    with receiver, pytest.raises(BlockingIOError):
        receiver.recv(100)
    assert sent > 100
    assert attached(netns_pair) == {"native": new.prog_id}
    assert pins.program_ids(new.key) == {new.prog_id}
    assert get_status(netns_pair).state == new


def test_replace_keeps_the_mode(netns_pair: NetnsPair) -> None:
    do_load(netns_pair, mode="generic")
    assert do_load(netns_pair, replace=True).mode == "generic"
    with pytest.raises(UserError, match="replacing keeps the mode"):
        do_load(netns_pair, replace=True, mode="native")
    assert get_status(netns_pair).attached


def test_loaded_twice_without_replace(netns_pair: NetnsPair) -> None:
    first = do_load(netns_pair)
    with pytest.raises(UserError, match="already has an xdptables program"):
        do_load(netns_pair)
    assert get_status(netns_pair).state == first


@pytest.mark.parametrize("flags", [netlink.DRV_MODE, netlink.SKB_MODE])
def test_the_program_of_another_stays(netns_pair: NetnsPair, flags: int) -> None:
    other = attach_other(netns_pair, flags)
    for replace in (False, True):
        with pytest.raises(UserError, match=r"not ours: id \d+ \(other\)"):
            do_load(netns_pair, replace=replace)
    with pytest.raises(UserError, match=r"not from xdptables: id \d+ \(other\)"):
        do_unload(netns_pair)
    assert list(attached(netns_pair).values()) == [other]
    assert nothing_left(netns_pair)


def test_the_program_of_another_in_the_place_of_ours(netns_pair: NetnsPair) -> None:
    do_load(netns_pair)
    other = attach_other(netns_pair)
    seen = get_status(netns_pair)
    assert not seen.attached and "(other)" in seen.problems[0]
    with pytest.raises(UserError, match="not ours"):
        do_load(netns_pair, replace=True)
    with pytest.raises(UserError, match="not from xdptables"):
        do_unload(netns_pair)
    assert list(attached(netns_pair).values()) == [other]
    assert nothing_left(netns_pair)


def test_the_kernel_compares_before_it_replaces(netns_pair: NetnsPair) -> None:
    """Another program that slips in after our look is not replaced, nor detached."""
    loaded = do_load(netns_pair)
    ours = pins.open_program(loaded.key, loaded.prog_id, loaded.load_time)
    assert ours is not None
    other = attach_other(netns_pair)
    with netns_pair.enter(netns_pair.server):
        with pytest.raises(UserError, match="meanwhile"):
            attach.replace(ours, netns_pair.server.ifname, "auto", ours)
        assert not attach.detach(netns_pair.server.ifindex, "native", ours)
    assert attached(netns_pair) == {"native": other}


def test_no_such_interface(netns_pair: NetnsPair) -> None:
    with pytest.raises(UserError, match="no network interface 'nowhere'") as caught:
        load.load_program(program.text(), "nowhere", HostFacts(), netns=netns_pair.server.ns)
    assert netns_pair.server.ifname in caught.value.hint
    with pytest.raises(UserError, match="no mode 'fast'"):
        do_load(netns_pair, mode="fast")


def test_two_loads_at_once(netns_pair: NetnsPair) -> None:
    code = (
        "import sys, program; from xdptables.kernel.load import load_program;"
        "from xdptables.host.facts import HostFacts; from xdptables.source import UserError\n"
        "try: load_program(program.text(), sys.argv[1], HostFacts(), netns=sys.argv[2]); print('loaded')\n"
        "except UserError as e: print(e.message)"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, netns_pair.server.ifname, netns_pair.server.ns],
            stdout=subprocess.PIPE,
            text=True,
            cwd=program.__file__.rpartition("/")[0],
        )
        for _ in range(4)
    ]
    said = sorted(child.communicate(timeout=60)[0].strip() for child in children)
    assert [child.returncode for child in children] == [0] * 4
    assert said.count("loaded") == 1
    assert all("already has an xdptables program" in line for line in said if line != "loaded")
    assert get_status(netns_pair).attached
    do_unload(netns_pair)


def test_failed_compile_or_fill_leaves_the_old_program(netns_pair: NetnsPair) -> None:
    old = do_load(netns_pair)

    def broken(maps: object) -> None:
        raise RuntimeError("broken")

    with pytest.raises(KernelError):
        do_load(netns_pair, "int xdptables(", replace=True)
    with pytest.raises(RuntimeError):
        do_load(netns_pair, replace=True, fill=broken)
    assert get_status(netns_pair).state == old
    assert pins.program_ids(old.key) == {old.prog_id}
    assert not any(old.ifname in line for line in settle.repair())
