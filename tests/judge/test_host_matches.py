"""Matches whose answer is the host's, on real packets: addrtype, mark, physdev."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest

from judge.matching import matching, wrong_answers
from judge.place import PLACE, Frame
from xdptables.fields import Family
from xdptables.host.facts import HostFacts
from xdptables.host.observe import observe
from xdptables.reference.answers import Answer
from xdptables.rules.model import Variant
from xdptables.verify.bench import Bench
from xdptables.verify.build import build

pytestmark = pytest.mark.kernel
YES, NO, MAYBE = Answer

TYPES4 = ("UNICAST", "LOCAL", "BROADCAST", "MULTICAST", "ANYCAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT",
          "THROW", "UNSPEC", "LOCAL,BROADCAST", "LOCAL,UNICAST", "BROADCAST,MULTICAST",
          "UNSPEC,LOCAL")  # fmt: skip
TYPES6 = ("UNICAST", "LOCAL", "MULTICAST", "ANYCAST", "UNREACHABLE", "UNSPEC", "UNICAST,LOCAL",
          "MULTICAST,LOCAL", "UNICAST,MULTICAST", "LOCAL,ANYCAST", "UNSPEC,LOCAL")  # fmt: skip
#: Besides the bench's own. The routes make types that addresses alone would not.
ADDRESSES4 = (
    "0.0.0.0", "0.0.0.1", "0.1.2.3", "10.0.0.1", "127.0.0.1", "127.0.0.2", "127.255.255.255", "128.0.0.1",
    "192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.77", "192.0.2.78", "192.0.2.255", "198.51.100.1",
    "198.51.100.9", "203.0.113.5", "203.0.113.200", "223.255.255.255", "224.0.0.0", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.254", "255.255.255.255", "100.64.0.7", "100.64.1.1",
)  # fmt: skip
ROUTES4 = (
    "addr add 192.0.2.77/32 dev wan0",
    "route add local 198.51.100.0/24 dev lo",
    "route add 198.51.100.9/32 via 192.0.2.2",
    "route add blackhole 192.0.2.78/32 table local",
    "route add local 203.0.113.0/25 dev lo table 77",
    "route add broadcast 100.64.0.7/32 dev wan0 table main",
    "route add unreachable 100.64.1.0/24",
)
ADDRESSES6 = (
    "::", "::1", "::2", "::192.0.2.1", "::ffff:192.0.2.1", "2001:db8::", "2001:db8::1", "2001:db8::2",
    "2001:db8::77", "2001:db8:1::5", "2001:db8:2::5", "2001:db8:3::5", "2001:db8:3:1::1", "fc00::1",
    "fe80::1", "fe80::99", "fec0::1", "ff02::1", "ff0e::1", "ff00::", "fe00::1", "4000::1", "e000::1",
)  # fmt: skip
ROUTES6 = (
    "addr add fe80::99/64 dev wan0 nodad",
    "route add anycast 2001:db8::77 dev wan0",
    "route add local 2001:db8:1::/64 dev lo",
    "route add local 2001:db8:2::/64 dev lo table 77",
    "route add unreachable 2001:db8:3::/64 dev lo",
    "route add unreachable 2001:db8:3:1::1 dev lo table local",
)


def _with_addresses(family: Family, addresses: tuple[str, ...]) -> list[Frame]:
    numbers = [int(ipaddress.ip_address(a)) for a in addresses]
    pairs = [(a, "src", n) for a, n in zip(addresses, numbers, strict=True)]
    pairs += [(a, "dst", n) for a, n in zip(addresses, numbers, strict=True)]
    sent = [Frame(f"{field} {a}", build(family, {"proto": 17, field: n})) for a, field, n in pairs]
    return sent


def _parts(types: tuple[str, ...]) -> list[str]:
    return [
        f"-m addrtype {no}--{end}-type {kinds}"
        for kinds in types
        for end in ("src", "dst")
        for no in ("", "! ")
    ]


def _route(bench: Bench, family: Family, lines: tuple[str, ...]) -> None:
    word = "-4" if family is Family.IPV4 else "-6"
    bench.pair.run(bench.pair.server, ["ip", word, "-batch", "-"], input="\n".join(lines) + "\n")


def _observed(bench: Bench) -> HostFacts:
    with bench.pair.enter(bench.pair.server):
        return observe("wan0")


@pytest.mark.parametrize("odd_routes", [False, True], ids=["plain", "odd routes"])
@pytest.mark.parametrize(
    ("family", "types", "addresses", "routes", "variant"),
    [
        (Family.IPV4, TYPES4, ADDRESSES4, ROUTES4, Variant.LEGACY),
        (Family.IPV6, TYPES6, ADDRESSES6, ROUTES6, Variant.NFT),
    ],
    ids=["ipv4", "ipv6"],
)
def test_the_type_of_an_address(
    family: Family, types: tuple[str, ...], addresses: tuple[str, ...], routes: tuple[str, ...],
    variant: Variant, odd_routes: bool,
) -> None:  # fmt: skip
    sent = _with_addresses(family, addresses)
    with Bench() as bench:
        if odd_routes:
            _route(bench, family, routes)
        found = matching(bench, _parts(types), variant, family, sent)
        host = _observed(bench)
    blunt = []
    for rule, matched in found:
        wrong, given = wrong_answers(rule, matched, sent, host)
        assert not wrong, "\n".join(wrong[:10])
        if given == {MAYBE}:
            blunt.append(rule.text)
        # Without knowing the host only the fixed classes are certain.
        wrong, _ = wrong_answers(rule, matched, sent, HostFacts())
        assert not wrong, "\n".join(wrong[:10])
    # IPv6 anycast and unreachable are routes of any table.
    assert [text for text in blunt if "ANYCAST" not in text and "UNREACHABLE" not in text] == []
    if not odd_routes and family is Family.IPV4:
        assert all(
            {YES, NO} <= wrong_answers(rule, matched, sent, host)[1]
            for rule, matched in found
            if any(f"-type {t} " in rule.text for t in ("LOCAL", "UNICAST", "BROADCAST", "MULTICAST"))
        )


def test_the_local_table_asked_later() -> None:
    """IPv6 addrtype is a routing decision: a rule that comes before the local table can change it."""
    sent = _with_addresses(Family.IPV6, ADDRESSES6)
    lines = ("rule add pref 9 lookup local", "rule del pref 0", "rule add pref 1 lookup 77",
             "route add unreachable 2001:db8::1 dev lo table 77")  # fmt: skip
    with Bench() as bench:
        _route(bench, Family.IPV6, lines)
        found = matching(bench, _parts(("LOCAL",)), Variant.LEGACY, Family.IPV6, sent)
        host = _observed(bench)
    assert not host.local_first6
    for rule, matched in found:
        wrong, _ = wrong_answers(rule, matched, sent, host)
        assert not wrong, "\n".join(wrong[:10])


OTHERS = {
    Family.IPV4: "addr add 198.51.100.77/24 brd + dev other0",
    Family.IPV6: "addr add 2001:db8:4::77/64 dev other0 nodad",
}


@pytest.mark.parametrize("variant", [Variant.LEGACY, Variant.NFT])
@pytest.mark.parametrize("family", Family)
def test_limited_to_an_interface(family: Family, variant: Variant) -> None:
    """What is local, or a broadcast, by another interface only is unicast then."""
    four = family is Family.IPV4
    addresses = (*ADDRESSES4, "198.51.100.77", "198.51.100.255") if four else (*ADDRESSES6, "2001:db8:4::77")
    types = ("LOCAL", "UNICAST", "MULTICAST", *(("BROADCAST", "LOCAL,BROADCAST") if four else ()))
    sent = _with_addresses(family, addresses)
    with Bench() as bench:
        _route(bench, family, ("link add other0 type veth peer other1", "link set other0 up", OTHERS[family]))
        parts = _parts(types)
        found = matching(bench, [f"{p} --limit-iface-in" for p in parts], variant, family, sent)
        host = _observed(bench)
    assert any("198.51.100.77" in a or "2001:db8:4::77" in a for a in (*host.local4, *host.local6))
    for rule, matched in found:
        wrong, _ = wrong_answers(rule, matched, sent, host)
        assert not wrong, "\n".join(wrong[:10])


MARKS = ("--mark 0", "! --mark 0", "--mark 1", "! --mark 0x1", "--mark 0x0/0xff", "--mark 0x4/0x4")


def test_a_packet_comes_without_a_mark_and_from_no_bridge() -> None:
    parts = [f"-m mark {m}" for m in MARKS]
    parts += ["-m physdev --physdev-in wan0", "-m physdev ! --physdev-in wan0", "-m physdev --physdev-is-in",
              "-m physdev ! --physdev-is-in ! --physdev-is-bridged",
              "-m physdev ! --physdev-is-in --physdev-is-bridged"]  # fmt: skip
    sent = _with_addresses(Family.IPV4, (PLACE.peer4,))
    with Bench() as bench:
        found = matching(bench, parts, Variant.LEGACY, Family.IPV4, sent)
        host = _observed(bench)
    as_nic = dataclasses.replace(
        host, interface=dataclasses.replace(host.interface, kind=""), native_tables=()
    )
    for rule, matched in found:
        wrong, given = wrong_answers(rule, matched, sent, as_nic)
        assert not wrong, "\n".join(wrong[:10])
        assert len(given) == 1 and MAYBE not in given
        on_veth = wrong_answers(rule, matched, sent, host)[1]
        assert ("mark" in rule.text) == (on_veth == {MAYBE})
