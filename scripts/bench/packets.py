"""4,096 different packets for each case, with the fate that the rules give each of them.

The fate is worked out here, from the rules as data, by a first-match search of its own; the gate holds it
against what each contestant does, netfilter among them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xdptables.fields import Family

from .frames import ACK, SYN, TCP, UDP, Packet, number
from .rules import OPEN_PORTS, SERVER, Ports, Rule, random_source

COUNT = 4096
_CANDIDATES = 4 * COUNT
_ONES = {Family.IPV4: 32, Family.IPV6: 128}

Column = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Traffic:
    """`timed`: 4,096 different packets; the others are sent by the gate only."""

    timed_drop: tuple[Packet, ...]
    timed_pass: tuple[Packet, ...]
    gate_pass: tuple[Packet, ...] = ()


def for_blocklist(rules: Sequence[Rule], family: Family, rng: random.Random) -> Traffic:
    """All from listed sources, each as often as any other; the gate also tries sources not listed."""
    listed = {rule.source for rule in rules if rule.source is not None}
    order = rng.sample(sorted(listed), len(listed))
    timed = _different(lambda n: _any_packet(order[n % len(order)], family, rng), COUNT)
    free = (s for s in iter(lambda: random_source(rng, family), None) if s not in listed)
    return Traffic(timed, (), tuple(_any_packet(next(free), family, rng) for _ in range(64)))


def for_mixed(rules: Sequence[Rule], family: Family, rng: random.Random) -> Traffic:
    """Half accepted, half dropped, spread over all rules; some of them match none."""

    def candidate(_: int) -> Packet:
        return _aimed_at(rng.choice(rules), family, rng) if rng.random() < 0.9 else _stranger(family, rng)

    packets = _different(candidate, _CANDIDATES)
    accepted = fates(rules, packets)
    passes = [p for p, fate in zip(packets, accepted, strict=True) if fate]
    drops = [p for p, fate in zip(packets, accepted, strict=True) if not fate]
    half = COUNT // 2
    if min(len(passes), len(drops)) < half:
        raise ValueError(
            f"only {len(passes)} accepted and {len(drops)} dropped packets for {len(rules)} rules"
        )
    return Traffic(tuple(drops[:half]), tuple(passes[:half]))


def all_accepted(rules: Sequence[Rule], family: Family, rng: random.Random) -> Traffic:
    """What a list lets through, four in five by one of its rules where it has accepting ones."""

    def candidate(_: int) -> Packet:
        return _aimed_at(rng.choice(rules), family, rng) if rng.random() < 0.8 else _stranger(family, rng)

    packets = _different(candidate, _CANDIDATES)
    accepted = fates(rules, packets)
    return Traffic((), tuple(p for p, fate in zip(packets, accepted, strict=True) if fate)[:COUNT])


def for_default_deny(family: Family, established: Sequence[Packet], rng: random.Random) -> Traffic:
    """A flood of SYNs from everywhere to closed ports. The gate also sends what belongs to connections, and
    SYNs to open ports."""

    def syn(port: int) -> Packet:
        source, to = random_source(rng, family), number(rng.choice(SERVER[family]))
        return Packet(source, to, TCP, rng.randrange(1024, 65536), port, SYN)

    closed = [port for port in range(1, 65536) if port not in OPEN_PORTS]
    flood = _different(lambda _: syn(rng.choice(closed)), COUNT)
    opening = tuple(syn(rng.choice(OPEN_PORTS)) for _ in range(32))
    return Traffic(flood, (), (*established, *opening))


def connections(count: int, family: Family, rng: random.Random) -> tuple[Packet, ...]:
    """A packet of each of some established connections, to ports that the rules would not open."""
    return tuple(
        Packet(
            random_source(rng, family),
            number(SERVER[family][0]),
            TCP,
            rng.randrange(1024, 65536),
            9000 + n,
            ACK,
        )
        for n in range(count)
    )


def fates(rules: Sequence[Rule], packets: Sequence[Packet]) -> Mask:
    """True: accepted. The first rule that matches decides; the policy accepts."""
    columns = _Columns(packets)
    fate = np.ones(len(packets), dtype=np.bool_)
    open_ = np.ones(len(packets), dtype=np.bool_)
    for rule in rules:
        hit = open_ & columns.match(rule)
        if not rule.accept:
            fate[hit] = False
        open_ &= ~hit
    return fate


class _Columns:
    """The fields of many packets; an address is two words, as IPv6 needs them."""

    def __init__(self, packets: Sequence[Packet]) -> None:
        self.ones = 128 if any(p.destination >> 32 for p in packets) else 32
        self.source_high = _column([p.source >> 64 for p in packets])
        self.source_low = _column([p.source & _LOW for p in packets])
        self.destination_low = _column([p.destination & _LOW for p in packets])
        self.protocol = _column([p.protocol for p in packets])
        self.sport = _column([p.sport for p in packets])
        self.dport = _column([p.dport for p in packets])
        self.flags = _column([p.flags for p in packets])

    def match(self, rule: Rule) -> Mask:
        found: Mask = np.ones(len(self.sport), dtype=np.bool_)
        if rule.source is not None:
            mask = (1 << self.ones) - (1 << (self.ones - rule.length))
            found = (self.source_low & np.uint64(mask & _LOW)) == np.uint64(rule.source & _LOW)
            if self.ones == 128:
                found &= (self.source_high & np.uint64(mask >> 64)) == np.uint64(rule.source >> 64)
            if rule.not_source:
                found = ~found
        if rule.destination is not None:  # the server's addresses differ in the low word
            found &= self.destination_low == np.uint64(rule.destination & _LOW)
        if rule.protocol:
            found &= self.protocol == rule.protocol
        for ports, column in ((rule.sports, self.sport), (rule.dports, self.dport)):
            if ports:
                found &= _within(column, ports)
        if rule.syn:
            found &= (self.flags & np.uint64(0x17)) == SYN
        return found


_LOW = (1 << 64) - 1


def _column(values: list[int]) -> Column:
    return np.array(values, dtype=np.uint64)


def _within(column: Column, ports: Ports) -> Mask:
    found: Mask = np.zeros(len(column), dtype=np.bool_)
    for low, high in ports:
        found |= (column >= low) & (column <= high)
    return found


def _different(make: Callable[[int], Packet], count: int) -> tuple[Packet, ...]:
    found: dict[Packet, None] = {}
    for attempt in range(50 * count):
        found[make(attempt)] = None
        if len(found) == count:
            return tuple(found)
    raise ValueError(f"no {count} different packets: the rules leave too little room")


def _any_packet(source: int, family: Family, rng: random.Random) -> Packet:
    protocol = rng.choice((TCP, UDP))
    return Packet(
        source,
        number(rng.choice(SERVER[family])),
        protocol,
        *(rng.randrange(1024, 65536), rng.randrange(1024, 65536)),
        rng.choice((SYN, ACK)) if protocol == TCP else 0,
    )


def _stranger(family: Family, rng: random.Random) -> Packet:
    return _any_packet(random_source(rng, family), family, rng)


def _aimed_at(rule: Rule, family: Family, rng: random.Random) -> Packet:
    """A packet that the rule matches, though one before it may match as well."""
    base = _stranger(family, rng)
    source = base.source
    if rule.source is not None and not rule.not_source:
        source = rule.source | rng.getrandbits(128) & ((1 << (_ONES[family] - rule.length)) - 1)
    protocol = rule.protocol or base.protocol
    return Packet(
        source,
        base.destination if rule.destination is None else rule.destination,
        protocol,
        _port(rule.sports, base.sport, rng),
        _port(rule.dports, base.dport, rng),
        (SYN if rule.syn else rng.choice((SYN, ACK))) if protocol == TCP else 0,
    )


def _port(ports: Ports, otherwise: int, rng: random.Random) -> int:
    return rng.randint(*rng.choice(ports)) if ports else otherwise
