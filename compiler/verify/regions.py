"""A packet for each decision: found by walking the list, avoiding what decides before it.

A packet reaches decision `index` if it meets its cube, no earlier final decision, and no skip over it. The
search starts with the whole cube, takes a packet from it, and where another decision has it, leaves that
one's region by one field, or takes a skip around it; depth first, with a budget. Where that finds none, all
packets of the decision are worked out, if the list is short (reach.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property

from ..decisions.model import DecisionList, Skip
from ..fields import FIELDS, Family
from ..intervals import IntervalSet
from ..matches.condition import Cube, Region
from ..passes.narrow import LOOKED_UP
from .build import PLACE, Spec
from .model import Place
from .planned import Fields, evaluate
from .reach import reaching

#: Packets tried for one decision.
BUDGET = 64
_USUAL = {
    "ttl": 64,
    "sport": 40000,
    "dport": 50000,
    "tcp_flags": 2,
    "mss": 0x10000,
    "spi": 0x1234,
    "length": 60,
}


class Regions:
    """Packets in the regions of one list's decisions."""

    def __init__(self, decisions: DecisionList, place: Place = PLACE, seed: int = 1) -> None:
        self.list, self.place = decisions, place
        self.family = decisions.kind.family
        self.usual = usual(self.family, place)
        self.random = random.Random(f"{seed} {decisions.kind}")

    def sample(self, index: int, budget: int = BUDGET) -> Fields | None:
        """A packet that decision `index` has; None when none was found."""
        found = self._search(index, budget)
        return found if found is not None else self._exactly(index)

    def empty(self, index: int) -> bool:
        """Whether no packet at all comes to decision `index` and matches: proven."""
        if self.reaching is None:
            return False
        return all(self.possible(cube) is None for cube in self.reaching[index])

    @cached_property
    def reaching(self) -> tuple[Region, ...] | None:
        return reaching(self.list)

    def _exactly(self, index: int) -> Fields | None:
        for cube in self.reaching[index] if self.reaching is not None else ():
            possible = self.possible(cube)
            if possible is None:
                continue
            packet = self.inside(possible)
            if index in evaluate(self.list, packet).path:
                return packet
        return None

    def _search(self, index: int, budget: int) -> Fields | None:
        items = self.list.decisions
        start = self.possible(items[index].when)
        todo = [start] if start is not None else []
        while todo and budget:
            budget -= 1
            cube = todo.pop()
            packet = self.inside(cube)
            found = evaluate(self.list, packet)
            if index in found.path:
                return packet
            before = [i for i in found.path if i < index]
            if not before:
                continue
            todo += reversed([*self._around(cube, before, index)])
        return None

    def possible(self, cube: Cube) -> Cube | None:
        """What can be in one packet: ports only under their protocols, and so on."""
        wanted = {n for n in cube.fields if n in _PROTOCOLS}
        protocols = LOOKED_UP if self.list.kind.no_entry else _ALL
        if not wanted and protocols is _ALL:
            return cube
        for name in wanted:
            values = _PROTOCOLS[name]
            allowed = cube.get(name)
            # A field that is not there reads as 0, which may be in the set as well.
            protocols = protocols & values if allowed is not None and 0 not in allowed else protocols
        return cube & (Cube.of({"proto": protocols}) or Cube())

    def _around(self, cube: Cube, before: list[int], index: int) -> Iterator[Cube]:
        """Smaller cubes whose packets are not decided by the last of `before`."""
        items = self.list.decisions
        last = items[before[-1]]
        for name, taken in last.when.sets:
            mine = cube.get(name) or IntervalSet.full(FIELDS[name].width(self.family))
            rest = Cube.of({**dict(cube.sets), name: mine - taken})
            if rest is not None:
                yield rest
        for skip in items[: before[-1]]:
            if isinstance(skip.then, Skip) and before[-1] < skip.then.to <= index:
                both = cube & skip.when
                if both is not None and both != cube:
                    yield both

    def inside(self, cube: Cube) -> Fields:
        """One packet of the cube, with usual values where it leaves the choice."""
        packet = dict(self.usual)
        for name, allowed in cube.sets:
            if packet.get(name, 0) not in allowed:
                packet[name] = self._value(allowed)
        proto = packet["proto"]
        for name, values in _PROTOCOLS.items():
            if proto not in values:
                packet[name] = 0
        return packet

    def _value(self, allowed: IntervalSet) -> int:
        lo, hi = allowed.pairs[0] if len(allowed.pairs) < 3 else self.random.choice(allowed.pairs)
        return lo if self.random.random() < 0.5 else min(hi, lo + self.random.randrange(hi - lo + 1))


def usual(family: Family, place: Place) -> Fields:
    """A SYN to a port that few rules name."""
    import ipaddress

    four = family is Family.IPV4
    return {
        "src": int(ipaddress.ip_address(place.peer4 if four else place.peer6)),
        "dst": int(ipaddress.ip_address(place.own4 if four else place.own6)),
        "proto": 6, "icmp": 0x0800 if four else 0x8000, "tos": 0, "exthdr": 0, "pkttype": 0,
        "mac_src": int(place.peer_mac.replace(":", ""), 16), **_USUAL,
    }  # fmt: skip


def beside(cube: Cube, family: Family) -> Iterator[tuple[str, int]]:
    """Each boundary of each field: the ends of its intervals, and one beside each."""
    for name, allowed in cube.sets:
        top = (1 << FIELDS[name].width(family)) - 1
        pairs = allowed.pairs if len(allowed.pairs) <= 6 else (*allowed.pairs[:5], allowed.pairs[-1])
        for lo, hi in pairs:
            for value in dict.fromkeys((lo, hi, lo - 1, hi + 1)):
                if 0 <= value <= top:
                    yield name, value


def spec_of(packet: Fields) -> Spec:
    """For `build`: the length only where it is not the usual one, since it seldom matters."""
    spec = dict(packet)
    if spec.get("length") == _USUAL["length"]:
        del spec["length"]
    return spec


def _set(*values: int) -> IntervalSet:
    return IntervalSet.of(*values)


_ALL = IntervalSet.full(8)
#: Fields that only some protocols have; in others they read as 0.
_PROTOCOLS = {
    "sport": _set(6, 17, 33, 132, 136),
    "dport": _set(6, 17, 33, 132, 136),
    "icmp": _set(1, 58),
    "tcp_flags": _set(6),
    "mss": _set(6),
    "spi": _set(50, 51),
}
