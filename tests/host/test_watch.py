from __future__ import annotations

import time

import pytest

from netns import NetnsPair
from xdptables.host.watch import Watcher, wait_for_change

pytestmark = pytest.mark.kernel


def settle(watcher: Watcher) -> None:
    """The pair's own beginnings: a veth's carrier and IPv6 address take a second and more."""
    while watcher.wait(2) != "interval":
        pass


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("ip addr add 192.0.2.7/32 dev {dev}", "address"),
        ("ip route add local 192.0.2.9 dev lo", "route"),
        ("ip -6 route add local 2001:db8::9 dev lo", "route"),
        ("ip rule add fwmark 1 table 7", "rule"),
        ("ip -6 rule add fwmark 1 table 7", "rule"),
        ("ip link add br7 type bridge", "link"),
        ("sysctl -qw net.ipv4.conf.all.forwarding=1", "forwarding"),
        ("sysctl -qw net.ipv6.conf.all.forwarding=1", "forwarding"),
        ("tc qdisc add dev {dev} clsact", "tc"),
        ("nft add table inet t", "nftables"),
        ("iptables-nft -A INPUT -j DROP", "nftables"),
    ],
)
def test_events_wake_it(pair: NetnsPair, command: str, kind: str) -> None:
    with pair.enter(pair.server):
        watcher = Watcher()
    with watcher:
        settle(watcher)
        pair.run(pair.server, command.format(dev=pair.server.ifname).split())
        assert kind in watcher.wait(5).split(", ")


def test_the_interval_passes(pair: NetnsPair) -> None:
    with pair.enter(pair.server):
        with Watcher() as watcher:
            settle(watcher)
        start = time.monotonic()
        assert wait_for_change(0.2) == "interval"
    assert 0.2 <= time.monotonic() - start < 1


def test_routes_that_are_not_local_do_not_wake_it(pair: NetnsPair) -> None:
    with pair.enter(pair.server):
        watcher = Watcher()
    with watcher:
        settle(watcher)
        pair.run(pair.server, ["ip", "route", "add", "192.0.2.0/24", "dev", pair.server.ifname])
        assert watcher.wait(0.3) == "interval"
