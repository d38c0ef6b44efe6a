# ruff: noqa: E501
"""What random testing has found, as it printed it: rules and traffic on which all judges must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from fuzz.case import Case
from fuzz.rulesets import Dump
from fuzz.run import own_state
from fuzz.traffic import Event
from fuzz.trial import Arena, again, arenas
from xdptables.fields import Family
from xdptables.rules.model import Variant
from xdptables.verify.model import Frame

pytestmark = pytest.mark.kernel


@dataclass(frozen=True)
class Regression:
    name: str
    variant: Variant
    rules: tuple[Dump, ...]
    traffic: tuple[str, ...]
    forward: bool = False
    strict: bool = False
    engine: str = "auto"
    real: bool = True

    @property
    def case(self) -> Case:
        events = tuple(
            Event(Frame(f"event {n}", bytes.fromhex(words[1])), words[0] == "out")
            for n, words in enumerate(line.split() for line in self.traffic)
        )
        return Case(self.rules, events, self.forward, self.strict, self.engine, self.real)


# fmt: off
REGRESSIONS = (
    # The compiler dropped by what is not constant in a flow, where OUTPUT goes by the connection's mark.
    Regression("restored mark", Variant.NFT, real=False, rules=(
        Dump(Family.IPV4, """
*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -m ttl --ttl-lt 64 -j DROP
-A OUTPUT -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a08004500003400010000400135c5c0000202c00002010800f7ff00000000000000000000000000000000000000000000000000000000",
        "in 02000000000b02000000000a080045000034000100003f0136c5c0000202c00002010800f7ff00000000000000000000000000000000000000000000000000000000",
    )),
    # Quoted in an answer of the host, the peer's own packet has another ID each time.
    Regression("seed 1005", Variant.NFT, real=True, rules=(
        Dump(Family.IPV4, """
*filter
:INPUT ACCEPT [0:0]
-A INPUT -j REJECT --reject-with icmp-proto-unreachable
COMMIT
"""),
    ), traffic=(
        "out 02000000000b02000000000a08004500003400010000010135c5c0000201c00002020800f7ff00000000000000000000000000000000000000000000000000000000",
    )),
    # The interpreter took the rest of a flow to be fragments, which connection tracking has joined.
    Regression("seed 2011", Variant.LEGACY, real=False, rules=(
        Dump(Family.IPV6, """
*mangle
:INPUT ACCEPT [0:0]
:c0 - [0:0]
-A INPUT -m frag --fragid 0:100 -g c0
-A INPUT -j DROP
-A INPUT -j CONNMARK --save-mark
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a86dd60000000001406400000000000000000000000000000000020010db80000000000000000000000019c400016000000000000000050022000c5d20000",
    )),
    # Whatever headers a flow's other packets have, its protocol is ICMPv6, so they are not ESP's alone.
    Regression("seed 10113", Variant.NFT, real=False, rules=(
        Dump(Family.IPV6, """
*filter
:INPUT ACCEPT [0:0]
:c0 - [0:0]
-A INPUT -m conntrack --ctstate INVALID
-A INPUT -j c0
-A INPUT -j DROP
-A c0 -m ipv6header --header esp -j ACCEPT
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a86dd6000000000208940fe80000000000000000000000000000020010db80000000000000000000000019c40004f04000000010000000000000000000000000000000000000000000000",
    )),
    # A set of ports holds no fragment of a protocol without ports; nor one of UDP where it has none of UDP.
    Regression("seed 40124", Variant.NFT, real=False, rules=(
        Dump(Family.IPV4, """
*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -m set --match-set bp dst -j SET --add-set x4 src
-A PREROUTING -j DROP
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a080045000034000120004033d692c0000202c00002013b01000000000100000000000000000000000000000000000000000000000000",
    )),
    Regression("seed 40185", Variant.NFT, rules=(
        Dump(Family.IPV4, """
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -m set ! --match-set pn4 dst,dst,src -j DROP
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a080045000024000120004011d6c4c0000202c00002019c40c35000101c390000000000000000",
    )),
    # State that ip6tables reads in PREROUTING is not that of an IPv4 flow.
    Regression("seed 40280", Variant.NFT, real=False, rules=(
        Dump(Family.IPV4, """
*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j DROP
COMMIT
"""),
        Dump(Family.IPV6, """
*mangle
:PREROUTING ACCEPT [0:0]
:c0 - [0:0]
-A PREROUTING -j c0
-A c0 -m conntrack --ctstate DNAT -m comment --comment counts
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a080045000024000100004088f64dc0000202c00002010035c3500010b7cd0000000000000000",
    )),
    # An untracked packet has no connection that a mark could be written to.
    Regression("seed 70111", Variant.LEGACY, engine="linear", real=False, rules=(
        Dump(Family.IPV6, """
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j CT --notrack
COMMIT
*mangle
:INPUT DROP [0:0]
-A INPUT -j CONNMARK --save-mark
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a86dd60000000002c004020010db800000000000000000000000220010db80000000000000000000000013c000104000000002b000104000000000600040000000000040001bc0000000000000000500220002eb20000",
    )),
    # With --return-nomatch the nomatch entries match, and only they.
    Regression("seed 900458", Variant.LEGACY, engine="tables", real=True, rules=(
        Dump(Family.IPV4, """
*filter
:INPUT DROP [0:0]
-A INPUT -m set --match-set n4 src --return-nomatch -j ACCEPT
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a080045000024000100004011b6bdc0000209c00002010036003500103d620000000000000000",
        "in 02000000000b02000000000a080045000024000100004011b8c700000000c00002010036003500103d620000000000000000",
    )),
    # A joined datagram has the header that ICMP of any type wants, though no fragment shows the type.
    Regression("seed 910340", Variant.NFT, engine="tables", real=False, rules=(
        Dump(Family.IPV4, """
*security
:INPUT ACCEPT [0:0]
:c2 - [0:0]
-A INPUT -p icmp -m icmp --icmp-type any -j c2
-A c2 -j DROP
COMMIT
"""),
    ), traffic=(
        "in 02000000000b020000000077080045000034000100034001d8c2c0000202e00000000800f7ff00000000000000000000000000000000000000000000000000000000",
    )),
    Regression("seed 910974", Variant.LEGACY, real=True, rules=(
        Dump(Family.IPV4, """
*filter
:INPUT ACCEPT [0:0]
-A INPUT -p icmp -m icmp --icmp-type any -j DROP
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a080045000034000120004001d6c4c0000202c00002010800f7ff00000000000000000000000000000000000000000000000000000000",
    )),
    # A later fragment shows no UDP header, so that legacy iptables lets it by.
    Regression("a match that wants a header", Variant.LEGACY, engine="tables", real=True, forward=True, rules=(
        Dump(Family.IPV4, """
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp -m udp -j DROP
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a08004500002c000920034011d6b1c0000202c0000201666666666666666666666666666666666666666666666666",
        "in 02000000000b02000000000a08004500002c000900064011f6aec0000202c0000201666666666666666666666666666666666666666666666666",
    )),
    # The datagram of a fragment has the interface of another one of its fragments, perhaps.
    Regression("seed 1001040", Variant.NFT, forward=True, engine="tables", real=True, rules=(
        Dump(Family.IPV4, """
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -m set ! --match-set ni4 dst,src -j DROP
COMMIT
"""),
    ), traffic=(
        "in 02000000000b02000000000a08004500002c00010003400621c3010000000aff4d079c40c350000000000000000050022000d74b000000000000",
    )),
)
# fmt: on


@pytest.fixture(scope="module")
def arena_of() -> Iterator[Callable[..., Arena]]:
    with own_state(), arenas() as of:
        yield of


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda r: r.name)
def test_all_judges_agree(arena_of: Callable[..., Arena], regression: Regression) -> None:
    result = again(arena_of(regression.variant, regression.rules), regression.case)
    assert result.counts.rulesets == 1
    assert result.wrong == []
