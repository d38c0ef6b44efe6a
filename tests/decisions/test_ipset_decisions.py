"""What sets do to decisions: which packets are dropped, and which are kept for a set that counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xdptables.decisions import decide
from xdptables.decisions.model import Drop, Undecided
from xdptables.fields import FIELDS, Family
from xdptables.host.facts import PLAIN_HOST
from xdptables.host.ipsets import read_ipsets
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Condition, Cube, opposite
from xdptables.matches.view import Kind
from xdptables.rules.reader import read_rulesets
from xdptables.source import InputError, Source

IN, OUT = 0x0A000001, 0x0B000001
NET = "create s hash:net family inet\nadd s 10.0.0.0/8\n"
COUNTED = "create s hash:net family inet counters\nadd s 10.0.0.0/8 packets 3 bytes 180\n"


def fates(rule: str, sets: str, after: str = "-j DROP") -> tuple[str, str]:
    """What becomes of a packet from the net, and of one from elsewhere."""
    text = f"*raw\n:PREROUTING ACCEPT\n-A PREROUTING {rule}\n-A PREROUTING {after}\nCOMMIT\n"
    host = replace(PLAIN_HOST, ipsets=read_ipsets(Source("sets", sets)) if sets else None)
    (decisions,) = (
        d for d in decide(read_rulesets(Source("r", text), Family.IPV4), host) if d.kind is Kind.IPV4
    )

    def fate(src: int) -> str:
        for decision in decisions.decisions:
            if all(src in s for name, s in decision.when.sets if name == "src"):
                then = decision.then
                return "drop" if isinstance(then, Drop) else "left" if isinstance(then, Undecided) else "pass"
        return "pass"

    return fate(IN), fate(OUT)


@pytest.mark.parametrize(
    ("rule", "sets", "expected"),
    [
        ("-m set --match-set s src -j ACCEPT", NET, ("pass", "drop")),
        ("-m set ! --match-set s src -j ACCEPT", NET, ("drop", "pass")),
        ("-m set --match-set s src -j ACCEPT", "", ("left", "left")),
        # What is in a set with counters would be counted; the rest is decided.
        ("-m set --match-set s src -j DROP", COUNTED, ("left", "drop")),
        ("-m set ! --match-set s src -j DROP", COUNTED, ("left", "drop")),
        ("-m set --match-set s src", COUNTED, ("left", "drop")),
        ("-m set --match-set s src ! --update-counters -j ACCEPT", COUNTED, ("pass", "drop")),
        ("-m set --match-set s src --packets-gt 5 -j ACCEPT", COUNTED, ("left", "drop")),
        # Of entries that expire nothing rests, neither on their presence nor on their absence.
        ("-m set --match-set s src -j ACCEPT",
         "create s hash:net timeout 9\nadd s 10.0.0.0/8 timeout 7\n", ("left", "left")),
        ("-m set --match-set s src -j ACCEPT",
         "create s hash:net timeout 9\nadd s 10.0.0.0/8 timeout 0\n", ("pass", "left")),
        ("-m set --match-set l src -j ACCEPT", NET + "create l list:set size 8\nadd l s\n", ("pass", "drop")),
        ("-m set --match-set l src -j ACCEPT", "create l list:set size 8\nadd l s\n", ("left", "left")),
        ("-m set --match-set l src -j ACCEPT", COUNTED + "create l list:set size 8\nadd l s\n",
         ("left", "drop")),
        ("-m set --match-set s src -j ACCEPT", "create s hash:future family inet\n", ("left", "left")),
        ("-m set --match-set s src ! --update-counters -j ACCEPT",
         "create s hash:net shiny 7\nadd s 10.0.0.0/8\n", ("left", "left")),
        ("-m set --match-set s src ! --update-counters -j ACCEPT",
         "create s hash:net\nadd s 10.0.0.0/8 sometimes\n", ("left", "left")),
    ],
)  # fmt: skip
def test_packets_in_a_set_and_out_of_it(rule: str, sets: str, expected: tuple[str, str]) -> None:
    assert fates(rule, sets) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("-m recent --name x --rcheck --seconds 60 -j DROP", "drop"),
        ("-m recent --name x ! --rcheck -j DROP", "drop"),
        ("-m recent --name x --rcheck -j ACCEPT", "left"),
        ("-m recent --name x --rcheck --seconds 60 --reap -j DROP", "left"),
        ("-m recent --name x --update -j DROP", "left"),
        ("-m recent --name x --set", "left"),
        ("-m recent --name x --remove", "left"),
        ("-m statistic --mode random --probability 0.1 -j DROP", "drop"),
        ("-m statistic --mode nth --every 3 -j DROP", "left"),
    ],
)
def test_matches_that_only_look_at_what_is_remembered(rule: str, expected: str) -> None:
    assert fates(rule, "")[0] == expected


def test_a_set_that_a_rule_fills_is_never_certain() -> None:
    fill = "-p tcp -j SET --add-set s src\n-A PREROUTING -j DROP"
    assert fates("-m set --match-set s src -j ACCEPT", NET, fill) == ("left", "left")
    listed = NET + "create l list:set size 8\nadd l s\n"
    fill = fill.replace("--add-set s", "--del-set l")
    assert fates("-m set --match-set s src -j ACCEPT", listed, fill) == ("left", "left")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-A s 10.0.0.0/8\n", "sets:1:1: error: '-A' is neither create nor add"),
        ("add s 10.0.0.0/8\n", "sets:1:1: error: the set 's' is not created before"),
        ("create s hash:ip\ncreate s hash:ip\n", "sets:2:1: error: the set 's' is created twice"),
        ("create s hash:ip\nadd s\n", "sets:2:1: error: nothing is added"),
        ("create s\n", "sets:1:1: error: the set 's' has no type"),
        ("create\n", "sets:1:1: error: no set is named"),
    ],
)
def test_what_is_no_output_of_ipset_save(text: str, message: str) -> None:
    with pytest.raises(InputError) as e:
        read_ipsets(Source("sets", text))
    assert str(e.value).startswith(message)


def test_the_opposite_of_a_union() -> None:
    def cube(**sets: IntervalSet) -> Cube:
        return Cube(tuple(sorted(sets.items())))

    tcp, ports = IntervalSet.of(6), IntervalSet.range(80, 90)
    region = (cube(src=IntervalSet.range(10, 20), proto=tcp, dport=ports), cube(src=IntervalSet.of(15)))
    turned = opposite(Condition(region, region), lambda name: FIELDS[name].bits)
    for src in (9, 10, 15, 20, 21):
        for proto in (6, 17):
            for dport in (79, 80, 90, 91):
                packet = {"src": src, "proto": proto, "dport": dport}
                inside = [all(packet[n] in s for n, s in c.sets) for c in region]
                outside = [all(packet[n] in s for n, s in c.sets) for c in turned.yes]
                assert any(outside) != any(inside)
    assert turned.yes == turned.may
