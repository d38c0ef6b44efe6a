"""The path of a packet, against the judge, and in what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from judge.rulesets import RULESETS
from xdptables.emit.engine import EngineRequest
from xdptables.explain.packets import Explained, Explainer, adopt
from xdptables.explain.path import End, follow
from xdptables.explain.show import in_netfilter, in_xdp, to_data
from xdptables.fields import Family
from xdptables.host.facts import PLAIN_HOST
from xdptables.pipeline import compile_rules
from xdptables.reference.connection import Entry, State, leaving_conntrack
from xdptables.reference.interpret import Judge, Verdict
from xdptables.reference.packet import Unreadable, parse
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.build import build
from xdptables.verify.derive import derive
from xdptables.verify.place import settle
from xdptables.verify.planned import TOO_MANY_STEPS

HOST, PLACE = settle(PLAIN_HOST, "wan0")
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.rules"))
TEXTS = [(p.stem, None, p.read_text()) for p in EXAMPLES] + [(n, f, t) for n, (f, t) in RULESETS.items()]


@pytest.mark.parametrize(("family", "text"), [t[1:] for t in TEXTS], ids=[t[0] for t in TEXTS])
def test_what_the_judge_is_certain_of_the_path_says_too(family: Family | None, text: str) -> None:
    rulesets = read_rulesets(Source("rules", text), family)
    judge = Judge(rulesets, HOST, "wan0")
    asked = 0
    for frame in derive(rulesets, (), PLACE, limit=250):
        try:
            packet = parse(frame.data)
        except Unreadable:
            continue
        known = len(leaving_conntrack(packet, HOST, Entry.UNKNOWN, None)) == 1
        if packet.protocol in (1, 58) and not packet.fragment:
            known = False  # some have a state of their own, which the explainer looks up
        for state in (None, State.NEW, State.INVALID) if known else (State.NEW, State.INVALID):
            verdict = judge.outcome(frame.data, state=state).verdict
            if verdict is Verdict.UNDECIDED:
                continue
            path = follow(rulesets, packet, HOST, "wan0", state)
            # A REJECT to which the kernel sends no reply is a drop.
            expected = (End.DROP, End.REJECT) if verdict is Verdict.DROP else (End.ACCEPT,)
            assert {e.end for e in path.ends} <= set(expected), (frame, state, path)
            asked += 1
    assert asked > 40


def explained(text: str, state: State | None = None, family: Family = Family.IPV4, **spec: int) -> Explained:
    rulesets = read_rulesets(Source("rules", text), family)
    return Explainer(rulesets, HOST, compile_rules(rulesets, HOST)).explain(build(family, spec, PLACE), state)


def table(*lines: str, policy: str = "ACCEPT", chains: str = "") -> str:
    declared = "".join(f":{c} - [0:0]\n" for c in chains.split())
    body = "\n".join(lines)
    return f"*filter\n:INPUT {policy} [0:0]\n{declared}{body}\nCOMMIT\n"


STATEFUL = table(
    "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
    "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
    policy="DROP",
)


def test_without_a_state_both_ways_are_told() -> None:
    found = explained(STATEFUL, dport=23)
    assert in_netfilter(found) == (
        "accepts it by line 3 if that matches; else drops it by the policy of filter INPUT"
    )
    assert in_xdp(found).startswith("drops it, if conntrack has no entry for it, by line 2: :INPUT DROP")


def test_with_a_state_there_is_one() -> None:
    found = explained(STATEFUL, State.NEW, dport=23)
    assert in_netfilter(found) == "drops it by the policy of filter INPUT"
    found = explained(STATEFUL, State.ESTABLISHED, dport=23)
    assert in_netfilter(found) == "accepts it by line 3"
    assert in_xdp(found) == "passes it to netfilter: conntrack has an entry for it"


def test_an_entry_is_named_before_what_would_pass_it_anyway() -> None:
    text = table(
        "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
        "-A INPUT -s 10.0.0.0/8 -j DROP",
        "-A INPUT -m limit --limit 1/sec -j LOG",
        policy="DROP",
    )
    counts = "-m limit: counts packets (line 5: -A INPUT -m limit --limit 1/sec -j LOG)"
    assert in_xdp(explained(text, State.NEW, dport=23)) == f"passes it to netfilter: {counts}"
    assert in_xdp(explained(text, State.ESTABLISHED, dport=23)) == (
        f"passes it to netfilter: conntrack has an entry for it; without one: {counts}"
    )
    # Where the program does not ask conntrack, or the rules do not, it has no part in it.
    for packet in ({"proto": 1, "icmp": 0x0800}, {"proto": 47}):
        assert "an entry" not in in_xdp(explained(text, State.ESTABLISHED, **packet))
    plain = explained(table("-A INPUT -m limit --limit 1/sec -j LOG"), State.ESTABLISHED)
    assert "an entry" not in in_xdp(plain)


def test_why_it_passes() -> None:
    found = explained(table("-A INPUT -p tcp -j REJECT", policy="DROP"))
    assert in_netfilter(found) == "rejects it by line 3"
    assert "drops with a reply" in in_xdp(found) and "line 3" in in_xdp(found)
    found = explained(table("-A INPUT -p udp -j DROP"), proto=17, dport=67)
    assert in_netfilter(found) == "drops it by line 3" and "DHCP" in in_xdp(found)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        # A RETURN that may match leaves the chain, not the table.
        (
            ("-A INPUT -j c", "-A INPUT -j ACCEPT", "-A c -m u32 --u32 0=1 -j RETURN", "-A c -j DROP"),
            "drops it by line 7 if it comes there; else accepts it by line 5",
        ),
        (
            ("-A INPUT -m u32 --u32 0=1 -j c", "-A INPUT -j ACCEPT", "-A c -j DROP", ""),
            "drops it by line 6 if it comes there; else accepts it by line 5",
        ),
        (
            ("-A INPUT -m u32 --u32 0=1 -g c", "-A INPUT -j ACCEPT", "-A c -p udp -j DROP", ""),
            "drops it by the policy of filter INPUT if it comes there; else accepts it by line 5",
        ),
        (("-A INPUT -g c", "-A INPUT -j ACCEPT", "-A c -p udp -j ACCEPT", ""), None),
        (("-A INPUT -m limit --limit 1/s -j ACCEPT", "", "", ""), None),
    ],
)
def test_doubts(lines: tuple[str, ...], said: str | None) -> None:
    found = explained(table(*lines, policy="DROP", chains="c"))
    assert found.path is not None
    if said is None:
        assert found.path.ends[-1].end is End.DROP and found.path.ends[-1].rule is None
    elif "policy" in said:
        assert {e.end for e in found.path.ends} == {End.DROP, End.ACCEPT}
    else:
        assert in_netfilter(found) == said


def test_each_test_of_a_rule_has_its_answer_and_the_reason() -> None:
    found = explained(
        table("-A INPUT -s 192.0.2.2 -p tcp -m string --algo bm --string x -m tcp --dport 9 -j DROP")
    )
    assert found.path is not None
    tests = found.path.steps[0].tested
    assert [(t.text.split()[0], t.answer.value) for t in tests[:3]] == [
        ("-s", "yes"),
        ("-p", "yes"),
        ("-m", "maybe"),
    ]
    assert tests[2].why == "payload contents" and tests[3].text == "-m tcp --dport 9"


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ("-m limit --limit 1/s", "it counts"),
        ("-m recent --update --name x", "it counts or remembers"),
        ("-m conntrack --ctstate NEW", "the connection's state is not given"),
        ("-m conntrack --ctdir ORIGINAL", "more than the state"),
        ("-m frobnicate --hard", "is not known"),
        ("-m length --length 0:50", "GRO"),
        ("-m u32 --u32 0=1", "bytes chosen by an expression"),
    ],
)
def test_why_it_is_maybe(match: str, why: str) -> None:
    found = explained(table(f"-A INPUT {match} -j DROP"))
    assert found.path is not None
    assert why in found.path.steps[0].tested[-1].why


def test_a_change_on_the_way() -> None:
    mangle = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j TTL --ttl-set 9\nCOMMIT\n"
    found = explained(mangle + table("-A INPUT -m ttl --ttl-eq 64 -j DROP"))
    assert found.path is not None
    (step,) = [s for s in found.path.steps if s.rule is not None and s.rule.chain == "INPUT"]
    assert step.tested[0].why == "an earlier target may have changed the ttl"


def test_what_does_not_come_to_input() -> None:
    rulesets = read_rulesets(Source("rules", table("-A INPUT -j DROP")))
    explainer = Explainer(rulesets, HOST, compile_rules(rulesets, HOST))
    other = explainer.explain(build(Family.IPV4, {"dst": 0x08080808}, PLACE))
    assert in_netfilter(other) == "goes on outside these rules: not for this host"
    frame = build(Family.IPV4, {}, PLACE)
    assert "for another MAC" in in_netfilter(explainer.explain(b"\x02" * 6 + frame[6:]))
    arp = explainer.explain(frame[:12] + b"\x08\x06" + bytes(28))
    assert "not IP" in in_netfilter(arp) and in_xdp(arp).startswith("passes it to netfilter: not IP")


def test_icmp_with_a_state_of_its_own() -> None:
    text = table("-A INPUT -m conntrack --ctstate INVALID -j DROP")
    assert in_netfilter(explained(text, proto=1, icmp=0x0A00)) == "drops it by line 3"
    assert "else accepts it" in in_netfilter(explained(text, proto=1, icmp=0x0800))


def test_addresses_of_an_unknown_host_are_the_packets() -> None:
    frame = build(Family.IPV4, {"dst": 0x0A000001}, PLACE)
    host = adopt(PLAIN_HOST, [frame, build(Family.IPV4, {"dst": 0xE0000001}, PLACE)])
    assert host.local4 == ("10.0.0.1/32",) and host.interface.mac == PLACE.own_mac
    known = adopt(HOST, [frame])
    assert known.local4 == HOST.local4


def test_as_data() -> None:
    data = to_data(explained(STATEFUL, dport=23))
    assert data["xdp"]["drops"] and data["xdp"]["asks_conntrack"] and not data["certain"]
    assert [s["line"] for s in data["path"]] == [3, 4, None]
    assert data["ends"][0]["end"] == "accepts" and data["path"][0]["tests"][0]["answer"] == "maybe"


def test_ten_thousand_rules_and_a_decision_that_did_not_fit() -> None:
    body = [f"-A INPUT -s 10.{n >> 8}.{n & 255}.1 -p tcp -m tcp --dport {n} -j DROP" for n in range(9000)]
    found = explained(table(*body), src=0x0A232701, dport=8999)
    assert in_netfilter(found) == "drops it by line 9002"
    if not found.ruling.drop:
        assert "did not fit into the program (line 9002" in in_xdp(found)
    policy = explained(table(*body))
    assert in_netfilter(policy) == "accepts it by the policy of filter INPUT"
    assert ":INPUT ACCEPT (policy)" in in_xdp(policy)


def test_a_look_up_that_takes_too_long_is_the_reason() -> None:
    """Of a packet that the rules drop, with the rule that does."""
    targets = ("DROP", "ACCEPT", "RETURN")
    body = [
        f"-A {chain} {tests}"
        for n in range(1, 120)
        for chain, tests in (
            (f"c{n % 2}", f"-s 198.51.100.{n} -p tcp -m tcp --dport {n} -j {targets[n % 3]}"),
            ("INPUT", f"-m tos --tos {n % 8 * 4:#x}/0xff -j c{n % 2}"),
        )
    ]
    text = "\n".join(("*filter", ":INPUT DROP [0:0]", ":c0 - [0:0]", ":c1 - [0:0]", *body, "COMMIT", ""))
    rulesets = read_rulesets(Source("rules", text), Family.IPV4)
    made = compile_rules(rulesets, HOST, engine=EngineRequest("tables", halvings=5))
    explainer = Explainer(rulesets, HOST, made)
    found = [explainer.explain(build(Family.IPV4, {"tos": n, "dport": 200}, PLACE)) for n in (0, 4, 8)]
    late = [f for f in found if TOO_MANY_STEPS in f.ruling.why]
    assert late and all(f.ruling.cause is not None and not f.ruling.drop for f in late)
