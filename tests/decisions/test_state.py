"""Connection state: what is decided without an entry, what is not, and the reasons that the report gives."""

from __future__ import annotations

import dataclasses

import pytest

from xdptables.decisions.model import Drop
from xdptables.fields import Family
from xdptables.host.facts import ASSUMPTIONS, PLAIN_HOST, HostFacts, InterfaceFacts, NativeTable
from xdptables.matches.view import Kind
from xdptables.pipeline import Compiled, compile_rules
from xdptables.report.entries import Fate
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.planned import evaluate

HOST = dataclasses.replace(PLAIN_HOST, interface=InterfaceFacts(name="eth0", gro=True))
SYN, ACK, RST, FIN_ACK, XMAS, NONE = 0x02, 0x10, 0x04, 0x11, 0x29, 0x00
STATEFUL = ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",)


def compiled(
    *rules: str, raw: tuple[str, ...] = (), host: HostFacts = HOST, policy: str = "ACCEPT"
) -> Compiled:
    text = "*filter\n:INPUT {} [0:0]\n:OUTPUT ACCEPT [0:0]\n{}\nCOMMIT\n".format(
        policy, "\n".join(r if r.startswith("-A") else f"-A INPUT {r}" for r in rules)
    )
    if raw:
        text += (
            "*raw\n:PREROUTING ACCEPT [0:0]\n" + "\n".join(f"-A PREROUTING {r}" for r in raw) + "\nCOMMIT\n"
        )
    return compile_rules(read_rulesets(Source("rules", text)), host)


def drops(c: Compiled, kind: Kind = Kind.IPV4_NO_ENTRY, **fields: int) -> bool:
    packet = {
        "src": 1,
        "dst": 2,
        "proto": 6,
        "sport": 1000,
        "dport": 2000,
        "tcp_flags": SYN,
        "icmp": 0,
        "spi": 0,
    }
    packet |= {"tos": 0, "ttl": 64, "length": 60, "exthdr": 0, "mac_src": 0, "pkttype": 0, **fields}
    decisions = next(d for d in c.plan.lists if d.kind is kind)
    return isinstance(evaluate(decisions, packet).drop, Drop)


def test_the_common_firewall_drops_what_has_no_entry_and_nothing_by_itself():
    c = compiled(*STATEFUL, "-i lo -j ACCEPT", "-p tcp --dport 22 -j ACCEPT", "-j DROP")
    assert drops(c, dport=23) and drops(c, proto=17)
    assert not drops(c, dport=22)
    assert not drops(c, Kind.IPV4, dport=23) and not drops(c, Kind.IPV4, proto=1)
    assert not drops(c, Kind.IPV4_FRAGMENT)


@pytest.mark.parametrize("host", ASSUMPTIONS.values(), ids=ASSUMPTIONS)
def test_it_is_offloaded_whole_on_every_host(host: HostFacts):
    host = dataclasses.replace(host, interface=dataclasses.replace(host.interface, name="eth0"))
    c = compiled(*STATEFUL, "-i lo -j ACCEPT", "-p tcp --dport 22 -j ACCEPT", host=host, policy="DROP")
    assert [e.fate for e in c.report.dropping] == [Fate.OFFLOADED]
    assert "that conntrack does not know" in c.report.dropping[0].why


def test_a_gate_on_a_condition_gates_only_its_own_packets():
    c = compiled("-p tcp --dport 22 -m state --state ESTABLISHED -j ACCEPT", "-p tcp -j DROP")
    assert drops(c, dport=22) and not drops(c, Kind.IPV4, dport=22)
    assert drops(c, Kind.IPV4, dport=23)


