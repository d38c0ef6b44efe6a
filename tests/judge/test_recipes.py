"""Shapes that real firewalls have, with real sockets: marks saved to connections, drops in raw and mangle."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from judge.traffic import DROPPED, connected, echoes, firewall, flood, program, serve, verdicts
from xdptables.host.facts import PLAIN_HOST
from xdptables.pipeline import compile_rules
from xdptables.report.entries import Fate
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source

#: As FireHOL writes it: a mark is kept with the connection, and the filter drops behind.
MARKS_SAVED = """\
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -m conntrack --ctstate RELATED,ESTABLISHED -j CONNMARK --restore-mark --mask 0xff
-A PREROUTING -p tcp -m tcp --dport 8080 -m conntrack --ctstate NEW -j MARK --set-xmark 0x7/0xffffffff
-A INPUT -m conntrack --ctstate NEW -j CONNMARK --save-mark --mask 0xff
-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j CONNMARK --restore-mark --mask 0xff
COMMIT
*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 8080 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED -j ACCEPT
-A INPUT -j DROP
COMMIT
"""


@pytest.mark.kernel
@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_marks_are_saved_to_connections_that_are_accepted_and_floods_end_in_xdp(variant: str) -> None:
    with firewall(MARKS_SAVED, variant) as pair, contextlib.ExitStack() as open_:
        open_.enter_context(serve(pair, pair.server, pair.server.addr4, 8080))
        with program(pair):
            frames = flood(pair, 1000)
            pair.send_frames(frames)
            address = pair.server.addr4
            made = [open_.enter_context(connected(pair, pair.client, address, 8080)) for _ in range(9)]
            assert all(echoes(c) for c in made)
            dropped = verdicts(pair)[DROPPED]
        listed = pair.run(pair.server, ["conntrack", "-L", "-p", "tcp", "--dport", "8080"]).stdout
    assert dropped >= len(frames) * 0.95
    assert [line.count(" mark=7 ") for line in listed.splitlines()] == [1] * len(made)


def test_a_mark_that_is_saved_stops_no_drop_of_packets_without_a_connection() -> None:
    rulesets = read_rulesets(Source("rules", MARKS_SAVED))
    host = replace(PLAIN_HOST, interface=replace(PLAIN_HOST.interface, name="eth0"))
    report = compile_rules(rulesets, host).report
    (drop,) = report.dropping
    assert drop.fate is Fate.OFFLOADED
