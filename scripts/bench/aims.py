"""The aims, and what a run reached of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .cases import ACCEPTED_SIZE
from .contestants import IPTABLES, LIMIT, XDP_FILTER, XDPTABLES
from .noise import TIE
from .results import Run

#: What was reached, and where; or why it was not, in words; None: not measured.
Figure = Callable[[Run], tuple[float, str] | str | None]


@dataclass(frozen=True, slots=True)
class Aim:
    """`at_least`: more is better; else less is. `noise`: how far a figure may lie on the wrong side by
    chance; None: as far as any ratio of two times may."""

    workload: str
    text: str
    bound: float
    at_least: bool
    figure: Figure
    form: str = "{:.2f}"
    noise: float | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    aim: Aim
    value: str
    word: str  # met, close (within what the noise may do), missed, not measured


def reached(run: Run) -> Iterator[Reached]:
    for aim in AIMS:
        found = aim.figure(run)
        if found is None:
            yield Reached(aim, "-", "not measured")
            continue
        if isinstance(found, str):
            yield Reached(aim, found, "missed")
            continue
        value, where = found
        good = value >= aim.bound if aim.at_least else value <= aim.bound
        noise = aim.bound * TIE if aim.noise is None else aim.noise
        near = value >= aim.bound - noise if aim.at_least else value <= aim.bound + noise
        word = "met" if good else "within the noise" if near else "missed"
        yield Reached(aim, aim.form.format(value) + (f" ({where})" if where else ""), word)


def _speed(workload: str, rival: str, sizes: Callable[[Run], list[int]]) -> Figure:
    """The rate of xdptables over that of a rival, at the worst of the sizes."""

    def figure(run: Run) -> tuple[float, str] | None:
        found = []
        for size in sizes(run):
            ours, theirs = run.ns(workload, size, XDPTABLES), run.ns(workload, size, rival)
            if theirs is None:
                continue
            if ours is None:
                return None
            found.append((theirs / ours, f"at {size:,}"))
        return min(found, default=None)

    return figure


def _all_of(workload: str) -> Callable[[Run], list[int]]:
    return lambda run: run.sizes(workload)


def _only(size: int) -> Callable[[Run], list[int]]:
    return lambda _: [size]


def _own(run: Run, size: int) -> float | str | None:
    """Of a program that does its work: to leave the drops to netfilter costs nothing."""
    found = run.get("mixed", size, XDPTABLES)
    if not found or found.own_ns is None:
        return None
    if not found.in_xdp or found.in_xdp < 0.99:
        return f"{100 * (found.in_xdp or 0):.0f} % of the drops in XDP at {size:,}"
    return found.own_ns


def _own_cost(run: Run) -> tuple[float, str] | str | None:
    own = _own(run, 10_000)
    return own if own is None or isinstance(own, str) else (own, "")


def _own_growth(run: Run) -> tuple[float, str] | str | None:
    small, large = _own(run, 100), _own(run, 10_000)
    if small is None or isinstance(small, str):
        return small
    if large is None or isinstance(large, str):
        return large
    return (large / small, "") if small > 0 else None


def _slowdown(run: Run) -> tuple[float, str] | None:
    ours, without = (run.ns("accepted", ACCEPTED_SIZE, key) for key in (XDPTABLES, IPTABLES))
    return (100 * (ours / without - 1), "") if ours and without else None


def _ipv6(workload: str) -> Figure:
    def figure(run: Run) -> tuple[float, str] | None:
        found = []
        for size in run.sizes(f"{workload}6"):
            four, six = (run.ns(w, size, XDPTABLES) for w in (workload, f"{workload}6"))
            if four is None or six is None:
                return None
            found.append((six / four, f"at {size:,}"))
        return max(found, default=None)

    return figure


AIMS = (
    Aim("blocklist", "of parse-and-drop, at least 0.75, at any size", 0.75, True,
        _speed("blocklist", LIMIT, _all_of("blocklist"))),
    Aim("blocklist", "x xdp-filter, at least 1.1, at any size", 1.1, True,
        _speed("blocklist", XDP_FILTER, _all_of("blocklist"))),
    Aim("blocklist", "x iptables, at least 80, at 10,000 rules", 80, True,
        _speed("blocklist", IPTABLES, _only(10_000)), "{:.0f}"),
    Aim("mixed ACL", "own cost at 10,000 rules, at most 60 ns over an empty program", 60, False,
        _own_cost, "{:.0f} ns"),
    Aim("mixed ACL", "own cost at 10,000 rules, at most 1.3 x that at 100", 1.3, False, _own_growth),
    Aim("stateful", "x iptables, at least 8", 8, True, _speed("stateful", IPTABLES, _all_of("stateful"))),
    Aim("all accepted", "slower than no program, at most 5 %, at 20 rules", 5, False,
        _slowdown, "{:.1f} %", 1),
    Aim("IPv6 blocklist", "x the time of IPv4, at most 1.5", 1.5, False, _ipv6("blocklist")),
    Aim("IPv6 mixed ACL", "x the time of IPv4, at most 1.5", 1.5, False, _ipv6("mixed")),
)  # fmt: skip
