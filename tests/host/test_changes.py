from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from xdptables.host.changes import changes
from xdptables.host.facts import PLAIN_HOST, HostFacts, NativeTable, PacketSocket


def device(**facts: Any) -> HostFacts:
    return replace(PLAIN_HOST, interface=replace(PLAIN_HOST.interface, **facts))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (replace(PLAIN_HOST, local4=("10.0.0.1/32",)), ("refresh", "local4", "local4: new: 10.0.0.1/32")),
        (device(mac="02:00:00:00:00:02"), ("refresh", "interface.mac", "mac was none, is 02:00:00:00:00:02")),
        (replace(PLAIN_HOST, forwards4=True), ("refresh", "forwards4", "forwards4 is now true")),
        (device(gro=False), ("stale", "interface.gro", "gro is now false")),
        (device(name="eth9"), ("stale", "interface.name", "name was none, is eth9")),
        (replace(PLAIN_HOST, nat_entries=True), ("stale", "nat_entries", "nat entries is now true")),
        (
            replace(PLAIN_HOST, native_tables=(NativeTable("inet", "t"),)),
            ("stale", "native_tables", "native tables: new: inet t"),
        ),
        (
            replace(PLAIN_HOST, packet_sockets=(PacketSocket(3, 0, 5, "tcpdump"),)),
            ("stale", "packet_sockets", "packet sockets: new: tcpdump (0x0003)"),
        ),
    ],
)
def test_each_difference_is_told(now: HostFacts, expected: tuple[str, str, str]) -> None:
    assert [(c.kind, c.fact, c.text) for c in changes(PLAIN_HOST, now)] == [expected]


def test_what_rules_are_compiled_from_makes_the_program_stale() -> None:
    now = replace(PLAIN_HOST, local4=("10.0.0.1/32",), unclear4=("10.0.0.2/32",))
    assert [(c.kind, c.fact) for c in changes(PLAIN_HOST, now)] == [
        ("refresh", "local4"),
        ("refresh", "unclear4"),
    ]
    compiled = frozenset(("local4", "unclear4"))
    assert [(c.kind, c.fact) for c in changes(PLAIN_HOST, now, compiled)] == [
        ("stale", "local4"),
        ("stale", "unclear4"),
    ]


@pytest.mark.parametrize(
    ("relied", "now"),
    [
        (PLAIN_HOST, PLAIN_HOST),
        (PLAIN_HOST, replace(PLAIN_HOST, conntrack_entries=True, label="x", assumed=False)),
        (PLAIN_HOST, device(xdp="id 3 (xdptables)")),
        (replace(PLAIN_HOST, nat_entries=True), PLAIN_HOST),
        (PLAIN_HOST, replace(PLAIN_HOST, packet_sockets=(PacketSocket(0x806, 0, 5, "arping", True),))),
        (
            replace(PLAIN_HOST, packet_sockets=(PacketSocket(3, 0, 5, "snort"),)),
            replace(PLAIN_HOST, packet_sockets=(PacketSocket(3, 0, 9, "snort"),)),
        ),
    ],
)
def test_these_do_not_matter(relied: HostFacts, now: HostFacts) -> None:
    assert changes(relied, now) == ()
