"""Random decision lists, what they answer by their own definition, and packets at their bounds."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from xdptables.decisions.model import Accept, Cause, Decision, DecisionList, Drop, Skip, Undecided
from xdptables.emit.outcome import PASS
from xdptables.emit.plan import Plan
from xdptables.fields import FIELDS, Family
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Cube
from xdptables.matches.view import Kind

KINDS = {family: tuple(k for k in Kind if k.family is family) for family in Family}
#: Prefixes are drawn around these, so that they nest and meet.
_AROUND = {
    32: (0xC0A80000, 0x0A000000, 0x0A000100, 0xFFFFFF00),
    128: (0x20010DB8 << 96, (0x20010DB8 << 96) + (5 << 64)),
}


def random_set(r: random.Random, bits: int) -> IntervalSet:
    top = (1 << bits) - 1
    kind = r.random()
    if kind < 0.5:
        length = r.choice((bits, bits, r.randint(max(0, bits - 16), bits), r.randint(0, bits)))
        near = r.choice(_AROUND[bits]) if bits in _AROUND else r.getrandbits(bits)
        return IntervalSet.prefix(near ^ r.getrandbits(min(bits, 12)), length, bits)
    if kind < 0.7:
        return IntervalSet.of(*(r.getrandbits(bits) for _ in range(r.randint(1, 5))))
    if kind < 0.8:
        ends = [sorted((r.getrandbits(bits), r.getrandbits(bits))) for _ in range(2)]
        return IntervalSet.union_of((lo, hi) for lo, hi in ends)
    if kind < 0.9:
        return IntervalSet.of(r.getrandbits(bits)).complement(bits)
    low = r.choice((0, r.getrandbits(bits), max(0, top - 40)))
    return IntervalSet.range(low, min(top, low + r.randint(0, 50)))


def random_list(
    r: random.Random, kind: Kind, count: int, fields: Sequence[str], skips: float = 0.05, local: bool = True
) -> DecisionList:
    decisions = []
    for i in range(count):
        sets = {}
        for name in r.sample(fields, r.randint(0 if count < 20 else 1, min(3, len(fields)))):
            s = random_set(r, FIELDS[name].width(kind.family))
            if s:
                sets[name] = s
        when = Cube.of(sets)
        assert when is not None
        drop = Drop(Cause(kind.value, f"C{i}"), local and r.random() < 0.5, True)
        kind_of = r.random()
        if kind_of < skips:
            decisions.append(Decision(when, Skip(min(count, i + r.choice((1, 2, 5, 40, count))))))
        elif kind_of > 0.6:
            decisions.append(Decision(when, r.choice((Accept(None), Undecided("why", None)))))
        elif sets and r.random() < 0.3:
            name = r.choice(sorted(sets))
            decisions.append(Decision(when, drop, name, tuple(_pieces(r, sets[name], f"{kind.value} S{i}"))))
        else:
            decisions.append(Decision(when, drop))
    return DecisionList(kind, tuple(decisions))


def stretched_list(
    r: random.Random, kind: Kind, count: int, fields: Sequence[str], long: int, local: bool = True
) -> DecisionList:
    """Skips lead to few places, so that stretches between them reach `long` decisions, from which on tables
    move them: skips in front of such a stretch, into its middle, past it, and out of it.

    Values are drawn from a pool, so that a packet meets decisions that limit other fields than each other."""
    cuts = [0]
    while cuts[-1] < count:
        cuts.append(cuts[-1] + r.choice((1, 5, 40, long - 1, long, long + r.randint(1, long))))
    cuts[-1] = count
    pools = {name: _pool(r, FIELDS[name].width(kind.family), long) for name in fields}
    decisions = []
    for i in range(count):
        names = r.sample(fields, r.randint(1, min(3, len(fields))))
        when = Cube.of({name: r.choice(pools[name]) for name in names})
        assert when is not None
        drop = Drop(Cause(kind.value, f"C{i}"), local and r.random() < 0.5, True)
        kind_of = r.random()
        if kind_of < 0.015:
            if r.random() < 0.3:
                when = _wide(r, r.choice(fields), kind.family)
            ahead = [c for c in cuts if c > i]
            decisions.append(Decision(when, Skip(r.choice((*ahead[:3], r.choice(ahead))))))
        elif kind_of > 0.6:
            decisions.append(Decision(when, r.choice((Accept(None), Undecided("why", None)))))
        elif kind_of > 0.5:
            name, s = r.choice(when.sets)
            decisions.append(Decision(when, drop, name, tuple(_pieces(r, s, f"{kind.value} S{i}"))))
        else:
            decisions.append(Decision(when, drop))
    return DecisionList(kind, tuple(decisions))


def _pool(r: random.Random, bits: int, size: int) -> list[IntervalSet]:
    """Values, some with their neighbours in the pool, some in pairs."""
    values = sorted({r.getrandbits(bits) for _ in range(min(size, 1 << bits))})
    singles = [IntervalSet.of(v) for v in values]
    pairs = [IntervalSet.of(*r.sample(values, min(2, len(values)))) for _ in range(size // 10)]
    ranges = [IntervalSet.range(lo, hi) for lo, hi in pairwise(values[: size // 10])]
    return [*singles, *pairs, *ranges]


def _wide(r: random.Random, name: str, family: Family) -> Cube:
    """About half of all packets."""
    bits = FIELDS[name].width(family)
    half = IntervalSet.range(0, r.getrandbits(bits))
    return Cube(((name, half if r.random() < 0.5 else IntervalSet.of(r.getrandbits(bits)).complement(bits)),))


def _pieces(r: random.Random, s: IntervalSet, name: str) -> Iterator[tuple[int, int, Cause]]:
    for lo, hi in s.pairs:
        middle = r.randint(lo, hi)
        yield lo, middle, Cause(name, f"{lo}")
        if middle < hi:
            yield middle + 1, hi, Cause(name, f"{lo} above")


def answer(decisions: DecisionList, packet: Mapping[str, int], plan: Plan) -> int:
    """By the definition: the first that matches."""
    at, items = 0, decisions.decisions
    while at < len(items):
        decision = items[at]
        if not all(packet.get(name, 0) in s for name, s in decision.when.sets):
            at += 1
            continue
        then = decision.then
        if isinstance(then, Skip):
            at = then.to
            continue
        if not isinstance(then, Drop):
            return PASS
        cause = then.cause
        if decision.split:
            value = packet.get(decision.split_field, 0)
            cause = next(c for lo, hi, c in decision.split if lo <= value <= hi)
        return plan.coder.code(then, cause)
    return PASS


def packets(r: random.Random, lists: Sequence[DecisionList], count: int) -> Iterator[dict[str, int]]:
    """Values just inside and outside of intervals; most packets meet some decision in all its fields."""
    values = _bounds(lists)
    everything = [d for x in lists for d in x.decisions]
    for _ in range(count):
        packet = {name: r.choice(found) for name, found in values.items()}
        if everything and r.random() < 0.7:
            packet |= _met(r, r.choice(everything))
        yield packet


def every_bound(r: random.Random, lists: Sequence[DecisionList]) -> Iterator[dict[str, int]]:
    """For every decision and each of its intervals and pieces four packets: the first and the last value
    inside and what is next to them outside, the other fields as the decision wants them."""
    values = _bounds(lists)
    for decisions in lists:
        for decision in decisions.decisions:
            for name, lo, hi in _intervals(decision):
                top = (1 << FIELDS[name].width(decisions.kind.family)) - 1
                for value in (lo - 1, lo, hi, hi + 1):
                    if 0 <= value <= top:
                        packet = {n: r.choice(found) for n, found in values.items()}
                        yield packet | _met(r, decision) | {name: value}


def _intervals(decision: Decision) -> list[tuple[str, int, int]]:
    ends = [(name, *pair) for name, s in decision.when.sets for pair in s.pairs]
    return ends + [(decision.split_field, lo, hi) for lo, hi, _ in decision.split]


def _bounds(lists: Sequence[DecisionList]) -> dict[str, list[int]]:
    pool: dict[str, set[int]] = {}
    for decisions in lists:
        for decision in decisions.decisions:
            for name, lo, hi in _intervals(decision):
                top = (1 << FIELDS[name].width(decisions.kind.family)) - 1
                near = {lo - 1, lo, lo + 1, hi - 1, hi, hi + 1}
                pool.setdefault(name, set()).update(v for v in near if 0 <= v <= top)
    return {name: sorted(found) for name, found in sorted(pool.items())}


def _met(r: random.Random, decision: Decision) -> dict[str, int]:
    chosen = {name: r.choice(s.pairs) for name, s in decision.when.sets}
    return {name: r.choice((lo, hi, r.randint(lo, hi))) for name, (lo, hi) in chosen.items()}
