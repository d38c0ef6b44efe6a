"""Four times the rules take about four times as long, whatever they look like; a quadratic step, sixteen."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from xdptables.fields import Family
from xdptables.host.facts import ASSUMPTIONS
from xdptables.loading import slots_of
from xdptables.pipeline import Compiled, compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
import generated_rules

SMALL, TIMES, MOST, TRIES = 600, 4, 8.0, 6
_PLAIN = ASSUMPTIONS["plain"]
HOST = replace(_PLAIN, interface=replace(_PLAIN.interface, name="eth0"))


def source(i: int) -> str:
    return f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32"


def table(rules: Iterable[str], chains: Iterable[str] = ()) -> str:
    return "\n".join(["*filter", ":INPUT ACCEPT [0:0]", *chains, *rules, "COMMIT", ""])


def returns(count: int) -> str:
    """Each rule leaves the chain: a skip over all that follow."""
    rules = [f"-A LIST -s {source(i)} -j RETURN" for i in range(count)]
    return table([*rules, "-A LIST -j DROP", "-A INPUT -p tcp -j LIST"], [":LIST - [0:0]"])


def chains(count: int) -> str:
    """Each rule calls a chain of its own."""
    names = [f":C{i} - [0:0]" for i in range(count // 2)]
    calls = [f"-A INPUT -s {source(i)} -j C{i}" for i in range(count // 2)]
    return table([*calls, *(f"-A C{i} -p udp -j DROP" for i in range(count // 2))], names)


def stateful(count: int) -> str:
    """Behind a gate: the drops are asked in the list for packets without a connection."""
    gate = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    rules = [f"-A INPUT -s {source(i)} -p tcp -m tcp --dport {i % 65535 + 1} -j DROP" for i in range(count)]
    return table([gate, *rules, "-A INPUT -m conntrack --ctstate INVALID -j DROP"])


def undecided(count: int) -> str:
    """Each second rule is left to netfilter, and stands before a drop of the same packets."""
    rules = (f"-A INPUT -s {source(i // 2)} -j {('LOG', 'DROP')[i % 2]}" for i in range(count))
    return table(rules)


SHAPES: tuple[Callable[[int], str], ...] = (
    generated_rules.drops, generated_rules.mixed, returns, chains, stateful, undecided,
)  # fmt: skip


def compiled(text: str) -> Compiled:
    return compile_rules(read_rulesets(Source("rules", text), Family.IPV4), HOST)


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        gc.enable()


def grows(small: Callable[[], object], large: Callable[[], object]) -> None:
    ratios = []
    for _ in range(TRIES):
        # The machine is noisy in bursts: small, large, small, so that a burst meets both.
        before, long, after = seconds(small), seconds(large), seconds(small)
        ratios.append(long / min(before, after))
        if ratios[-1] < MOST:
            return
    raise AssertionError(f"{TIMES} times the rules take {min(ratios):.1f} times as long")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_four_times_the_rules(shape: Callable[[int], str]) -> None:
    small, large = shape(SMALL), shape(SMALL * TIMES)
    grows(lambda: compiled(small).report.to_data(), lambda: compiled(large).report.to_data())


def test_what_load_keeps_of_four_times_the_rules() -> None:
    small, large = (compiled(generated_rules.mixed(SMALL * n)).plan for n in (2, 2 * TIMES))
    grows(lambda: slots_of(small), lambda: slots_of(large))
