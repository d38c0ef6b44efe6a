"""`-m set` against real sets in a kernel: every type that is read, in both directions, negated, on packets
around every entry."""

from __future__ import annotations

import dataclasses
import ipaddress
import random

import pytest

from judge.matching import matching, wrong_answers
from judge.place import Frame
from xdptables.fields import Family
from xdptables.host.facts import HostFacts
from xdptables.host.ipsets import read_ipsets
from xdptables.host.live_sets import digest, live_sets
from xdptables.matches.ipset import contents
from xdptables.reference.answers import Answer
from xdptables.rules.model import Variant
from xdptables.source import Source
from xdptables.verify.bench import Bench
from xdptables.verify.build import build

pytestmark = pytest.mark.kernel
YES, NO, MAYBE = Answer
FOUR, SIX = Family.IPV4, Family.IPV6

SETS4 = """\
create ip hash:ip
add ip 192.0.2.2
add ip 10.0.0.1
create masked hash:ip netmask 24
add masked 10.0.0.1
create net hash:net
add net 10.0.0.0/8
add net 10.0.0.0/24 nomatch
add net 10.0.0.1
add net 192.0.2.2
add net 128.0.0.0/1
add net 203.0.113.0/24 nomatch
create ipport hash:ip,port
add ipport 192.0.2.2,tcp:22
add ipport 192.0.2.2,tcp:80-90
add ipport 192.0.2.2,udp:53
add ipport 10.0.0.1,icmp:8/0
add ipport 10.0.0.1,icmp:77/3
add ipport 10.0.0.1,sctp:5
add ipport 10.0.0.1,udplite:22
add ipport 10.0.0.1,47:0
add ipport 10.0.0.1,33:0
add ipport 10.0.0.1,253:0
create netport hash:net,port
add netport 10.0.0.0/8,tcp:22
add netport 10.0.0.0/24,tcp:22 nomatch
add netport 10.0.0.1,udp:22
add netport 192.0.2.0/24,udp:53
create ipportip hash:ip,port,ip
add ipportip 192.0.2.2,tcp:22,192.0.2.1
add ipportip 10.0.0.1,udp:53,192.0.2.1
create ipportnet hash:ip,port,net
add ipportnet 192.0.2.2,tcp:22,192.0.2.0/24
add ipportnet 192.0.2.2,tcp:22,192.0.2.0/30 nomatch
add ipportnet 10.0.0.1,udp:53,128.0.0.0/1
create netiface hash:net,iface
add netiface 10.0.0.0/8,wan0
add netiface 192.0.2.2,wan wildcard
add netiface 203.0.113.0/24,eth0
create anyiface hash:net,iface
add anyiface 0.0.0.0/0,wan0
create bip bitmap:ip range 10.0.0.0/24
add bip 10.0.0.1
add bip 10.0.0.128/25
create bipnet bitmap:ip range 10.0.0.0/16 netmask 24
add bipnet 10.0.0.1
create bport bitmap:port range 0-1024
add bport 22
add bport 53
create list list:set
add list net
add list bport
add list six
create empty hash:net
create timed hash:ip timeout 300
add timed 192.0.2.2
add timed 10.0.0.1 timeout 0
create timednet hash:net timeout 300
add timednet 10.0.0.0/8 timeout 0
add timednet 10.0.0.0/24 nomatch
create counted hash:net counters comment skbinfo
add counted 10.0.0.0/8 comment "two words, nomatch"
create timedlist list:set timeout 300
add timedlist ip
add timedlist net timeout 0
"""
SETS6 = """\
create ip hash:ip family inet6
add ip 2001:db8::2
create masked hash:ip family inet6 netmask 64
add masked 2001:db8:1::9
create net hash:net family inet6
add net 2001:db8::/32
add net 2001:db8:1::/48 nomatch
add net 2001:db8:1::9
create ipport hash:ip,port family inet6
add ipport 2001:db8::2,tcp:22
add ipport 2001:db8::2,ipv6-icmp:128/0
add ipport 2001:db8::2,ipv6-icmp:ttl-zero-during-transit
add ipport 2001:db8::2,253:0
add ipport 2001:db8::2,59:0
create netport hash:net,port family inet6
add netport 2001:db8::/32,udp:53
add netport 2001:db8:1::/48,udp:53 nomatch
create netiface hash:net,iface family inet6
add netiface 2001:db8::/33,wan0
create bport bitmap:port range 0-1024
add bport 22
create list list:set
add list ip
add list bport
add list inet
"""
FOUR_IN_SIX = "create inet hash:net\nadd inet 10.0.0.0/8\n"
SIX_IN_FOUR = "create six hash:net family inet6\nadd six 2001:db8::/32\n"

