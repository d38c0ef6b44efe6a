"""Native tables: real nft text, read by the real kernel, judged through `observe`."""

from __future__ import annotations

import pytest

from netns import NetnsPair
from xdptables.host import nft_objects, nftables
from xdptables.host.facts import NativeTable
from xdptables.host.finding import Scope
from xdptables.host.findings import findings
from xdptables.host.observe import observe

pytestmark = pytest.mark.kernel


def load(pair: NetnsPair, text: str) -> None:
    pair.run(pair.server, ["nft", "-f", "-"], input=text)


def native(pair: NetnsPair) -> tuple[NativeTable, ...]:
    with pair.enter(pair.server):
        return observe(pair.server.ifname).native_tables


def chain(hook: str, priority: int | str, *rules: str, type: str = "filter", extra: str = "") -> str:
    body = "\n".join(rules)
    return f"""table inet t {{
      set bad {{ type ipv4_addr; counter; elements = {{ 10.9.9.9 }}; }}
      set grows {{ type ipv4_addr; flags dynamic; }}
      chain leaf {{ log; }}
      map jumps {{ type inet_service : verdict; elements = {{ 5 : jump leaf }}; }}
      {extra}
      chain base {{ type {type} hook {hook} priority {priority};
        {body}
      }}
    }}"""


@pytest.mark.parametrize(
    "rule",
    [
        "ip saddr 10.1.0.0/16 counter drop",
        "ip saddr @bad counter drop",
        "tcp dport vmap { 22 : accept, 23 : drop }",
        "ct state established,related accept",
        "fib daddr type local tcp flags & (syn | ack) == syn accept",
        'meta l4proto { tcp, udp } iifname "eth*" accept comment "log"',
        "ip6 saddr fd00::/8 return",
        "tcp option maxseg size 100 drop",
    ],
)
def test_matching_counting_and_verdicts_are_harmless(pair: NetnsPair, rule: str) -> None:
    load(pair, chain("input", 0, rule))
    (table,) = native(pair)
    assert (table.harmless, table.why, table.hooks) == (True, "", ("input",))
    assert table.uses_conntrack == ("ct " in rule)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ('log prefix "x"', "statement log"),
        ("limit rate 1/second accept", "statement limit"),
        ("quota over 5 mbytes drop", "statement quota"),
        ("reject", "statement reject"),
        ("add @grows { ip saddr }", "statement set"),
        ("ct mark set 5", "it changes the packet or its mark"),
        ("meta mark set 5", "it changes the packet or its mark"),
        ("ip dscp set 3", "it changes the packet or its mark"),
        ("meta nftrace set 1", "it changes the packet or its mark"),
        ("ct count over 5 drop", "statement ct count"),
        ("numgen inc mod 2 vmap { 0 : drop }", "expression numgen remembers"),
        ("jump leaf", "statement log"),
        ("tcp dport vmap @jumps", "statement log"),
        ("tcp dport vmap { 6 : goto leaf }", "statement log"),
        ("notrack", "statement notrack"),
    ],
)
def test_anything_else_is_not(pair: NetnsPair, rule: str, why: str) -> None:
    load(pair, chain("prerouting", -400, rule))
    (table,) = native(pair)
    assert (table.harmless, table.reach) == (False, "all")
    assert table.why == f"chain base: {why}"


@pytest.mark.parametrize(
    ("hook", "priority", "reach", "scope"),
    [
        ("prerouting", -300, "all", Scope.NO_DROPS),
        ("prerouting", -299, "conntrack", Scope.NO_DROPS_AFTER_CONNTRACK),
        ("input", 50, "input", Scope.NO_INPUT_DROPS),
        ("input", 51, "", None),
        ("forward", 0, "", None),
        ("output", 0, "", None),
    ],
)
def test_what_comes_after_it(
    pair: NetnsPair, hook: str, priority: int, reach: str, scope: Scope | None
) -> None:
    load(pair, chain(hook, priority, "log"))
    with pair.enter(pair.server):
        host = observe(pair.server.ifname)
    (table,) = host.native_tables
    assert (table.reach, table.harmless) == (reach, not reach)
    assert [f.scope for f in findings(host) if f.id == "nft:inet/t"] == ([scope] if scope else [])


