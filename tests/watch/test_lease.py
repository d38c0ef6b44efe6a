"""A program that nobody follows any more stops dropping, though watcher and guardian be killed at once."""

from __future__ import annotations

import os
import signal
import time

import pytest
from scapy.all import IP, UDP, Ether

from netns import NetnsPair
from pace import seconds
from xdptables import loading, watcher_process, watching
from xdptables.cli.running import VERDICTS
from xdptables.kernel import maps, state
from xdptables.kernel.load import unload_program
from xdptables.kernel.netns import inode
from xdptables.kernel.status import Status, status
from xdptables.loading import Request, load, prepare

pytestmark = pytest.mark.kernel

RULES = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -m udp --dport 9 -j DROP\nCOMMIT\n"
MORE_UNTIL_IT_LOOKS = 16  # drops of one CPU


def _drops(pair: NetnsPair, count: int) -> int:
    """Of so many frames that the rule forbids."""
    frame = bytes(
        Ether(src=pair.client.mac, dst=pair.server.mac)
        / IP(src=pair.client.addr4, dst=pair.server.addr4)
        / UDP(sport=1, dport=9)
    )
    before = _counts(_status(pair))["dropped"]
    pair.send_frames([frame] * count)
    return _counts(_status(pair))["dropped"] - before


def _status(pair: NetnsPair) -> Status:
    (found,) = status(pair.server.ifname, netns_name=pair.server.ns)
    return found


def _counts(found: Status) -> dict[str, int]:
    return dict(zip(VERDICTS, found.counters.verdicts, strict=False))


def _known(pair: NetnsPair) -> state.LoadedState:
    with pair.enter(pair.server):
        known = state.read(state.Key(inode(), pair.server.ifindex))
    assert known is not None
    return known


def test_a_lease_that_is_not_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LEASE", seconds(1.5))
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-nft-restore"], input=RULES)
        load(prepare(Request(pair.server.ifname, netns=pair.server.ns, verify=False)))
        try:
            assert _drops(pair, 20) == 20
            assert _status(pair).problems == ()
            time.sleep(seconds(1.7))
            cpus = os.cpu_count() or 1
            _drops(pair, cpus * MORE_UNTIL_IT_LOOKS)
            assert _drops(pair, 20) == 0
            assert any("drops nothing" in p for p in _status(pair).problems)
            with pair.enter(pair.server):
                watching._renew_lease(_known(pair), 60)
            assert _drops(pair, 40) == 40
            assert _status(pair).problems == ()
        finally:
            unload_program(pair.server.ifname, netns=pair.server.ns)


def test_a_program_that_is_not_to_be_watched_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LEASE", 0.01)
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-nft-restore"], input=RULES)
        load(prepare(Request(pair.server.ifname, netns=pair.server.ns, verify=False, watched=False)))
        try:
            time.sleep(0.05)
            assert _drops(pair, 60) == 60
        finally:
            unload_program(pair.server.ifname, netns=pair.server.ns)


def test_what_is_paused_stays_so_when_its_lease_is_renewed() -> None:
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-nft-restore"], input=RULES)
        load(prepare(Request(pair.server.ifname, netns=pair.server.ns, verify=False)))
        try:
            with pair.enter(pair.server):
                known = _known(pair)
                with watching._maps_of(known) as fds:
                    maps.pause(fds, known.host)
                watching._renew_lease(known, 60)
            assert _drops(pair, 20) == 0
        finally:
            unload_program(pair.server.ifname, netns=pair.server.ns)


def test_a_watcher_renews_it_and_none_does_when_all_are_killed() -> None:
    with NetnsPair() as pair:
        server = pair.server
        pair.run(server, ["iptables-nft-restore"], input=RULES)
        known = load(prepare(Request(server.ifname, netns=server.ns, verify=False)))
        try:
            with pair.enter(server), watching._maps_of(known) as fds:
                maps.renew(fds, 5)
                assert watcher_process.start_in_background(known.key, server.ifname, server.ns)
                watcher = watcher_process.watcher_pid(known.key)
                assert watcher
                deadline = time.monotonic() + seconds(20)
                while _until(fds) < time.monotonic() + 60:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                with open(f"/proc/{watcher}/stat") as stat:
                    guardian = int(stat.read().rsplit(")", 1)[1].split()[1])
                os.kill(guardian, signal.SIGKILL)
                os.kill(watcher, signal.SIGKILL)
                while watcher_process.watcher_pid(known.key):
                    time.sleep(0.02)
                maps.renew(fds, 0.01)  # as two minutes later
                time.sleep(0.05)
            _drops(pair, (os.cpu_count() or 1) * MORE_UNTIL_IT_LOOKS)
            assert _drops(pair, 20) == 0
        finally:
            unload_program(server.ifname, netns=server.ns)


def _until(fds: dict[str, int]) -> float:
    value = maps.syscall.map_lookup(fds["xt_config"], bytes(4), 128) or b""
    return int.from_bytes(value[112:120], "little") / 1e9