def test_new_invalid_and_both():
    new = compiled("-m state --state NEW -j ACCEPT", policy="DROP")
    assert not drops(new, tcp_flags=SYN) and not drops(new, proto=17) and not drops(new, tcp_flags=ACK)
    assert all(drops(new, tcp_flags=f) for f in (RST, FIN_ACK, XMAS, NONE, SYN | ACK))
    invalid = compiled("-m conntrack --ctstate INVALID -j DROP")
    assert (
        drops(invalid, tcp_flags=RST) and not drops(invalid, tcp_flags=SYN) and not drops(invalid, proto=17)
    )
    both = compiled("-m conntrack --ctstate NEW,INVALID -j DROP")
    assert drops(both, tcp_flags=SYN) and drops(both, proto=17) and drops(both, tcp_flags=RST)
    negated = compiled("-m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP")
    assert drops(negated, tcp_flags=SYN)


def test_new_and_invalid_are_the_same_packet_in_every_rule():
    c = compiled("-m state --state INVALID -j DROP", "-p tcp ! --syn -m state --state NEW -j DROP")
    assert drops(c, tcp_flags=ACK)  # the one or the other
    assert not drops(c, tcp_flags=SYN)
    c = compiled("-m state --state INVALID -j ACCEPT", "-p tcp ! --syn -m state --state NEW -j DROP")
    assert not drops(c, tcp_flags=ACK)


def test_strict_tracking_starts_no_connection_by_an_ack():
    strict = dataclasses.replace(HOST, tcp_loose=False)
    assert drops(compiled("-m state --state NEW -j ACCEPT", policy="DROP", host=strict), tcp_flags=ACK)


def test_related_dnat_and_established_are_no_and_other_options_maybe():
    c = compiled("-m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT", "-j DROP")
    assert drops(c)
    c = compiled("-m conntrack --ctdir ORIGINAL -j ACCEPT", "-j DROP")
    assert not drops(c)


def test_what_no_connection_carries_may_vary_in_it():
    rules = (*STATEFUL, "-p tcp -m ttl --ttl-lt 5 -j DROP")
    c = compiled(*rules, "-A OUTPUT -m state --state ESTABLISHED -j ACCEPT")
    assert drops(c, ttl=4) and not drops(c, Kind.IPV4, ttl=4)


def test_notrack_is_a_state_of_its_own():
    notrack = ("-p udp --dport 53 -j CT --notrack",)
    c = compiled("-m conntrack --ctstate UNTRACKED -j ACCEPT", "-j DROP", raw=notrack)
    assert not drops(c, proto=17, dport=53) and drops(c, proto=17, dport=54)
    c = compiled("-m conntrack --ctstate NEW,INVALID -j DROP", raw=("-p udp --dport 53 -j NOTRACK",))
    assert not drops(c, proto=17, dport=53) and drops(c, proto=17, dport=54)


def test_in_raw_every_packet_is_invalid():
    c = compiled(*STATEFUL, "-j DROP", raw=("-s 0.0.0.9 -m conntrack --ctstate INVALID -j DROP",))
    assert drops(c, Kind.IPV4, src=9) and not drops(c, Kind.IPV4, src=8)
    c = compiled(*STATEFUL, "-j DROP", raw=("-m state --state NEW -j ACCEPT", "-s 0.0.0.9 -j DROP"))
    assert drops(c, Kind.IPV4, src=9)


def test_some_icmp_has_one_state_whatever_conntrack_holds():
    c = compiled("-m state --state INVALID -j DROP", "-p icmp -m state --state NEW -j DROP")
    assert drops(c, Kind.IPV4, proto=1, icmp=40 << 8) and not drops(c, Kind.IPV4, proto=1, icmp=8 << 8)
    for states, expected in (("INVALID,UNTRACKED", True), ("NEW,UNTRACKED", False), ("INVALID", False)):
        # A bad checksum makes neighbour discovery INVALID.
        rule = f"-A INPUT -p ipv6-icmp -m state --state {states} -j DROP"
        text = f"*filter\n:INPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n"
        c = compile_rules(read_rulesets(Source("rules6", text)), HOST)
        assert drops(c, Kind.IPV6, proto=58, icmp=135 << 8) == expected
        assert not drops(c, Kind.IPV6, proto=58, icmp=128 << 8)


