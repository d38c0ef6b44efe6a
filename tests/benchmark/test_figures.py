"""From figures to what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import results
from bench.aims import reached
from bench.frames import ACK, SYN, TCP, UDP, Packet
from bench.noise import low, spread
from bench.packets import fates
from bench.results import Result, Run
from bench.rules import Rule
from xdptables.fields import Family


def _run(*found: Result) -> Run:
    return Run(found, "a machine", False, 1.0)


def _blocklist(ours: float, limit: float, size: int = 10) -> tuple[Result, ...]:
    return (Result("blocklist", size, "xdptables", ours), Result("blocklist", size, "limit", limit))


@pytest.mark.parametrize(
    ("ours", "word"), [(100, "met"), (106, "met"), (108, "within the noise"), (130, "missed")]
)
def test_an_aim_is_met_missed_or_too_near_to_tell(ours: float, word: str) -> None:
    first = next(iter(reached(_run(*_blocklist(ours, 80)))))
    assert first.word == word


def test_the_worst_size_counts() -> None:
    first = next(iter(reached(_run(*_blocklist(100, 80), *_blocklist(200, 80, 1000)))))
    assert (first.value, first.word) == ("0.40 (at 1,000)", "missed")


def test_a_size_without_our_figure_is_no_success() -> None:
    missing = Result("blocklist", 1000, "xdptables", failure="took too long")
    first = next(iter(reached(_run(*_blocklist(100, 80), missing, Result("blocklist", 1000, "limit", 80)))))
    assert first.word == "not measured"


@pytest.mark.parametrize(
    ("in_xdp", "own", "word"),
    [(1.0, 50, "met"), (1.0, 90.0, "missed"), (0.4, 5.0, "missed"), (None, 5.0, "missed")],
)
def test_a_program_that_leaves_the_drops_to_netfilter_is_not_cheap(
    in_xdp: float | None, own: float, word: str
) -> None:
    found = Result("mixed", 10_000, "xdptables", 1000, own_ns=own, in_xdp=in_xdp)
    said = next(r for r in reached(_run(found)) if "60 ns" in r.aim.text)
    assert said.word == word


def test_noise_upwards_changes_little() -> None:
    quiet = [100.0 + n / 10 for n in range(30)]
    noisy = quiet[:15] + [time * 3 for time in quiet[15:]]
    assert low(noisy) == pytest.approx(low(quiet), rel=0.01)
    assert spread(noisy) > 1 > spread(quiet)


def test_a_run_can_be_kept(tmp_path: Path) -> None:
    run = _run(*_blocklist(100, 80), Result("mixed", 10, "iptables", failure="why", wrong=True))
    run.save(tmp_path / "deep" / "run.json")
    assert results.read(tmp_path / "deep" / "run.json") == run


def test_the_first_match_decides() -> None:
    net = 0x0B000000
    rules = (
        Rule(True, source=net, length=24, protocol=TCP, dports=((80, 90), (443, 443))),
        Rule(False, source=net, length=8, syn=True, protocol=TCP),
        Rule(False, source=net, length=8, not_source=True, protocol=UDP),
    )
    packets = {
        Packet(net + 7, 1, TCP, 5, 90, SYN): True,
        Packet(net + 7, 1, TCP, 5, 91, SYN): False,
        Packet(net + 7, 1, TCP, 5, 91, ACK): True,
        Packet(net + 256, 1, TCP, 5, 443, SYN): False,
        Packet(net - 1, 1, UDP, 5, 443): False,
        Packet(net, 1, UDP, 5, 443): True,
    }
    assert fates(rules, list(packets)).tolist() == list(packets.values())


def test_a_rule_is_written_as_iptables_reads_it() -> None:
    rule = Rule(False, 0x0B000000, 8, True, number, TCP, ((1, 2),), ((80, 80),), True)
    assert rule.text("INPUT", Family.IPV4) == (
        "-A INPUT ! -s 11.0.0.0/8 -d 192.0.2.1/32 -p tcp -m tcp --sport 1:2 --dport 80"
        " --tcp-flags FIN,SYN,RST,ACK SYN -j DROP"
    )


number = 0xC0000201
