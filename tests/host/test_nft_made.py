"""Rules that nft wrote into a table of iptables-nft must never be read through iptables-nft-save."""

from __future__ import annotations

import pytest

from netns import NetnsPair
from xdptables.host.findings import findings
from xdptables.host.live_rules import all_dumps, live_rules
from xdptables.host.observe import observe

pytestmark = pytest.mark.kernel

INPUT = "chain INPUT { type filter hook input priority 0; policy accept;\n"


def table(pair: NetnsPair, body: str) -> None:
    text = "table ip filter {\nset s { type ipv4_addr; }\n" + body + "\n}\n"
    pair.run(pair.server, ["nft", "-f", "-"], input=text)


@pytest.mark.parametrize(
    "rule",
    [
        "ip saddr @s counter drop",
        "tcp dport { 22, 23 } counter drop",
        'iifname { "a", "b" } counter drop',
        "tcp dport vmap { 5 : drop }",
        "ip saddr 10.0.0.5-10.0.0.9 counter drop",
        "ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 counter drop",
        "ip daddr set 10.0.0.1 counter",
        "ip saddr 10.0.0.1 drop",
        "ct state new counter drop",
        "fib daddr type local counter drop",
        "numgen inc mod 2 0 counter drop",
    ],
)
def test_such_a_table_is_native(pair: NetnsPair, rule: str) -> None:
    pair.run(pair.server, ["iptables-nft", "-t", "raw", "-A", "PREROUTING", "-s", "10.3.3.3", "-j", "DROP"])
    table(pair, f"{INPUT} {rule}\n}}")
    with pair.enter(pair.server):
        (dump,) = live_rules()
        host = observe(pair.server.ifname)
    assert [name for name, _ in dump.foreign] == ["filter"]
    assert "*filter" not in dump.text and "-s 10.3.3.3/32 -j DROP" in dump.text
    assert [t.name for t in host.native_tables] == ["filter"]
    assert "nft-made:ip/filter" in [f.id for f in findings(host)]


def test_base_chains_beside_those_of_iptables(pair: NetnsPair) -> None:
    pair.run(pair.server, ["iptables-nft", "-A", "INPUT", "-s", "10.3.3.3", "-j", "DROP"])
    table(pair, "chain mine { type filter hook input priority -5; \n log\n}")
    with pair.enter(pair.server):
        assert live_rules() == ()
        (native,) = observe(pair.server.ifname).native_tables
    assert (native.name, native.reach) == ("filter", "input")


def test_a_dormant_table_is_not_in_force(pair: NetnsPair) -> None:
    pair.run(pair.server, ["iptables-nft", "-A", "INPUT", "-s", "10.3.3.3", "-j", "DROP"])
    pair.run(pair.server, ["nft", "add table ip filter { flags dormant; }"])
    with pair.enter(pair.server):
        assert live_rules() == ()
        assert observe(pair.server.ifname).native_tables == ()


OWN_RULES = """*filter
:INPUT DROP [0:0]
:mine - [0:0]
-A INPUT -p tcp -m tcp --dport 1000:65535 -j mine
-A INPUT -p tcp -m tcp ! --dport 5:9 --sport 7 -j DROP
-A INPUT -p udp -m udp --sport 1:7 --dport 0:9 -g mine
-A INPUT -p tcp -m multiport --dports 22,80,100:200 -j DROP
-A INPUT -s 10.0.0.0/8 ! -d 10.1.0.0/15 -i eth+ -j DROP
-A INPUT -d 10.0.0.0/255.0.255.0 ! -i eth0 -p icmp -m icmp --icmp-type 8/0 -j DROP
-A INPUT -f -j DROP
-A INPUT -m iprange --src-range 10.0.0.1-10.0.0.9 -j DROP
-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m ttl --ttl-gt 5 -j DROP
-A INPUT -p tcp -m tcp ! --tcp-option 5 -m length --length 5:9 -j DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m limit --limit 1/sec --limit-burst 3 -j LOG --log-prefix "x "
-A INPUT -m mark --mark 0x1/0xf -m comment --comment "a b" -m pkttype --pkt-type broadcast -j DROP
-A INPUT -m mac --mac-source 02:00:00:00:00:01 -m statistic --mode nth --every 3 --packet 0 -j DROP
-A INPUT -m dscp --dscp 0x05 -m tos --tos 0x10/0x3f -j REJECT --reject-with icmp-port-unreachable
-A INPUT -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -j NFLOG --nflog-group 3
-A INPUT -m addrtype --dst-type BROADCAST -j RETURN
-A INPUT -p sctp -m sctp --dport 5
-A INPUT
COMMIT
*nat
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
-A PREROUTING -p tcp -m tcp --dport 81 -j DNAT --to-destination 10.1.1.1:80
-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE
-A POSTROUTING -s 10.0.0.0/8 -j SNAT --to-source 10.1.1.1
COMMIT
*mangle
-A PREROUTING -m mark ! --mark 0x5 -j MARK --set-xmark 0x5/0xffffffff
-A PREROUTING -j CONNMARK --save-mark
-A PREROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1300
COMMIT
*raw
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
-A PREROUTING -s 10.2.2.2 -j TRACE
COMMIT
"""


def test_what_iptables_wrote_is_its_own(pair: NetnsPair) -> None:
    skipped = []
    for section in OWN_RULES.split("COMMIT\n")[:-1]:
        head, *rules = section.splitlines()
        chains = [line for line in rules if line.startswith(":")]
        for rule in (line for line in rules if line.startswith("-A")):
            text = "\n".join([head, *chains, rule, "COMMIT", ""])
            done = pair.run(pair.server, ["iptables-nft-restore", "-n"], input=text, check=False)
            if done.returncode:
                skipped.append(rule)  # an extension that this kernel lacks
                continue
            with pair.enter(pair.server):
                assert [d.foreign for d in all_dumps()] == [()], rule
    assert len(skipped) < 12, skipped
    with pair.enter(pair.server):
        (dump,) = live_rules()
    assert "--dport 1000:65535 -j mine" in dump.text


def test_ip6tables_rules_are_its_own_too(pair: NetnsPair) -> None:
    for rule in (
        "INPUT -s fd00::/8 ! -d fd00::1 -p tcp -m tcp --dport 5:9 -j DROP",
        "INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j DROP",
        "INPUT -m hl --hl-lt 5 -j DROP",
        "INPUT -m rt --rt-type 0 -j DROP",
    ):
        pair.run(pair.server, ["ip6tables-nft", "-A", *rule.split()])
    with pair.enter(pair.server):
        (dump,) = live_rules()
    assert dump.foreign == ()
