"""Random decision lists, what they answer by their own definition, and packets at their bounds."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

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
    pool: dict[str, set[int]] = {}
    for decisions in lists:
        for decision in decisions.decisions:
            ends = [(n, *p) for n, s in decision.when.sets for p in s.pairs]
            ends += [(decision.split_field, lo, hi) for lo, hi, _ in decision.split]
            for name, lo, hi in ends:
                top = (1 << FIELDS[name].width(decisions.kind.family)) - 1
                near = {lo - 1, lo, lo + 1, hi - 1, hi, hi + 1}
                pool.setdefault(name, set()).update(v for v in near if 0 <= v <= top)
    values = {name: sorted(found) for name, found in sorted(pool.items())}
    everything = [d for x in lists for d in x.decisions]
    for _ in range(count):
        packet = {name: r.choice(found) for name, found in values.items()}
        if everything and r.random() < 0.7:
            for name, s in r.choice(everything).when.sets:
                lo, hi = r.choice(s.pairs)
                packet[name] = r.choice((lo, hi, r.randint(lo, hi)))
        yield packet
