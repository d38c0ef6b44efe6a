"""All packets of a decision, worked out: what that finds, and what it proves."""

from __future__ import annotations

import random

from verify.test_frames import HOST, PLACE, compiled
from xdptables.decisions.model import Accept, Cause, Decision, DecisionList, Drop, Skip
from xdptables.fields import Family
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Cube
from xdptables.matches.view import Kind
from xdptables.verify.planned import evaluate
from xdptables.verify.reach import reaching
from xdptables.verify.regions import Regions
from xdptables.verify.run import verify

DROP = Drop(Cause("filter", "INPUT"), True, True)


def random_list(seed: int) -> DecisionList:
    """Over two small fields, with jumps forward."""
    rng = random.Random(seed)
    decisions = []
    for index in range(12):
        sets = {}
        for name in rng.sample(["tos", "ttl"], rng.randrange(3)):
            lo = rng.randrange(8)
            sets[name] = IntervalSet(((lo, lo + rng.randrange(4)),))
        then = rng.choice([DROP, Accept(None), Skip(index + 1 + rng.randrange(1, 4))])
        cube = Cube.of(sets)
        assert cube is not None
        decisions.append(Decision(cube, then))
    return DecisionList(Kind.IPV4, tuple(decisions))


def test_regions_are_what_the_list_does() -> None:
    for seed in range(40):
        decisions = random_list(seed)
        found = reaching(decisions)
        assert found is not None
        for value in range(144):
            packet = {"tos": value % 12, "ttl": value // 12}
            path = evaluate(decisions, packet).path
            for index, region in enumerate(found):
                inside = [c for c in region if all(packet[n] in s for n, s in c.sets)]
                assert len(inside) == (index in path), (seed, packet, index)


def test_a_decision_has_a_packet_or_none_can_have() -> None:
    for seed in range(40):
        regions = Regions(random_list(seed), PLACE)
        for index in range(12):
            assert (regions.sample(index, budget=2) is None) == regions.empty(index)


def test_dead_decisions_are_not_asked_for() -> None:
    """All flags of line 5 are taken by lines 3 and 4 together."""
    flags = (("SYN", "SYN"), ("SYN", "NONE"), ("FIN,SYN", "FIN"))
    rules = "".join(f"-A INPUT -p tcp -m tcp --tcp-flags {m} {c} -j DROP\n" for m, c in flags)
    rulesets, done = compiled(f"*filter\n:INPUT ACCEPT [0:0]\n{rules}COMMIT\n")
    found = verify(rulesets, HOST, done, in_kernel=False)
    assert found.decisions == found.reached > 0 and not found.unreached


def test_what_conntrack_is_asked_about_is_tcp_or_udp() -> None:
    """A packet of another protocol fits the drop just as well, and never comes to it."""
    text = (
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"
        "-A INPUT -p tcp -j LOG\n-A INPUT -m pkttype --pkt-type broadcast -j DROP\nCOMMIT\n"
    )
    rulesets, done = compiled(text)
    (gate,) = (d for d in done.plan.lists if d.kind is Kind.IPV4_NO_ENTRY)
    regions = Regions(gate, PLACE)
    for index, item in enumerate(gate.decisions):
        packet = regions.sample(index)
        assert packet is not None and packet["proto"] in (6, 17), item
    found = verify(rulesets, HOST, done, in_kernel=False)
    assert found.decisions == found.reached > 1 and not found.unreached


def test_lists_that_are_too_long_prove_nothing() -> None:
    one = Decision(Cube(), DROP)
    regions = Regions(DecisionList(Kind.IPV4, (one,) * 300), PLACE)
    assert reaching(regions.list) is None and not regions.empty(299)
    assert Family.IPV4 is regions.family