NATIVE_NAT = NativeTable("ip", "mynat", ("prerouting",), has_nat=True, uses_conntrack=True, harmless=True)
REASONS = {
    "a zone": ({"raw": ("-p tcp -j CT --zone 5",)}, "-j CT"),
    "a helper": ({"raw": ("-p tcp --dport 21 -j CT --helper ftp",)}, "helper"),
    "native nat": ({"host": dataclasses.replace(HOST, native_tables=(NATIVE_NAT,))}, "NAT is in use"),
    "no look-up": (
        {"host": dataclasses.replace(HOST, no_conntrack_lookup="an old kernel")},
        "connection state",
    ),
    "a log of invalid packets": ({"host": dataclasses.replace(HOST, conntrack_log_invalid=True)}, "log"),
    "a live expectation": ({"host": dataclasses.replace(HOST, helpers=("conntrack expects",))}, "helper"),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_stands_in_the_way_is_said(name: str):
    more, reason = REASONS[name]
    c = compiled(*STATEFUL, "-p tcp -j DROP", **more)
    assert not drops(c)
    entry = c.report.dropping[-1]
    assert entry.fate is Fate.LEFT and reason in entry.why


def test_an_old_kernel_is_a_finding():
    c = compiled(*STATEFUL, "-j DROP", host=dataclasses.replace(HOST, no_conntrack_lookup="no BTF"))
    assert any(f.id == "no-conntrack-lookup" and "no BTF" in f.text for f in c.report.kept)


def test_without_a_rule_that_tracks_nothing_is_asked():
    c = compiled("-p tcp -m ttl --ttl-lt 5 -j DROP")
    assert "xt_ct_lookup" not in c.c_text and drops(c, Kind.IPV4, ttl=4)


@pytest.mark.parametrize(
    ("target", "reads"),
    [("CONNMARK --restore-mark", True), ("CONNMARK --set-xmark 0x1/0xffffffff", False), ("ACCEPT", False)],
)
def test_a_mark_that_comes_from_the_connection_is_read_on_the_way_out(target: str, reads: bool):
    """What netfilter drops still keeps the entry alive, and with it the mark that OUTPUT goes by."""
    text = (
        f"*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j {target}\nCOMMIT\n"
        "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT DROP [0:0]\n-A INPUT -p tcp --dport 23 -j DROP\n"
        "-A INPUT -m conntrack --ctstate INVALID\n-A OUTPUT -m mark --mark 1 -j ACCEPT\nCOMMIT\n"
    )
    c = compile_rules(read_rulesets(Source("rules", text)), HOST)
    assert drops(c, dport=23)
    assert drops(c, Kind.IPV4, dport=23) is not reads


def test_the_same_rule_in_both_families_is_counted_twice():
    text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 23 -j DROP\nCOMMIT\n"
    both = tuple(r for family in Family for r in read_rulesets(Source(family.value, text), family))
    assert len(compile_rules(both, HOST).plan.slots) == 4


def test_the_report_tells_of_packets_that_no_look_up_finds_too():
    c = compiled(
        "-m conntrack --ctstate INVALID -j DROP", "-p icmp -j DROP", "-A OUTPUT -m state --state NEW"
    )
    entry = c.report.dropping[1]
    assert entry.fate is Fate.LEFT and "outbound chain reads" in entry.why
    c = compiled("-p tcp -m connlimit --connlimit-above 9 -j ACCEPT", "-p tcp -j DROP", policy="DROP")
    assert c.report.dropping[0].why.startswith("line 4 may decide its packets first")


def test_a_rule_behind_one_that_takes_all_its_packets_is_unreachable_not_too_large():
    c = compiled("-p tcp -m tcp --tcp-flags SYN SYN -j DROP", "-p tcp --tcp-flags SYN,RST SYN,RST -j DROP")
    assert [e.fate for e in c.report.entries] == [Fate.OFFLOADED, Fate.UNREACHABLE]
