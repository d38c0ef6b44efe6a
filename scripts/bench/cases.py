"""The workloads: each is rules and packets, at some sizes, all from one seed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdptables.fields import Family

from . import packets, rules
from .frames import Packet, frame
from .packets import Traffic
from .rules import Rule

SEED = 20_260_101
SIZES = (10, 100, 1_000, 10_000)
QUICK_SIZES = (10, 1_000)
ACCEPTED_SIZE = 20
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Case:
    """What all contestants get alike. `lines`: the rules of INPUT; `blocked`: sources, for a blocklist.

    `timed`, `drop` and `passing` are frames: 4,096 for the clock; those that must be dropped and those that
    must come through, for the gate. `share`: how much of `timed` comes through. `visits`: times in a round.
    """

    workload: str
    size: int
    family: Family
    lines: tuple[str, ...]
    policy: str
    blocked: tuple[str, ...]
    timed: tuple[bytes, ...]
    drop: tuple[bytes, ...]
    passing: tuple[bytes, ...]
    share: float
    connections: tuple[Packet, ...] = ()
    visits: int = 1


@dataclass(frozen=True, slots=True)
class Workload:
    key: str
    title: str
    family: Family
    make: Callable[[int, Family, random.Random], Case]
    sizes: tuple[int, ...] = SIZES

    def case(self, size: int) -> Case:
        return self.make(size, self.family, random.Random(f"{SEED} {self.key} {size}"))


def _case(
    workload: str, family: Family, listed: Sequence[Rule], traffic: Traffic, blocked: Sequence[int] = ()
) -> Case:
    return _with_lines(
        workload,
        len(listed),
        family,
        tuple(rule.text("INPUT", family) for rule in listed),
        "ACCEPT",
        traffic,
        tuple(rules.address(source, family) for source in blocked),
    )


def _with_lines(
    workload: str, size: int, family: Family, lines: tuple[str, ...], policy: str, traffic: Traffic,
    blocked: tuple[str, ...] = (), connections: tuple[Packet, ...] = (),
) -> Case:  # fmt: skip
    drop = tuple(frame(p, family, drop=True) for p in traffic.timed_drop)
    timed_pass = tuple(frame(p, family, drop=False) for p in traffic.timed_pass)
    passing = (*timed_pass, *(frame(p, family, drop=False) for p in traffic.gate_pass))
    timed = [*drop, *timed_pass]
    if len(set(timed)) != packets.COUNT:
        raise ValueError(f"{workload}: {len(set(timed))} different frames")
    random.Random(size).shuffle(timed)  # a branch predictor learns an order
    share = len(timed_pass) / len(timed)
    return Case(
        workload, size, family, lines, policy, blocked, tuple(timed), drop, passing, share, connections
    )  # fmt: skip


def _blocklist(size: int, family: Family, rng: random.Random) -> Case:
    listed = rules.blocklist(size, family, rng)
    sources = [rule.source for rule in listed if rule.source is not None]
    name = "blocklist" if family is Family.IPV4 else "blocklist6"
    return _case(name, family, listed, packets.for_blocklist(listed, family, rng), sources)


def _mixed(size: int, family: Family, rng: random.Random) -> Case:
    listed = rules.mixed(size, family, rng)
    name = "mixed" if family is Family.IPV4 else "mixed6"
    return _case(name, family, listed, packets.for_mixed(listed, family, rng))


def _accepted(size: int, family: Family, rng: random.Random) -> Case:
    listed = rules.mixed(size, family, rng)
    case = _case("accepted", family, listed, packets.all_accepted(listed, family, rng))
    return dataclasses.replace(case, visits=5)  # its aim asks for a difference of few percent


def _stateful(size: int, family: Family, rng: random.Random) -> Case:
    flows = packets.connections(CONNECTIONS, family, rng)
    traffic = packets.for_default_deny(family, flows, rng)
    lines = rules.default_deny()
    return _with_lines("stateful", size, family, lines, "DROP", traffic, connections=flows)


WORKLOADS = (
    Workload("blocklist", "blocklist: all from listed sources, all dropped", Family.IPV4, _blocklist),
    Workload("mixed", "mixed ACL: half accepted, half dropped", Family.IPV4, _mixed),
    Workload(
        "stateful", "stateful default deny: a SYN flood to closed ports", Family.IPV4, _stateful,
        (len(rules.default_deny()),),
    ),
    Workload("accepted", "all accepted", Family.IPV4, _accepted, (ACCEPTED_SIZE,)),
    Workload("blocklist6", "IPv6 blocklist", Family.IPV6, _blocklist, (1_000, 10_000)),
    Workload("mixed6", "IPv6 mixed ACL", Family.IPV6, _mixed, (1_000, 10_000)),
)  # fmt: skip
