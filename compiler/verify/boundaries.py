"""Fields' values from a ruleset's own: for each rule what fits it, its neighbours at every boundary of every
interval, and a seeded mix of the values of all rules."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

from ..fields import FIELDS, Family
from ..intervals import IntervalSet
from ..rules.model import Option, Rule, Ruleset
from .build import PLACE, Spec, build
from .model import Frame, Place

_FIELD_OF = {
    "-s": "src", "-d": "dst", "--src-range": "src", "--dst-range": "dst", "-p": "proto",
    "--sport": "sport", "--sports": "sport", "--dport": "dport", "--dports": "dport", "--ports": "dport",
    "--icmp-type": "icmp", "--icmpv6-type": "icmp", "--ttl-eq": "ttl", "--ttl-lt": "ttl", "--ttl-gt": "ttl",
    "--hl-eq": "ttl", "--hl-lt": "ttl", "--hl-gt": "ttl", "--tos": "tos", "--dscp": "tos",
    "--length": "length", "--ahspi": "spi", "--espspi": "spi", "--mac-source": "mac_src",
    "--mss": "mss", "--tcp-flags": "tcp_flags", "--syn": "tcp_flags", "--pkt-type": "pkttype",
}  # fmt: skip
_MIX = 300
_INTERVALS = 6  # of one option's set: the first ones and the last


def boundary_frames(
    rulesets: Iterable[Ruleset], place: Place = PLACE, limit: int = 3000, seed: int = 1
) -> tuple[Frame, ...]:
    """At most `limit` frames, the same ones for the same rules."""
    found: dict[bytes, str] = {}
    for ruleset in rulesets:
        for name, spec in boundary_specs(ruleset, seed):
            found.setdefault(build(ruleset.family, spec, place), name)
            if len(found) >= limit:
                break
    return tuple(Frame(name, data) for data, name in found.items())


def boundary_specs(ruleset: Ruleset, seed: int = 1) -> Iterator[tuple[str, Spec]]:
    pool: dict[str, set[int]] = {}
    for rule in ruleset.rules():
        for label, spec in _of_rule(rule, ruleset.family, pool):
            yield f"{rule.chain} {rule.number}: {label}", spec
    # Only now the mix, so that no rule goes without.
    for label, spec in _mix(pool, random.Random(seed)):
        yield f"{ruleset.family} {label}", spec


def _of_rule(rule: Rule, family: Family, pool: dict[str, set[int]]) -> Iterator[tuple[str, Spec]]:
    base: Spec = {}
    edges: dict[str, list[int]] = {}
    for match in rule.matches:
        for option in match.options:
            field = _FIELD_OF.get(option.name)
            if field is None:
                continue
            values = [v for v in _edges(option, field, family) if 0 <= v < 1 << FIELDS[field].width(family)]
            if not values:
                continue
            fits = [v for v in values if _holds(option, v) != option.negated]
            if option.name == "--dscp":
                values, fits = [v << 2 & 0xFF for v in values], [v << 2 & 0xFF for v in fits]
            edges.setdefault(field, []).extend(values)
            pool.setdefault(field, set()).update(values)
            base[field] = (fits or values)[0]
            if option.name == "--ports":
                edges.setdefault("sport", []).extend(values)
    yield "fits", base
    for field, values in edges.items():
        for value in dict.fromkeys(values):
            yield f"{field} {value:#x}", {**base, field: value}
    for field, value in (("proto", 6), ("proto", 17), ("proto", 1 if family is Family.IPV4 else 58)):
        yield f"{field} {value}", {**base, field: value}


def _mix(pool: dict[str, set[int]], rng: random.Random) -> Iterator[tuple[str, Spec]]:
    choices = {field: sorted(values) for field, values in sorted(pool.items())}
    for number in range(_MIX if choices else 0):
        spec = {f: rng.choice(values) for f, values in choices.items() if rng.random() < 0.8}
        yield f"mix {number}", spec


def _edges(option: Option, field: str, family: Family) -> list[int]:
    value = option.value
    if isinstance(value, IntervalSet):
        pairs = value.pairs
        if len(pairs) > _INTERVALS:
            pairs = (*pairs[: _INTERVALS - 1], pairs[-1])
        return [v for lo, hi in pairs for v in (lo, hi, lo - 1, hi + 1, (lo + hi) // 2)]
    if option.name == "--syn":
        value = (0x17, 0x02)
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int) for v in value):
        first, second = value
        mask, wanted = (first, second) if field == "tcp_flags" else (second, first)
        top = 0xFF
        single = [wanted ^ 1 << b for b in range(8) if mask >> b & 1]
        return [wanted, wanted | ~mask & top, ~wanted & top, 0, *single]
    if isinstance(value, int):
        return [value, value - 1, value + 1]
    return []


def _holds(option: Option, candidate: int) -> bool:
    value: Any = option.value
    if isinstance(value, IntervalSet):
        return candidate in value
    if option.name == "--syn":
        value = (0x17, 0x02)
    if isinstance(value, tuple):
        first, second = value
        held = candidate & first == second if option.name in ("--tcp-flags", "--syn") else None
        return bool(candidate & second == first if held is None else held)
    if option.name.endswith("-lt"):
        return bool(candidate < value)
    if option.name.endswith("-gt"):
        return bool(candidate > value)
    return bool(candidate == value)
