"""From a failing trial to the fewest rules and events that still show it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from fuzz.case import Case
from fuzz.rulesets import Rule, Rules, Table

T = TypeVar("T")
Fails = Callable[[Case], bool]


def shrink(case: Case, fails: Fails, seconds: float = 120) -> Case:
    """`fails`: does this case show the same kind of disagreement? Never a larger case; the same one where
    nothing can be left out, or where it fails now and then only."""
    until = time.monotonic() + seconds

    def still(candidate: Case) -> bool:
        return time.monotonic() < until and fails(candidate)

    for _ in range(3):
        before = case
        case = _fewer_events(case, still)
        case = _fewer_rules(case, still)
        if case == before or time.monotonic() > until:
            break
    return case


def _fewer_events(case: Case, still: Fails) -> Case:
    fewest = _fewest(case.events, lambda events: still(replace(case, events=tuple(events))))
    return replace(case, events=tuple(fewest))


def _fewest(items: Sequence[T], holds: Callable[[Sequence[T]], bool]) -> list[T]:
    """Zeller's ddmin, by leaving parts out only."""
    kept, parts = list(items), 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            candidate = kept[:start] + kept[start + size :]
            if holds(candidate):
                kept, parts = candidate, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(kept))
    if len(kept) == 1 and holds([]):
        return []
    return kept


def _fewer_rules(case: Case, still: Fails) -> Case:
    changed = True
    while changed:
        changed = False
        for simpler in _simpler(case.rulesets):
            candidate = replace(case, rulesets=simpler)
            if still(candidate):
                case, changed = candidate, True
                break
    return case


def _simpler(rulesets: tuple[Rules, ...]) -> Iterator[tuple[Rules, ...]]:
    """Each a step smaller, the largest steps first."""
    for at, rules in enumerate(rulesets):
        before, after = rulesets[:at], rulesets[at + 1 :]
        if len(rulesets) > 1:
            yield before + after
        for number, table in enumerate(rules.tables):
            others = rules.tables[:number], rules.tables[number + 1 :]
            yield (*before, replace(rules, tables=others[0] + others[1]), *after)
            for less in _smaller_tables(table):
                yield (*before, replace(rules, tables=(*others[0], less, *others[1])), *after)


def _smaller_tables(table: Table) -> Iterator[Table]:
    if table.policies:
        yield replace(table, policies=())
    for chain in table.chains:
        yield replace(
            table,
            chains=tuple(c for c in table.chains if c != chain),
            rules=tuple(r for r in table.rules if r.chain != chain and r.target.split()[-1] != chain),
        )
    half = len(table.rules) // 2
    if half > 1:
        yield replace(table, rules=table.rules[:half])
        yield replace(table, rules=table.rules[half:])
    for index, rule in enumerate(table.rules):
        around = table.rules[:index], table.rules[index + 1 :]
        yield replace(table, rules=around[0] + around[1])
        for simple in _simpler_rules(rule):
            yield replace(table, rules=(*around[0], simple, *around[1]))


def _simpler_rules(rule: Rule) -> Iterator[Rule]:
    for index in range(len(rule.parts)):
        yield replace(rule, parts=rule.parts[:index] + rule.parts[index + 1 :])