ADDRESSES = {
    FOUR: ("192.0.2.2", "192.0.2.1", "10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.255",
           "10.0.1.0", "9.255.255.255",
           "11.0.0.0", "127.255.255.254", "128.0.0.1", "203.0.113.1", "203.0.114.0", "0.0.0.0"),
    SIX: ("2001:db8::2", "2001:db8::1", "2001:db8:1::9", "2001:db8:1::8", "2001:db8:2::1", "2001:db8:8000::1",
          "2001:db7:ffff::1", "2001:db9::", "fe80::1"),
}  # fmt: skip
PORTS = (21, 22, 23, 53, 80, 85, 90, 91, 5, 0, 1024, 1025)
PROTOCOLS = {FOUR: (6, 17, 132, 136, 33, 47, 253), SIX: (6, 17, 136, 59, 253)}
ICMP = {FOUR: (0x0800, 0x0801, 0x4D03, 0x0303, 0x0000), SIX: (0x8000, 0x8001, 0x0300, 0x8100)}


def parts(names: list[str]) -> list[str]:
    ends = ("src", "dst", "src,src", "src,dst", "dst,dst", "src,src,dst", "src,dst,dst")
    plain = [f"-m set {no}--match-set {name} {end}" for name in names for end in ends for no in ("", "! ")]
    return plain + [f"{part} --return-nomatch" for part in plain if "net " in part]


def packets(family: Family) -> list[Frame]:
    rng = random.Random(7)
    made: list[Frame] = []
    protocol_icmp = 1 if family is FOUR else 58
    for text in ADDRESSES[family]:
        address = int(ipaddress.ip_address(text))
        for end in ("src", "dst"):
            specs = [
                {"proto": p, "sport": rng.choice(PORTS), "dport": rng.choice(PORTS)}
                for p in PROTOCOLS[family]
            ]
            specs += [{"proto": p, "sport": port, "dport": other} for p in (6, 17)
                      for port, other in zip(PORTS, reversed(PORTS), strict=True)]  # fmt: skip
            specs += [{"proto": protocol_icmp, "icmp": value} for value in ICMP[family]]
            specs += [
                {"proto": p, "sport": 22, "dport": 53, "fragment": f} for p in (6, 17, 253) for f in (1, 2)
            ]
            for spec in specs if end == "src" else rng.sample(specs, 8):
                spec[end] = address
                made.append(Frame(f"{end} {text} {spec}", build(family, spec)))
    return made


@pytest.mark.parametrize(
    ("family", "text", "variant"),
    [(FOUR, SIX_IN_FOUR + SETS4, Variant.LEGACY), (SIX, FOUR_IN_SIX + SETS6, Variant.NFT)],
    ids=["ipv4", "ipv6"],
)
def test_what_a_set_matches(family: Family, text: str, variant: Variant) -> None:
    names = [line.split()[1] for line in text.splitlines() if line.startswith("create")]
    other_family = {"six", "inet"}  # iptables refuses them, but as members of a list
    sent = packets(family)
    with Bench() as bench:
        bench.pair.run(bench.pair.server, ["ipset", "restore"], input=text)
        host = bench.facts()
        with bench.pair.enter(bench.pair.server):
            host = dataclasses.replace(host, ipsets=live_sets(names))
        found = matching(bench, parts([n for n in names if n not in other_family]), variant, family, sent)
    given: dict[str, set[Answer]] = {}
    for rule, matched in found:
        wrong, answers = wrong_answers(rule, matched, sent, host)
        assert not wrong, "\n".join(wrong[:10])
        given.setdefault(rule.text.split("--match-set ")[1].split()[0], set()).update(answers)
    assert {n for n, answers in given.items() if not answers >= {YES, NO}} <= {"empty"}
    assert MAYBE in given.get("timed", {MAYBE}) and MAYBE in given.get("timedlist", {MAYBE})
    assert MAYBE in given["ipport"]  # fragments
    assert given["ip"] == {YES, NO}  # addresses are read in fragments too