def test_nat_on_the_way_out_is_nat_but_harmless(pair: NetnsPair) -> None:
    load(pair, chain("postrouting", 100, "masquerade", type="nat"))
    (table,) = native(pair)
    assert table.harmless and table.has_nat and table.uses_conntrack


def test_a_redirect_is_not_harmless(pair: NetnsPair) -> None:
    load(pair, chain("prerouting", -100, "tcp dport 80 redirect to :8080", type="nat"))
    (table,) = native(pair)
    assert (table.reach, table.has_nat) == ("conntrack", True)


def test_state_read_on_the_way_out(pair: NetnsPair) -> None:
    load(pair, chain("output", 0, "ct state new drop"))
    (table,) = native(pair)
    assert table.reads_state_outbound and table.harmless


def test_state_read_on_the_way_in(pair: NetnsPair) -> None:
    load(pair, chain("prerouting", -150, "ct state invalid drop"))
    (table,) = native(pair)
    assert table.reads_state_prerouting and table.harmless and not table.reads_state_outbound


def test_a_helper_object_makes_expectations(pair: NetnsPair) -> None:
    load(
        pair,
        'table inet t { ct helper h { type "ftp" protocol tcp; }\n'
        'chain c { type filter hook input priority 0; tcp dport 21 ct helper set "h"\n}\n}',
    )
    with pair.enter(pair.server):
        host = observe(pair.server.ifname)
    assert host.helpers == ("native table inet t: ct helper ftp",)
    assert "helpers" in [f.id for f in findings(host)]


@pytest.mark.parametrize("family", ["netdev", "inet"])
def test_ingress_counts_on_this_device_only(pair: NetnsPair, family: str) -> None:
    chain = "table {0} t {{ chain c {{ type filter hook ingress device {1} priority 0\n}}\n}}"
    load(pair, chain.format(family, "lo"))
    assert native(pair) == ()
    load(pair, "flush ruleset\n" + chain.format(family, pair.server.ifname))
    (table,) = native(pair)
    assert (table.hooks, table.reach, table.harmless) == (("ingress",), "ingress", False)


def test_a_table_without_hooks_or_asleep_does_nothing(pair: NetnsPair) -> None:
    load(pair, "table inet t { chain c { log\n}\n}")
    load(pair, "table inet d { flags dormant; chain c { type filter hook input priority 0; log\n}\n}")
    assert native(pair) == ()


def test_tables_of_iptables_nft_are_not_native(pair: NetnsPair) -> None:
    pair.run(pair.server, ["iptables-nft", "-A", "INPUT", "-p", "tcp", "-m", "limit", "-j", "LOG"])
    pair.run(pair.server, ["ip6tables-nft", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE"])
    with pair.enter(pair.server):
        host = observe(pair.server.ifname)
    assert host.native_tables == ()
    assert host.backends == ("nft/ipv4", "nft/ipv6")


def test_without_nft_a_table_may_do_anything(pair: NetnsPair, monkeypatch: pytest.MonkeyPatch) -> None:
    load(pair, chain("input", 0, "ip saddr 10.1.0.0/16 drop"))
    monkeypatch.setattr(nftables.shutil, "which", lambda *_, **__: None)
    with pair.enter(pair.server):
        tables, _ = nftables.native_tables([pair.server.ifname], ())
    assert [(t.harmless, t.why) for t in tables] == [
        (False, "nft is not installed, so its rules cannot be read")
    ]


def test_devices_by_prefix() -> None:
    hook = nft_objects.DeviceHook("netdev", "t", "c", ("veth*", "eth0"))
    assert hook.serves("veth7") and hook.serves("eth0") and not hook.serves("eth01")
