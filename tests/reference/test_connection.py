"""What the judge is certain of where something is known of connection state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reference.test_interpret import ACCEPT, DROP, HOST, MAYBE, SIX, UNDECIDED, rules
from xdptables.fields import Family
from xdptables.host.facts import HostFacts, NativeTable
from xdptables.reference.connection import Entry, State
from xdptables.reference.interpret import Outcome, Verdict, interpret
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.build import build

FOUR = Family.IPV4
ESTABLISHED = "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def judged(
    text: str,
    host: HostFacts = HOST,
    family: Family = FOUR,
    entry: Entry = Entry.NONE,
    state: State | None = None,
    **spec: int,
) -> Outcome:
    rulesets = read_rulesets(Source("rules", text), family)
    return interpret(rulesets, build(family, spec), host, "wan0", entry=entry, state=state)


def verdict(text: str, **spec: int) -> Verdict:
    return judged(text, **spec).verdict


def test_a_stateful_firewall_drops_only_what_has_no_entry() -> None:
    text = rules(ESTABLISHED, "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", policy="DROP")
    assert judged(text, dport=23).verdict is DROP
    assert judged(text, dport=23, entry=Entry.UNKNOWN).verdict is UNDECIDED
    assert judged(text, dport=22).verdict is ACCEPT


@pytest.mark.parametrize("proto", [1, 132, 50])
def test_what_cannot_be_looked_up_is_as_before(proto: int) -> None:
    assert verdict(rules(ESTABLISHED, policy="DROP"), proto=proto) is UNDECIDED


def test_a_fragment_cannot_be_looked_up() -> None:
    text = rules(ESTABLISHED, policy="DROP")
    assert verdict(text, proto=17) is DROP
    assert verdict(text, proto=17, fragment=1) is verdict(text, proto=17, fragment=2) is UNDECIDED


@pytest.mark.parametrize(
    ("flags", "loose", "may_be_new"),
    [
        (SYN, True, True),
        (SYN | URG, True, True),
        (SYN | PSH | 0xC0, True, True),
        (ACK, True, True),
        (ACK, False, False),
        (ACK | PSH, True, True),
        (SYN | ACK, True, False),
        (FIN | ACK, True, False),
        (RST, True, False),
        (RST | ACK, True, False),
        (FIN, True, False),
        (0, True, False),
        (URG, True, False),
        (FIN | PSH | URG, True, False),
        (SYN | FIN, True, False),
        (SYN | RST, True, False),
        (PSH, True, False),
        (ACK | FIN | SYN, True, False),
    ],
)
def test_flags_that_start_no_connection_are_invalid(flags: int, loose: bool, may_be_new: bool) -> None:
    host = replace(HOST, tcp_loose=loose)
    drops = rules("-A INPUT -m conntrack --ctstate INVALID -j DROP")
    accepts = rules("-A INPUT -m state --state NEW -j ACCEPT", policy="DROP")
    assert judged(drops, host, tcp_flags=flags).verdict is (UNDECIDED if may_be_new else DROP)
    assert judged(accepts, host, tcp_flags=flags).verdict is (UNDECIDED if may_be_new else DROP)


def test_new_and_invalid_are_the_same_in_all_rules_of_a_world() -> None:
    together = rules(
        "-A INPUT -m conntrack --ctstate INVALID -j DROP", "-A INPUT -m conntrack --ctstate NEW -j DROP"
    )
    assert verdict(together) is DROP
    nested = rules(
        "-A INPUT -m conntrack --ctstate NEW -j c",
        "-A INPUT -j DROP",
        "-A c -m conntrack --ctstate INVALID -j ACCEPT",
        "-A c -j DROP",
        chains="c",
    )
    assert verdict(nested) is DROP
    assert verdict(rules("-A INPUT -m conntrack ! --ctstate ESTABLISHED -j DROP")) is DROP
    assert verdict(rules("-A INPUT -m conntrack ! --ctstate NEW,INVALID -j ACCEPT", policy="DROP")) is DROP


def test_untracked_only_if_a_notrack_may_have_matched() -> None:
    untracked = "-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT"
    assert verdict(rules(untracked, policy="DROP")) is DROP
    assert verdict(rules(untracked, policy="DROP", raw="-A PREROUTING -p tcp -j CT --notrack")) is ACCEPT
    assert verdict(rules(untracked, policy="DROP", raw="-A PREROUTING -p udp -j CT --notrack")) is DROP
    doubtful = f"-A PREROUTING {MAYBE} -j CT --notrack"
    assert verdict(rules(untracked, policy="DROP", raw=doubtful)) is UNDECIDED
    assert verdict(rules(ESTABLISHED, policy="DROP", raw=doubtful)) is DROP
    # What is not tracked belongs to no flow, whatever conntrack holds.
    text = rules(ESTABLISHED, policy="DROP", raw="-A PREROUTING -j NOTRACK")
    assert judged(text, entry=Entry.UNKNOWN).verdict is DROP


def test_in_raw_everything_is_invalid() -> None:
    for state, expected in (("INVALID", DROP), ("NEW", ACCEPT), ("UNTRACKED", ACCEPT)):
        raw = f"-A PREROUTING -m conntrack --ctstate {state} -j DROP"
        assert verdict(rules(raw=raw)) is expected, state


@pytest.mark.parametrize(
    "target", ["CT --zone 5", "CT --helper ftp", "CT --notrack --zone 5", "CT --ctevents new"]
)
def test_zones_and_helpers_decide_nothing(target: str) -> None:
    raw = f"-A PREROUTING -p tcp -j {target}"
    assert verdict(rules(ESTABLISHED, policy="DROP", raw=raw)) is UNDECIDED


def test_a_helper_anywhere_may_expect_it() -> None:
    text = rules(ESTABLISHED, policy="DROP", raw="-A PREROUTING -p udp -j CT --helper tftp")
    assert verdict(text) is UNDECIDED
    assert judged(rules(ESTABLISHED, policy="DROP"), replace(HOST, helpers=("sysctl",))).verdict is UNDECIDED


def test_other_options_of_conntrack_are_maybe() -> None:
    for option in ("--ctorigsrc 192.0.2.2", "--ctstatus ASSURED", "--ctdir ORIGINAL"):
        assert verdict(rules(f"-A INPUT -m conntrack {option} -j DROP")) is UNDECIDED
    text = rules("-A INPUT -m conntrack --ctstate ESTABLISHED --ctdir ORIGINAL -j ACCEPT", policy="DROP")
    assert verdict(text) is DROP
    assert verdict(rules("-A INPUT -m conntrack --ctstate DNAT -j ACCEPT", policy="DROP")) is DROP


MANGLE = "*mangle\n:PREROUTING ACCEPT [0:0]\n"
NAT = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{}\nCOMMIT\n"


def test_nat_of_others_does_not_matter_without_an_entry() -> None:
    text = rules(policy="DROP", more=NAT.format("-A POSTROUTING -j MASQUERADE"))
    assert verdict(text) is DROP
    assert judged(text, entry=Entry.UNKNOWN).verdict is UNDECIDED
    assert judged(rules(policy="DROP"), replace(HOST, nat_entries=True)).verdict is DROP


@pytest.mark.parametrize("target", ["REDIRECT --to-ports 22", "DNAT --to-destination 192.0.2.9"])
def test_what_may_be_translated_is_not_dropped_but_for_invalid(target: str) -> None:
    text = rules(policy="DROP", more=NAT.format(f"-A PREROUTING -p tcp -m tcp --dport 8080 -j {target}"))
    assert verdict(text, dport=8080) is UNDECIDED
    assert verdict(text, dport=8081) is DROP
    assert verdict(text, dport=8080, tcp_flags=RST) is DROP  # without an entry there is no translation
    mangle = MANGLE + "-A PREROUTING -p tcp -j TPROXY --on-port 1 --on-ip 0.0.0.0\nCOMMIT\n"
    assert verdict(rules(ESTABLISHED, policy="DROP", more=mangle)) is UNDECIDED


def test_flags_and_outbound_readers_do_not_matter_without_an_entry() -> None:
    flags = rules(ESTABLISHED, "-A INPUT -p tcp -m tcp --tcp-flags SYN,ACK SYN -j DROP")
    assert verdict(flags) is DROP and judged(flags, entry=Entry.UNKNOWN).verdict is UNDECIDED
    outbound = rules("-A INPUT -p tcp -j DROP", "-A OUTPUT -m conntrack --ctstate NEW -j DROP")
    assert verdict(outbound) is DROP
    assert judged(outbound, entry=Entry.UNKNOWN).verdict is UNDECIDED


def test_prerouting_that_reads_state_is_crossed_both_ways() -> None:
    reads = "-A PREROUTING -m conntrack --ctstate INVALID -j MARK --set-mark 1\n"
    mangle = f"{MANGLE}{reads}-A PREROUTING -p tcp -j DROP\nCOMMIT\n"
    assert verdict(rules(more=mangle)) is DROP
    assert judged(rules(more=mangle), entry=Entry.UNKNOWN).verdict is UNDECIDED


def test_conntrack_that_logs_and_native_nat() -> None:
    text = rules(ESTABLISHED, policy="DROP")
    assert judged(text, replace(HOST, conntrack_log_invalid=True)).verdict is UNDECIDED
    native = NativeTable("ip", "mine", ("prerouting",), harmless=True, has_nat=True)
    assert judged(text, replace(HOST, native_tables=(native,))).verdict is UNDECIDED


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.NEW, DROP),
        (State.INVALID, DROP),
        (State.ESTABLISHED, ACCEPT),
        (State.RELATED, ACCEPT),
        (State.UNTRACKED, DROP),
    ],
)
def test_a_state_that_is_given(state: State, expected: Verdict) -> None:
    text = rules(ESTABLISHED, policy="DROP")
    assert judged(text, entry=Entry.UNKNOWN, state=state).verdict is expected


def test_icmp_that_belongs_to_no_connection() -> None:
    invalid = rules("-A INPUT -m conntrack --ctstate INVALID -j DROP")
    for kind, expected in ((9, DROP), (10, DROP), (40, DROP), (255, DROP), (8, UNDECIDED), (3, UNDECIDED)):
        assert judged(invalid, entry=Entry.UNKNOWN, proto=1, icmp=kind << 8).verdict is expected, kind
    untracked = rules("-A INPUT -m conntrack --ctstate UNTRACKED,INVALID -j DROP")
    for kind, expected in ((135, DROP), (143, DROP), (128, UNDECIDED)):
        found = judged(untracked, family=SIX, entry=Entry.UNKNOWN, proto=58, icmp=kind << 8)
        assert found.verdict is expected, kind
    # A bad checksum makes them INVALID.
    only = rules("-A INPUT -m conntrack --ctstate UNTRACKED -j DROP")
    assert judged(only, family=SIX, proto=58, icmp=135 << 8).verdict is UNDECIDED
