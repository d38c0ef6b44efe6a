"""What the judge is certain of, and what not, where no kernel is needed to tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from frames import PLACE, frames
from xdptables.fields import Family
from xdptables.host.facts import HostFacts, InterfaceFacts, NativeTable
from xdptables.reference.interpret import Outcome, Verdict, interpret
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.build import build

FOUR, SIX = Family.IPV4, Family.IPV6
DROP, ACCEPT, UNDECIDED = Verdict.DROP, Verdict.ACCEPT, Verdict.UNDECIDED
LINK = InterfaceFacts(name="wan0", mac=PLACE.own_mac, gro=False, rxvlan=False)
HOST = HostFacts(
    interface=LINK,
    local4=("127.0.0.0/8", f"{PLACE.own4}/32"),
    broadcast4=(f"{PLACE.broadcast4}/32",),
    local6=("::1/128", f"{PLACE.own6}/128"),
)
ROUTER = replace(HOST, forwards4=True, forwards6=True, other_interfaces=True)
_BY_NAME = {f.name: f.data for f in frames()}
SYN = build(FOUR, {"dport": 22})


def rules(*lines: str, policy: str = "ACCEPT", chains: str = "", raw: str = "", more: str = "") -> str:
    declared = "".join(f":{c} - [0:0]\n" for c in chains.split())
    head = f"*raw\n:PREROUTING ACCEPT [0:0]\n{raw}\nCOMMIT\n" if raw else ""
    body = "".join(f"{line}\n" for line in lines)
    return f"{head}{more}*filter\n:INPUT {policy} [0:0]\n:OUTPUT ACCEPT [0:0]\n{declared}{body}COMMIT\n"


def judged(
    text: str,
    frame: bytes | str = SYN,
    host: HostFacts = HOST,
    family: Family = FOUR,
    interface: str | None = "wan0",
) -> Outcome:
    data = _BY_NAME[frame] if isinstance(frame, str) else frame
    return interpret(read_rulesets(Source("rules", text), family), data, host, interface)


def test_says_which_rule_and_where() -> None:
    outcome = judged(rules("-A INPUT -p udp -j ACCEPT", "-A INPUT -p tcp -j DROP"))
    assert outcome.verdict is DROP and outcome.hook == "filter INPUT"
    assert outcome.rule is not None and outcome.rule.number == 2
    assert [(r.number, a) for r, a in outcome.trace] == [(1, "no"), (2, "yes")]


def test_policy_has_no_rule() -> None:
    outcome = judged(rules(policy="DROP"))
    assert (outcome.verdict, outcome.rule, outcome.hook) == (DROP, None, "filter INPUT")


MAYBE = "-m u32 --u32 0x0>>0x18=0x45"


@pytest.mark.parametrize(
    ("lines", "policy", "verdict"),
    [
        ((f"-A INPUT {MAYBE} -j DROP",), "DROP", DROP),
        ((f"-A INPUT {MAYBE} -j DROP",), "ACCEPT", UNDECIDED),
        ((f"-A INPUT {MAYBE} -j ACCEPT",), "DROP", UNDECIDED),
        ((f"-A INPUT {MAYBE} -j ACCEPT",), "ACCEPT", ACCEPT),
        ((f"-A INPUT {MAYBE} -j c", "-A c -j DROP"), "DROP", DROP),
        ((f"-A INPUT {MAYBE} -j c", "-A c -p udp -j ACCEPT"), "DROP", DROP),
        ((f"-A INPUT {MAYBE} -j c", "-A c -p tcp -j ACCEPT"), "DROP", UNDECIDED),
        ((f"-A INPUT {MAYBE} -g c", "-A INPUT -j DROP"), "ACCEPT", UNDECIDED),
        (("-A INPUT -g c", "-A INPUT -j ACCEPT"), "DROP", DROP),
        (("-A INPUT -j c", "-A INPUT -j ACCEPT"), "DROP", ACCEPT),
        (("-A INPUT -j c", "-A c -g d", "-A c -j DROP", "-A INPUT -j ACCEPT"), "DROP", ACCEPT),
        (("-A INPUT -j RETURN", "-A INPUT -j ACCEPT"), "DROP", DROP),
        (("-A INPUT -p udp -m limit --limit 1/sec -j ACCEPT",), "DROP", DROP),
        (("-A INPUT -p tcp -m limit --limit 1/sec -j ACCEPT",), "DROP", UNDECIDED),
        (("-A INPUT -m limit --limit 1/sec -m udp -p udp -j ACCEPT",), "DROP", DROP),
        (("-A INPUT -m recent --name x --set",), "DROP", UNDECIDED),
        (("-A INPUT -p tcp -j LOG",), "DROP", UNDECIDED),
        (("-A INPUT -p udp -j LOG",), "DROP", DROP),
        (("-A INPUT -p tcp -j REJECT",), "DROP", UNDECIDED),
        (("-A INPUT -p tcp -j NOBODYKNOWS",), "DROP", UNDECIDED),
        (("-A INPUT -p tcp",), "DROP", DROP),
    ],
)
def test_worlds(lines: tuple[str, ...], policy: str, verdict: Verdict) -> None:
    assert judged(rules(*lines, policy=policy, chains="c d")).verdict is verdict


def test_many_maybes_do_not_take_for_ever() -> None:
    lines = [f"-A INPUT {MAYBE} -j c", f"-A c {MAYBE} -j d", f"-A d {MAYBE} -j RETURN"] * 20
    assert judged(rules(*lines, policy="DROP", chains="c d")).verdict is DROP


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("tcp 40000>22", DROP),
        ("limited broadcast", DROP),
        ("directed broadcast", DROP),
        ("all hosts", DROP),
        ("multicast 239", DROP),
        ("ipv4 to 198.51.100.1", DROP),  # to nobody: a host that does not forward is silent
        ("ipv4 fragments all: 1", DROP),
        ("foreign mac", UNDECIDED),
        ("dhcp offer", UNDECIDED),
        ("dhcp discover", UNDECIDED),
        ("ipv4 options nop", UNDECIDED),
        ("arp", UNDECIDED),
        ("vlan 5", UNDECIDED),
        ("ihl 4", UNDECIDED),
        ("ipv4 protocol 6 cut to 8", UNDECIDED),
    ],
)
def test_drop_everything(name: str, verdict: Verdict) -> None:
    assert judged(rules(policy="DROP"), name).verdict is verdict


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("tcp6 40000>22", DROP),
        ("ipv6 all nodes", DROP),
        ("ipv6 to 2001:db8::3", UNDECIDED),
        ("ipv6 hop-by-hop, tcp", DROP),
        ("ipv6 hop-by-hop with a skippable option", UNDECIDED),
        ("ipv6 destination with a answered option", UNDECIDED),
        ("ipv6 ah", UNDECIDED),
    ],
)
def test_drop_everything_in_ipv6(name: str, verdict: Verdict) -> None:
    assert judged(rules(policy="DROP"), name, family=SIX).verdict is verdict


@pytest.mark.parametrize(
    ("host", "name", "verdict"),
    [
        (ROUTER, "tcp 40000>22", DROP),
        (ROUTER, "ipv4 to 198.51.100.1", UNDECIDED),
        (replace(HOST, bc_forwarding=True), "directed broadcast", UNDECIDED),
        (replace(HOST, mc_forwarding4=True), "all hosts", UNDECIDED),
        (replace(HOST, mc_forwarding4=True), "tcp 40000>22", DROP),
        (replace(HOST, fwmark_rules4=True), "tcp 40000>22", UNDECIDED),
        (replace(HOST, log_martians=True), "tcp 40000>22", UNDECIDED),
        (replace(HOST, nat_entries=True), "tcp 40000>22", UNDECIDED),
        (replace(HOST, local4=()), "tcp 40000>22", UNDECIDED),
        (replace(HOST, bpf_netfilter=("link 1",)), "tcp 40000>22", UNDECIDED),
        (replace(HOST, native_tables=(NativeTable("inet", "x", ("input",)),)), "tcp 40000>22", UNDECIDED),
        (replace(HOST, native_tables=(NativeTable("inet", "x", ("input",), True),)), "tcp 40000>22", DROP),
        (replace(HOST, native_tables=(NativeTable("ip6", "x", ("input",)),)), "tcp 40000>22", DROP),
        (replace(HOST, interface=replace(LINK, mac="")), "tcp 40000>22", UNDECIDED),
        (replace(HOST, interface=replace(LINK, uppers=("bridge:br0",))), "tcp 40000>22", UNDECIDED),
        (replace(HOST, interface=replace(LINK, tc_ingress=("x",))), "tcp 40000>22", UNDECIDED),
        (replace(HOST, interface=replace(LINK, children_complete=False)), "limited broadcast", UNDECIDED),
        (replace(HOST, interface=replace(LINK, children_complete=False)), "tcp 40000>22", DROP),
    ],
)
def test_the_host_matters(host: HostFacts, name: str, verdict: Verdict) -> None:
    assert judged(rules(policy="DROP"), name, host).verdict is verdict


def test_prerouting_drops_hold_for_every_packet() -> None:
    text = rules(raw=f"-A PREROUTING -s {PLACE.peer4} -j DROP")
    for name in ("ipv4 to 198.51.100.1", "ipv4 options nop", "tcp 40000>22"):
        assert judged(text, name, replace(ROUTER, nat_entries=True)).verdict is DROP


@pytest.mark.parametrize(
    ("lines", "frame", "verdict"),
    [
        (("-A INPUT -p tcp -m tcp --dport 22 -j DROP",), SYN, DROP),
        (("-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",), SYN, UNDECIDED),
        (("-A INPUT -m ttl --ttl-lt 200 -j DROP",), SYN, UNDECIDED),
        (("-A INPUT -m ttl --ttl-lt 200 -j ACCEPT", "-A INPUT -j DROP"), SYN, UNDECIDED),
        (("-A INPUT -i wan0 -j DROP",), SYN, DROP),
        (("-A INPUT -p icmp -m icmp --icmp-type 8 -j DROP",), build(FOUR, {"proto": 1}), DROP),
        (("-A INPUT -j DROP", "-A OUTPUT -m state --state INVALID -j DROP"), SYN, UNDECIDED),
        (("-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT", "-A INPUT -j DROP"), SYN, UNDECIDED),
    ],
)
def test_drops_after_conntrack(lines: tuple[str, ...], frame: bytes, verdict: Verdict) -> None:
    assert judged(rules(*lines), frame, replace(HOST, conntrack_entries=True)).verdict is verdict


def test_interface_is_no_part_of_a_flow_where_another_could_bring_it() -> None:
    host = replace(HOST, conntrack_entries=True, other_interfaces=True)
    assert judged(rules("-A INPUT -i wan0 -j DROP"), host=host).verdict is UNDECIDED
    assert judged(rules("-A INPUT -i lo -j ACCEPT", policy="DROP"), host=host).verdict is DROP
    assert (
        judged(rules("-A INPUT -i lo -j ACCEPT", policy="DROP"), "ipv4 from 127.0.0.1", host).verdict
        is UNDECIDED
    )


def test_raw_needs_no_gate() -> None:
    host = replace(HOST, conntrack_entries=True)
    assert judged(rules(raw="-A PREROUTING -m ttl --ttl-lt 200 -j DROP"), host=host).verdict is DROP


def test_nat_and_helpers() -> None:
    nat = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
    assert judged(rules(policy="DROP", more=nat)).verdict is UNDECIDED
    mangle = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j DROP\nCOMMIT\n"
    assert judged(rules(more=nat + mangle)).verdict is DROP
    assert judged(rules(more=nat)).verdict is UNDECIDED  # not a certain ACCEPT either
    helper = "-A PREROUTING -p udp -j CT --helper ftp"
    assert judged(rules(policy="DROP", raw=helper)).verdict is UNDECIDED
    assert judged(rules(policy="DROP", raw="-A PREROUTING -p udp -j CT --notrack")).verdict is DROP
    assert judged(rules(policy="DROP", raw="-A PREROUTING -j CT --notrack")).verdict is DROP
    assert judged(rules(policy="DROP", raw="-A PREROUTING -j CT --zone 5")).verdict is UNDECIDED


def test_rewritten_fields_are_maybe() -> None:
    mangle = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j {}\nCOMMIT\n"
    ttl = rules("-A INPUT -m ttl --ttl-gt 10 -j DROP", more=mangle.format("TTL --ttl-set 9"))
    assert judged(ttl).verdict is UNDECIDED
    assert judged(ttl, build(FOUR, {"proto": 17})).verdict is DROP
    tos = rules("-A INPUT -m ttl --ttl-gt 10 -j DROP", more=mangle.format("DSCP --set-dscp 0x0a"))
    assert judged(tos).verdict is DROP
    assert judged(tos, host=replace(HOST, tos_rules4=True)).verdict is UNDECIDED


def test_connmark() -> None:
    restore = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j CONNMARK --restore-mark\nCOMMIT\n"
    assert judged(rules(policy="DROP", more=restore)).verdict is DROP
    assert judged(rules(policy="DROP", more=restore.replace("restore", "save"))).verdict is UNDECIDED


def test_gro() -> None:
    host = replace(HOST, interface=replace(LINK, gro=True))
    length = rules("-A INPUT -m length --length 0:200 -j DROP")
    assert judged(length).verdict is DROP and judged(length, host=host).verdict is UNDECIDED
    push = rules("-A INPUT -p tcp -m tcp --tcp-flags PSH PSH -j DROP")
    assert judged(push, "tcp flags PA data").verdict is DROP
    assert judged(push, "tcp flags PA data", host).verdict is UNDECIDED
    assert judged(push, "tcp flags PA", host).verdict is DROP


@pytest.mark.parametrize(
    ("line", "family", "name", "verdict"),
    [
        ("-A INPUT -s 192.0.2.2 -p udp -j DROP", FOUR, "ipv4 fragments all: 1", DROP),
        ("-A INPUT -p udp -m udp --dport 80 -j DROP", FOUR, "ipv4 fragments all: 0", UNDECIDED),
        ("-A INPUT -i wan0 -j DROP", FOUR, "ipv4 fragments all: 0", UNDECIDED),
        ("-A INPUT -f -j DROP", FOUR, "ipv4 fragments all: 1", UNDECIDED),
        ("-A INPUT ! -f -j DROP", FOUR, "ipv4 fragments all: 1", DROP),
        ("-A INPUT -s 2001:db8::2 -j DROP", SIX, "ipv6 fragments all: 1", DROP),
        ("-A INPUT -p udp -j DROP", SIX, "ipv6 fragments all: 1", UNDECIDED),
    ],
)
def test_fragments(line: str, family: Family, name: str, verdict: Verdict) -> None:
    assert judged(rules(line), name, family=family).verdict is verdict


@pytest.mark.parametrize(
    ("line", "protocol", "verdict"),
    [
        ("-A INPUT -p esp -m esp --espspi 0:4294967295 -j DROP", 50, DROP),
        ("-A INPUT -p esp -m esp --espspi 1: -j DROP", 50, UNDECIDED),
        ("-A INPUT -p ah -m ah -j DROP", 51, DROP),
    ],
)
@pytest.mark.parametrize("part", [1, 2])
def test_any_spi_of_a_fragment(line: str, protocol: int, verdict: Verdict, part: int) -> None:
    assert judged(rules(line), build(FOUR, {"proto": protocol, "fragment": part})).verdict is verdict


def test_any_spi_of_a_tracked_flow() -> None:
    """Another packet of the flow may have another SPI, which matters where the rule asks for one."""
    tracked = "-A INPUT -m conntrack --ctstate ESTABLISHED -j DROP"
    esp = build(FOUR, {"proto": 50, "spi": 5})
    for line, verdict in (("-p esp -m esp", DROP), ("-p esp -m esp --espspi 5", UNDECIDED)):
        assert judged(rules(tracked, f"-A INPUT {line} -j DROP"), esp).verdict is verdict


def test_unknown_interface() -> None:
    assert judged(rules("-A INPUT -i wan0 -j DROP"), interface=None).verdict is UNDECIDED
    assert judged(rules("-A INPUT ! -i lo -j DROP"), interface=None).verdict is DROP


def test_two_back_ends() -> None:
    drops = read_rulesets(Source("a", rules(policy="DROP")), FOUR)
    logs = read_rulesets(Source("b", rules("-A INPUT -j LOG")), FOUR)
    plain = read_rulesets(Source("c", rules()), FOUR)
    assert interpret((*drops, *plain), SYN, HOST, "wan0").verdict is DROP
    assert interpret((*drops, *logs), SYN, HOST, "wan0").verdict is UNDECIDED
