"""Budgets in decisions, plan and report: what is charged, for what, and what is not."""

from __future__ import annotations

import dataclasses

import pytest

from xdptables.decisions.budget import NO_BUDGETS, Budgets, parse_budget, reply_allowance
from xdptables.decisions.model import Drop
from xdptables.fields import Family
from xdptables.host.facts import PLAIN_HOST, HostFacts
from xdptables.matches.view import Kind
from xdptables.pipeline import Compiled, compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source

AUTO = Budgets(reject=0, log=0)
LOG = "-A INPUT -p udp -m limit --limit 30/min --limit-burst 7 -j LOG"
HOST = dataclasses.replace(
    PLAIN_HOST, interface=dataclasses.replace(PLAIN_HOST.interface, name="eth0", gro=False)
)


def compiled(*lines: str, budgets: Budgets = AUTO, host: HostFacts = HOST, advise: bool = False) -> Compiled:
    text = "\n".join(("*filter", ":INPUT ACCEPT [0:0]", *lines, "COMMIT", ""))
    return compile_rules(
        read_rulesets(Source("rules", text), Family.IPV4), host, budgets=budgets, advise=advise
    )


def budgets_of(made: Compiled, kind: Kind = Kind.IPV4) -> list[tuple[tuple[str, int, int], ...]]:
    decisions = next(d for d in made.plan.lists if d.kind is kind).decisions
    return [d.then.budget for d in decisions if isinstance(d.then, Drop)]


def test_a_logged_drop_is_charged_and_others_are_not() -> None:
    made = compiled(LOG, "-A INPUT -j DROP")
    line = ("log filter INPUT 1 ipv4", 200_000_000, 14)  # 30 a minute, ten times; twice 7
    assert sorted(budgets_of(made)) == [(), (line,)]
    assert budgets_of(made, Kind.IPV4_FRAGMENT) == [()]  # not UDP; UDP passes
    assert budgets_of(compiled(LOG, "-A INPUT -j DROP", budgets=NO_BUDGETS)) == [()]


def test_merged_drops_keep_their_budgets_apart() -> None:
    logged = "-A INPUT -s 192.0.2.1 -p udp -m limit --limit 1/s -j LOG"
    made = compiled(logged, *(f"-A INPUT -s 192.0.2.{n} -p udp -j DROP" for n in (1, 2, 3)))
    decisions = next(d for d in made.plan.lists if d.kind is Kind.IPV4).decisions
    drops = [(d, d.then) for d in decisions if isinstance(d.then, Drop)]
    assert len([d for d, then in drops if then.budget and not d.split]) == 1
    assert [len(d.split) for d, then in drops if not then.budget] == [3]


@pytest.mark.parametrize(
    "line",
    [
        "-A INPUT -p udp -m limit --limit 5/s -j ACCEPT",
        "-A INPUT -p udp -m limit --limit 5/s -j DROP",
        "-A INPUT -p udp -m limit --limit 5/s -m recent --set --name x -j LOG",
        "-A INPUT -p udp -m hashlimit --hashlimit-upto 5/s --hashlimit-name x -j LOG",
        "-A INPUT -p udp -j LOG",
        "-A INPUT -p udp -m limit --limit 5/s -j REJECT",
        "-A INPUT -p udp -m limit --limit 5/s -j TEE --gateway 192.0.2.9",
        "-A INPUT -p udp -m limit --limit 5/s -m mystery --odd -j LOG",
    ],
)
def test_what_no_budget_reaches(line: str) -> None:
    made = compiled(line, "-A INPUT -p udp -j DROP")
    assert budgets_of(made) == []


def test_a_packet_logged_twice_and_rejected_has_room_for_all() -> None:
    made = compiled(LOG, LOG.replace("LOG", "NFLOG"), "-A INPUT -p udp -j REJECT")
    (budget,) = {b for b in budgets_of(made) if len(b) == 3}
    assert [a[0] for a in budget] == ["log filter INPUT 1 ipv4", "log filter INPUT 2 ipv4", "reply ipv4"]
    # 5 + 5 + 10 packets a second, 14 + 14 + 12 at once.
    assert "/* 40 at once; log filter INPUT 1 ipv4, " in made.c_text
    assert "interval = 50000000ULL;" in made.c_text


def test_resets_have_none() -> None:
    made = compiled("-A INPUT -p tcp -j REJECT --reject-with tcp-reset")
    assert set(budgets_of(made)) == {()}


@pytest.mark.parametrize(
    ("family", "facts", "expected"),
    [
        (Family.IPV4, {}, (100_000_000, 12)),
        (Family.IPV4, {"icmp_limited4": False}, None),
        (Family.IPV4, {"icmp_ratelimit4": 0}, (100_000, 100)),
        (Family.IPV4, {"icmp_ratelimit4": 0, "icmp_msgs_per_sec": 0}, None),
        (Family.IPV6, {}, (3_125_000, 12)),
        (Family.IPV6, {"icmp_limited6": False}, None),
        # Through 16, and in jiffies, of this nothing may be left.
        (Family.IPV6, {"icmp_ratelimit6": 100}, (100_000, 100)),
    ],
)
def test_the_kernels_limits(family: Family, facts: dict[str, int], expected: tuple[int, int] | None) -> None:
    allowance = reply_allowance(AUTO, dataclasses.replace(HOST, **facts), family)
    assert (allowance and (allowance.interval_ns, allowance.burst)) == expected


def test_what_may_be_asked_for() -> None:
    assert [parse_budget(t) for t in ("", "auto", "50")] == [None, 0, 50]
    for text in ("0", "-1", "1.5", "much", "1000001"):
        with pytest.raises(ValueError):
            parse_budget(text)
    least = reply_allowance(Budgets(reject=3), HOST, Family.IPV4)
    more = reply_allowance(Budgets(reject=500), HOST, Family.IPV4)
    assert least and least.interval_ns == 100_000_000  # never less than auto
    assert more and more.interval_ns == 2_000_000


def test_the_report_says_what_the_flags_would_win() -> None:
    (line,) = compiled(LOG, "-A INPUT -j REJECT", budgets=NO_BUDGETS, advise=True).report.advice
    assert line.startswith("--reject-budget auto: 1 more dropping rule would run in XDP, at a cost: ")
    rules = (LOG.replace("-p udp ", ""), "-A INPUT -j REJECT")
    (line,) = compiled(*rules, budgets=NO_BUDGETS, advise=True).report.advice
    assert line.startswith("--reject-budget auto --log-budget auto: 1 more dropping rule ")
    assert compiled(*rules, advise=True).report.advice == ()
    assert compiled("-A INPUT -j DROP", budgets=NO_BUDGETS, advise=True).report.advice == ()


def test_the_report_names_what_an_unlimited_log_costs() -> None:
    rules = ("-A INPUT -p udp -j LOG", "-A INPUT -p udp --dport 1 -j DROP", "-A INPUT -p tcp -j DROP")
    (line,) = compiled(*rules, budgets=NO_BUDGETS, advise=True).report.advice
    assert line.startswith("LOG without a limit keeps") and ": line 4 (" in line
