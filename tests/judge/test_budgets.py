"""Budgets with real packets: who is owed a reply or a log line gets it, and floods end in XDP."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from netns import NetnsPair
from xdptables.decisions.budget import Budgets
from xdptables.fields import Family
from xdptables.host.facts import HostFacts, InterfaceFacts
from xdptables.kernel import kfuncs, maps, syscall
from xdptables.kernel.compile import compile_program
from xdptables.kernel.load import unload_program
from xdptables.kernel.maps import Counters
from xdptables.kernel.status import status
from xdptables.loading import Request, load, prepare
from xdptables.pipeline import compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.build import build
from xdptables.verify.model import Place
from xdptables.verify.probe import SurvivorLog

pytestmark = pytest.mark.kernel

XDP_DROP, XDP_PASS = 1, 2
DROPPED, RECENT, ON_BUDGET = 0, 9, 11
GROUP = 4713
REJECTS = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -j REJECT\nCOMMIT\n"
STATEFUL = REJECTS.replace(
    "-A INPUT -j", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -j"
)
AUTO = Budgets(reject=0, log=0)


def place(pair: NetnsPair, peer4: str = "") -> Place:
    return Place(
        own_mac=pair.server.mac,
        peer_mac=pair.client.mac,
        own4=pair.server.addr4,
        peer4=peer4 or pair.client.addr4,
        own6=pair.server.addr6,
        peer6=pair.client.addr6,
    )


@contextlib.contextmanager
def firewall(rules: str, variant: str = "nft") -> Iterator[NetnsPair]:
    """A tenth of a second between two replies, so that the test need not last as long as a real one."""
    with NetnsPair() as pair:
        pair.run(pair.server, [f"iptables-{variant}-restore"], input=rules)
        pair.run(pair.server, ["sysctl", "-qw", "net.ipv4.icmp_ratelimit=100"])
        yield pair


@contextlib.contextmanager
def program(pair: NetnsPair, budgets: Budgets) -> Iterator[None]:
    load(prepare(Request(pair.server.ifname, netns=pair.server.ns, budgets=budgets)))
    try:
        yield
    finally:
        unload_program(pair.server.ifname, netns=pair.server.ns)


def counters(pair: NetnsPair) -> Counters:
    return status(pair.server.ifname, netns_name=pair.server.ns)[0].counters


@contextlib.contextmanager
def flood(pair: NetnsPair, frame: bytes) -> Iterator[list[int]]:
    """About 20,000 packets a second until the block ends; yields how many, in a list of one."""
    sent, stop = [0], threading.Event()

    def run() -> None:
        while not stop.is_set():
            pair.send_frames([frame] * 100)
            sent[0] += 100
            time.sleep(0.004)

    sender = threading.Thread(target=run)
    sender.start()
    try:
        yield sent
    finally:
        stop.set()
        sender.join()


def replies_to(pair: NetnsPair, count: int) -> int:
    """How many of `count` packets of the client get their ICMP error, as often as the kernel grants them."""
    with pair.enter(pair.client):
        asking = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    got = set()
    with asking, sender:
        for number in range(count):
            sender.sendto(b"hello", (pair.server.addr4, 40000 + number))
            until = time.monotonic() + 0.11
            while (left := until - time.monotonic()) > 0:
                if select.select([asking], [], [], left)[0]:
                    data = asking.recv(200)
                    if data[20] == 3:
                        got.add(int.from_bytes(data[20 + 8 + 20 + 2 : 20 + 8 + 20 + 4]))
    return len([p for p in got if 40000 <= p < 40000 + count])


def stranger(pair: NetnsPair) -> str:
    """Another address on the net, to which the server can answer."""
    address = pair.client.addr4.rsplit(".", 1)[0] + ".77"
    pair.run(
        pair.server,
        [
            "ip",
            "neigh",
            "replace",
            address,
            "lladdr",
            pair.client.mac,
            "nud",
            "permanent",
            "dev",
            pair.server.ifname,
        ],
    )
    return address


@pytest.mark.parametrize("rules", [REJECTS, STATEFUL], ids=["stateless", "stateful"])
def test_a_flood_from_another_costs_nobody_a_reply(rules: str) -> None:
    with firewall(rules) as pair:
        spec = {"proto": 17, "dport": 9, "sport": 999, "length": 60}
        frame = build(Family.IPV4, spec, place(pair, stranger(pair)))
        with flood(pair, frame):
            assert replies_to(pair, 11) == 11
        with program(pair, AUTO):
            with flood(pair, frame) as sent:
                assert replies_to(pair, 11) == 11
            time.sleep(0.1)
            counted = counters(pair)
        dropped, passed = counted.verdicts[DROPPED], counted.verdicts[ON_BUDGET]
        # The race's window: the first packets of a program are not dropped by a look-up.
        early = counted.verdicts[RECENT]
        assert (early > 0) is (rules == STATEFUL)
        # 12 at once, 100 a second, and those of the client.
        assert 30 < passed < 12 + 100 * 4 + 11
        assert dropped + passed + early == sent[0] + 11
        assert dropped > 0.8 * sent[0]
        assert sum(c.packets for c in counted.rules) == dropped
        assert sum(counted.on_budget) == passed


def test_junk_in_ones_name_costs_no_reply() -> None:
    """The kernel answers no bad checksum, so nothing of its limit is used up, and nothing of the budget."""
    with firewall(REJECTS) as pair:
        good = build(Family.IPV4, {"proto": 17, "dport": 9, "sport": 999, "length": 60}, place(pair))
        junk = good[:-1] + bytes([good[-1] ^ 0x55])
        with flood(pair, junk):
            assert replies_to(pair, 11) == 11
        with program(pair, AUTO):
            with flood(pair, junk) as sent:
                assert replies_to(pair, 11) == 11
            time.sleep(0.1)
            counted = counters(pair)
        assert counted.verdicts[DROPPED] == 0
        assert counted.verdicts[ON_BUDGET] == sent[0] + 11


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_a_limited_log_has_as_many_lines(variant: str) -> None:
    line = f"-A INPUT -p udp -m limit --limit 20/sec -j NFLOG --nflog-group {GROUP}"
    rules = f"*filter\n:INPUT ACCEPT [0:0]\n{line}\n-A INPUT -p udp -j DROP\nCOMMIT\n"
    with firewall(rules, variant) as pair:
        frame = build(Family.IPV4, {"proto": 17, "dport": 9, "length": 60}, place(pair))
        with pair.enter(pair.server):
            log = SurvivorLog(GROUP)

        def lines(seconds: float) -> int:
            time.sleep(0.3)  # the limit's burst is full again
            log.read()
            with flood(pair, frame):
                time.sleep(seconds)
            time.sleep(0.05)
            return len(log.read())

        try:
            alone = lines(2)
            with program(pair, AUTO):
                together = lines(2)
                counted = counters(pair)
        finally:
            log.close()
        assert 40 <= alone <= 50  # 5 at once, 20 a second
        assert abs(together - alone) <= 3
        assert counted.verdicts[DROPPED] > 20 * counted.verdicts[ON_BUDGET]


def test_a_limited_accept_still_sees_every_packet() -> None:
    rules = (
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -m limit --limit 5/sec -j ACCEPT\n"
        "-A INPUT -p udp -j REJECT\nCOMMIT\n"
    )
    with firewall(rules) as pair, program(pair, AUTO):
        pair.send_frames([build(Family.IPV4, {"proto": 17, "dport": 9}, place(pair))] * 500)
        counted = counters(pair)
    assert counted.verdicts[DROPPED] == 0


@contextlib.contextmanager
def used_up(rules: str, family: Family, frames: Sequence[bytes]) -> Iterator[int]:
    """A program, not attached, that has granted the sources of `frames` all they get in a long time."""
    own = Place()
    host = HostFacts(
        interface=InterfaceFacts(name="wan0", mac=own.own_mac, gro=False),
        local4=(f"{own.own4}/32",),
        local6=(f"{own.own6}/128",),
        icmp_ratelimit4=10**6,
        icmp_ratelimit6=10**7,
    )
    with NetnsPair() as pair, pair.enter(pair.server):
        pair.run(pair.server, ["ip", "addr", "add", f"{own.own4}/24", "dev", pair.server.ifname])
        pair.run(pair.server, ["ip", "addr", "add", f"{own.own6}/64", "dev", pair.server.ifname, "nodad"])
        compiled = compile_rules(
            read_rulesets(Source("rules", rules), family), host, budgets=Budgets(reject=0)
        )
        made = compile_program(compiled.c_text, compiled.plan.map_values)
        fd = kfuncs.load(made.instructions, made.license).fd
        try:
            maps.fill(made.maps, host)
            for frame in frames:
                for _ in range(12):
                    assert syscall.test_run(fd, frame, ingress_ifindex=pair.server.ifindex)[0] == XDP_PASS
            yield fd
        finally:
            os.close(fd)


@pytest.mark.stock
@pytest.mark.parametrize("family", list(Family), ids=str)
def test_only_right_checksums_are_charged(family: Family) -> None:
    """A right one is charged, and dropped as nothing is left; a wrong one passes."""
    four = family is Family.IPV4
    header = 20 if four else 40
    specs = [{"proto": 17, "length": header + n} for n in (*range(20, 90), 127, 128, 511, 1000, 1459, 1460)]
    specs += [{"proto": 6, "tcp_flags": 2, "length": header + n} for n in (20, 21, 63, 64, 65, 1460)]
    specs += [
        {"proto": 1 if four else 58, "icmp": (8 if four else 128) << 8, "length": header + n}
        for n in (40, 85)
    ]
    specs += (
        [{"proto": 17, "length": 100, "options": 1}] if four else [{"proto": 17, "length": 100, "exthdr": 5}]
    )
    with used_up(REJECTS, family, [build(family, {"proto": 17})]) as fd:

        def verdict(frame: bytes) -> int:
            return syscall.test_run(fd, frame)[0]

        for spec in specs:
            frame = build(family, spec)
            l4 = 14 + header + 4 * spec.get("options", 0) + 16 * bool(spec.get("exthdr"))
            right = XDP_PASS if spec.get("options") else XDP_DROP  # options pass anyway
            assert verdict(frame) == right, spec
            for at in (l4 + 1, l4 + 7, len(frame) - 1):
                broken = frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1 :]
                assert verdict(broken) == XDP_PASS, (spec, at)
            padded = frame + b"\x12\x34\x56"  # Ethernet padding is not summed
            assert verdict(padded) == right, spec
        bare = bytearray(build(family, {"proto": 17}))
        bare[14 + header + 6 : 14 + header + 8] = b"\0\0"
        assert verdict(bytes(bare)) == XDP_PASS
        assert verdict(build(family, {"proto": 50})) == XDP_PASS


def test_another_address_has_a_budget_of_its_own() -> None:
    one, other = ({"proto": 17, "src": 0x20010DB8 << 96 | host} for host in (2, 3))
    frames = [build(Family.IPV6, spec) for spec in (one, other)]
    with used_up(REJECTS, Family.IPV6, frames) as fd:
        assert [syscall.test_run(fd, f)[0] for f in frames] == [XDP_DROP, XDP_DROP]