def test_icmp_names_are_those_that_ipset_prints() -> None:
    lines = ["create four hash:ip,port", "create six hash:ip,port family inet6"]
    lines += [f"add four 192.0.2.1,icmp:{t}/{c}" for t in range(20) for c in range(16)]
    lines += [f"add six 2001:db8::1,icmpv6:{t}/{c}" for t in (*range(6), *range(128, 160)) for c in range(16)]
    given = read_ipsets(Source("given", "\n".join(lines)))
    with Bench() as bench:
        bench.pair.run(bench.pair.server, ["ipset", "restore"], input="\n".join(lines) + "\n")
        with bench.pair.enter(bench.pair.server):
            saved = live_sets(["four", "six"])
    assert saved is not None
    for mine, theirs in zip(given, saved, strict=True):
        assert {e.values for e in contents(mine).elements} == {e.values for e in contents(theirs).elements}
        assert len(contents(theirs).elements) == len(theirs.entries)
        assert any(not e.split(":")[-1].replace("/", "").isdecimal() for e in theirs.entries)


def test_the_digest_changes_with_what_a_set_matches_and_with_nothing_else() -> None:
    def run(*words: str) -> None:
        bench.pair.run(bench.pair.server, ["ipset", *words])

    def now() -> bytes:
        with bench.pair.enter(bench.pair.server):
            return digest({"plain", "timed", "list"})

    with Bench() as bench:
        for line in (
            "plain hash:ip counters",
            "timed hash:ip timeout 500",
            "list list:set",
            "member hash:net",
        ):
            run("create", *line.split())
        run("add", "list", "member")
        run("add", "plain", "192.0.2.9")
        first = now()
        run("add", "timed", "192.0.2.9")  # comes and goes: nothing rests on it
        run("create", "nets", "hash:net", "timeout", "500")
        run("add", "plain", "192.0.2.9", "packets", "7", "bytes", "700", "-exist")
        assert now() == first
        with bench.pair.enter(bench.pair.server):
            before = digest({"nets"})
            run("add", "nets", "10.0.0.0/8")
            assert digest({"nets"}) == before
            run("add", "nets", "10.1.0.0/16", "nomatch")
            assert digest({"nets"}) != before
        seen = {first}
        for line in ("add plain 192.0.2.10", "add timed 192.0.2.10 timeout 0", "add member 10.0.0.0/8",
                     "add member 10.1.0.0/16 nomatch", "del plain 192.0.2.9"):  # fmt: skip
            run(*line.split())
            assert now() not in seen
            seen.add(now())


def test_what_a_comment_says_is_no_option() -> None:
    """An entry whose comment speaks of a timeout went unnoticed when it went."""
    entry = ["bad", "198.51.100.0/24"]
    with Bench() as bench:
        bench.pair.run(bench.pair.server, ["ipset", "create", "bad", "hash:net", "comment"])
        bench.pair.run(
            bench.pair.server, ["ipset", "add", *entry, "comment", "sshd timeout 600 packets 1 bytes 2"]
        )
        with bench.pair.enter(bench.pair.server):
            before = digest({"bad"})
            bench.pair.run(bench.pair.server, ["ipset", "del", *entry])
            assert digest({"bad"}) != before


def test_without_the_sets_nothing_is_certain() -> None:
    sent = packets(FOUR)[:40]
    with Bench() as bench:
        bench.pair.run(bench.pair.server, ["ipset", "restore"], input="create s hash:net\nadd s 10.0.0.0/8\n")
        ((rule, matched),) = matching(bench, ["-m set --match-set s src"], Variant.LEGACY, FOUR, sent)
    assert wrong_answers(rule, matched, sent, HostFacts())[1] == {MAYBE}
