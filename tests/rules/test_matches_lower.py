"""Matches lower to what they mean, and to maybe where the view cannot tell."""

from dataclasses import replace

import pytest

from xdptables.fields import Family
from xdptables.host.facts import PLAIN_HOST, NativeTable
from xdptables.host.ipsets import IpSet
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import NO, YES
from xdptables.matches.table import MATCHES, TARGETS
from xdptables.matches.view import Kind, View
from xdptables.rules.model import Match, Option, Word

V4 = View(Kind.IPV4, gro=False)


def lowered(name, view, *options):
    spec = MATCHES[name]
    by_name = {n: o for o in spec.options for n in o.names}
    made = []
    for option, negated, *words in options:
        parse = by_name[option].parse
        value = parse(tuple(words), Family.IPV4) if parse else None
        made.append(Option(by_name[option].names[0], negated, value))
    return spec.lower(Match(name, tuple(made)), view)


def test_tcp_syn_to_a_port():
    got = lowered("tcp", V4, ("--dport", False, "22"), ("--syn", False))
    assert got.is_certain
    (cube,) = got.yes
    assert cube.get("dport") == IntervalSet.of(22)
    assert 0x02 in cube.get("tcp_flags") and 0x12 not in cube.get("tcp_flags")


def _device(**facts):
    return replace(PLAIN_HOST, interface=replace(PLAIN_HOST.interface, **facts))


@pytest.mark.parametrize(
    "host",
    [
        replace(PLAIN_HOST, ipsec=True),
        replace(PLAIN_HOST, bpf_netfilter=("id 1",)),
        replace(PLAIN_HOST, native_tables=(NativeTable("inet", "t"),)),
        _device(tc_ingress=("filter",)),
        _device(uppers=("bridge:br0",)),
        _device(kind="vlan"),
    ],
)
def test_a_mark_is_nought_only_where_nothing_can_have_set_one(host):
    assert lowered("mark", V4, ("--mark", False, "0")) == YES
    assert lowered("mark", V4, ("--mark", False, "4/4")) == NO
    assert lowered("mark", V4, ("--mark", True, "0x4")) == YES
    for view in (replace(V4, host=host), V4.without(frozenset({"mark"}))):
        got = lowered("mark", view, ("--mark", False, "0"))
        assert not got.yes and got.may


def test_what_ipsec_decrypted_may_come_by_here():
    bare = Match(
        "policy",
        tuple(Option(n, words=(Word(w, None),)) for n, w in (("--dir", "in"), ("--pol", "ipsec"))),
    )
    assert MATCHES["policy"].lower(bare, V4) == NO
    assert MATCHES["policy"].lower(bare, replace(V4, host=replace(PLAIN_HOST, ipsec=True))).may


def test_ports_of_a_fragment_are_maybe():
    got = lowered("tcp", View(Kind.IPV4_FRAGMENT, gro=False), ("--dport", False, "22"))
    assert not got.yes and got.may


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tcp", ()),
        ("udp", ()),
        ("udp", (("--dport", False, "0:65535"),)),
        ("sctp", ()),
        ("esp", ()),
        ("ah", (("--ahspi", False, "0:4294967295"),)),
        ("icmp", (("--icmp-type", False, "any"),)),
        ("multiport", (("--dports", False, "0:65535"),)),
    ],
)
def test_a_later_fragment_has_no_header_whatever_is_asked_of_it(name, options):
    fragment = View(Kind.IPV4_FRAGMENT, hook="PREROUTING")
    got = lowered(name, fragment, *options)
    assert not got.yes and got.may
    assert lowered(name, replace(fragment, hook="INPUT"), *options).yes, "INPUT sees the whole"
    assert lowered(name, V4, *options).yes


@pytest.mark.parametrize("soft", [False, True])
def test_one_extension_header_by_two_names(soft):
    def of(names):
        options = [Option("--header", words=(Word(names, None),)), *([Option("--soft")] if soft else [])]
        return MATCHES["ipv6header"].lower(Match("ipv6header", tuple(options)), View(Kind.IPV6))

    assert of("hop,hop-by-hop,0,prot") == of("hop-by-hop,protocol")
    assert of("hop,prot").yes


def test_flags_are_maybe_where_connections_are_tracked():
    got = lowered("tcp", View(Kind.IPV4, flow_only=True), ("--syn", False))
    assert not got.yes and got.may and "tracked" in got.why[0]


def test_ports_of_a_set_are_maybe_where_connections_are_tracked_without_them():
    """Another packet of the same connection may have the other port."""
    ports = IpSet("s", "hash:ip,port", entries=("192.0.2.1,sctp:80", "192.0.2.1,udp:53"))
    host = replace(PLAIN_HOST, ipsets=(ports,))
    words = (Word("s", None), Word("dst,dst", None))
    match = Match("set", (Option("--match-set", words=words),))
    alone = MATCHES["set"].lower(match, View(Kind.IPV4, host=host))
    tracked = MATCHES["set"].lower(match, View(Kind.IPV4, host=host, flow_only=True))
    by_protocol = {c.get("proto").pairs[0][0]: c.get("dport") for c in tracked.may}
    assert by_protocol == {132: None, 17: IntervalSet.of(53)}
    assert {c.get("proto").pairs[0][0] for c in tracked.yes} == {17}
    assert len(alone.yes) == 2 and all(c.get("dport") for c in alone.may)


def test_gro_hides_fin_of_data_segments_only():
    got = lowered("tcp", View(Kind.IPV4, gro=True), ("--tcp-flags", False, "FIN", "FIN"))
    flags = got.yes[0].get("tcp_flags")
    assert 0x11 in flags and 0x111 not in flags
    assert 0x110 in got.may[0].get("tcp_flags")


def test_multiport_either_end_and_its_negation():
    either = lowered("multiport", V4, ("--ports", False, "80,443"))
    neither = lowered("multiport", V4, ("--ports", True, "80,443"))
    assert len(either.yes) == 2 and len(neither.yes) == 1


def test_an_unknown_interface_is_maybe_and_a_known_one_is_not():
    option = ("-i", False, "eth+")
    assert not lowered("ip", V4, option).is_certain
    assert lowered("ip", View(Kind.IPV4, interface="eth0"), option).yes
    assert not lowered("ip", View(Kind.IPV4, interface="wlan0"), option).may


def test_every_plain_field_of_the_table_exists():
    from xdptables.fields import FIELDS

    assert all(o.field is None or o.field in FIELDS for m in MATCHES.values() for o in m.options)
    assert {"ACCEPT", "DROP", "RETURN", "REJECT", "LOG"} <= set(TARGETS)
