"""While a newer program is made, the old one drops nothing."""

from __future__ import annotations

import dataclasses

import pytest
from scapy.all import IP, UDP, Ether

from netns import NetnsPair
from xdptables import loading, watching
from xdptables.cli.running import VERDICTS
from xdptables.kernel import state
from xdptables.kernel.load import unload_program
from xdptables.kernel.netns import inode
from xdptables.kernel.status import status
from xdptables.loading import Request, load, prepare

pytestmark = pytest.mark.kernel

RULES = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -m udp --dport 9 -j DROP\nCOMMIT\n"


def test_what_a_load_takes_is_nothing_to_rest_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes come in rows: the second was followed only after ten times what the first had cost."""
    waits: list[float] = []
    clock = iter(range(0, 1000, 5))
    looks = iter([True, False, None])

    def look(known: state.LoadedState, kept: object, say: object) -> bool:
        renewed = next(looks)
        if renewed:
            state.write(dataclasses.replace(known, since="just now"))
        return renewed is not None

    monkeypatch.setattr(watching, "_look", look)
    monkeypatch.setattr(watching, "_cpu_seconds", lambda: next(clock))
    monkeypatch.setattr(watching.Watcher, "wait", lambda self, seconds: waits.append(seconds))
    with NetnsPair() as pair:
        load(prepare(Request(pair.server.ifname, netns=pair.server.ns)))
        try:
            watching.watch(pair.server.ifname, pair.server.ns, 2.0, lambda text: None)
        finally:
            unload_program(pair.server.ifname, netns=pair.server.ns)
    assert waits == [2.0, 50.0]


def test_nothing_is_dropped_by_rules_that_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    with NetnsPair() as pair:
        server = pair.server
        pair.run(server, ["iptables-nft-restore"], input=RULES)
        load(prepare(Request(server.ifname, netns=server.ns)))
        frame = bytes(
            Ether(src=pair.client.mac, dst=server.mac)
            / IP(src=pair.client.addr4, dst=server.addr4)
            / UDP(sport=1, dport=9)
        )

        def counts() -> dict[str, int]:
            found = status(server.ifname, netns_name=server.ns)[0].counters.verdicts
            return dict(zip(VERDICTS, found, strict=False))

        def prepare_slowly(request: Request, *more: object, **named: object) -> object:
            pair.send_frames([frame] * 5)
            assert counts()["dropped"] == 3
            assert counts()["rules just changed, or not watched"] == 5
            return prepare(request)

        try:
            pair.send_frames([frame] * 3)
            assert counts()["dropped"] == 3
            monkeypatch.setattr(loading, "prepare", prepare_slowly)
            with pair.enter(server):
                known = state.read(state.Key(inode(), server.ifindex))
                assert known and watching._renew(known, lambda text: None, "a test")
            pair.send_frames([frame] * 4)
            assert counts()["dropped"] == 4  # of the new program
        finally:
            unload_program(server.ifname, netns=server.ns)


def test_rules_that_change_while_a_program_is_made() -> None:
    with NetnsPair() as pair:
        server = pair.server
        pair.run(server, ["iptables-nft-restore"], input=RULES)
        request = Request(server.ifname, netns=server.ns, verify=False)
        try:
            assert not watching.hold_if_outdated(load(prepare(request)))
            prepared = prepare(dataclasses.replace(request, replace=True))
            pair.run(server, ["iptables-nft", "-I", "INPUT", "-p", "udp", "-j", "ACCEPT"])
            assert watching.hold_if_outdated(load(prepared), prepared.kept)
            frame = bytes(
                Ether(src=pair.client.mac, dst=server.mac)
                / IP(src=pair.client.addr4, dst=server.addr4)
                / UDP(sport=1, dport=9)
            )
            pair.send_frames([frame] * 3)
            found = status(server.ifname, netns_name=server.ns)[0].counters.verdicts
            counts = dict(zip(VERDICTS, found, strict=False))
            assert (counts["dropped"], counts["rules just changed, or not watched"]) == (0, 3)
        finally:
            unload_program(server.ifname, netns=server.ns)
