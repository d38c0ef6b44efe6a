"""Which packets come to a rule: a region of fields, followed through the chains before it."""

from __future__ import annotations

from ..matches.condition import EVERYTHING, Condition, Cube, Region, intersect
from ..matches.lowering import lower_match
from ..matches.view import View
from ..rules.model import BUILTIN_CHAINS, Chain, Rule, Table
from ..verify.reach import subtract

#: More cubes, callers, or rules on the way than this and the region is not computed to its end.
_MOST_CUBES, _MOST_CALLS, _MOST_RULES = 400, 64, 50_000
_LEAVES = ("ACCEPT", "DROP", "REJECT", "RETURN")


class Reach:
    """Which packets come to a rule, as far as fields tell: never too few. `took`: rules that took some."""

    def __init__(self, table: Table, view: View) -> None:
        self.table, self.view = table, view
        self.took: dict[Rule, None] = {}
        self.calls = self.rules = 0
        self.conditions: dict[int, Condition] = {}  # by id: hashing a rule takes longer

    def of(self, rule: Rule) -> Region:
        mine = self._condition(rule).may
        region = intersect(self._before(rule, frozenset()), mine)
        # What was taken on the way here may be of no concern to this rule.
        self.took = {r: None for r in self.took if intersect(self._condition(r).yes, mine)}
        return region

    def _condition(self, rule: Rule) -> Condition:
        known = self.conditions.get(id(rule))
        if known is not None:
            return known
        result = Condition()
        for match in rule.matches:
            result &= lower_match(match, self.view)
        self.conditions[id(rule)] = result
        return result

    def _before(self, rule: Rule, inside: frozenset[str]) -> Region:
        chain = self.table.chain(rule.chain)
        assert chain is not None
        region = self._enters(chain, inside)
        mine = self._condition(rule).may
        region = intersect(region, mine)
        for earlier in chain.rules[: rule.number - 1]:
            region = self._past(earlier, region, frozenset({chain.name}))
        return region

    def _past(self, rule: Rule, region: Region, inside: frozenset[str]) -> Region:
        """What of the region comes to the next rule of the chain. `inside`: chains it came through."""
        target = rule.target
        self.rules += 1
        if target is None or not region or self.rules > _MOST_RULES:
            return region
        called = self.table.chain(target.name)
        if called is not None and not target.goto:
            return self._back(rule, called, region, inside)
        if called is None and target.name not in _LEAVES:
            return region
        left = subtract(region, self._condition(rule).yes, self.view.family)
        if left is None or left == region:
            return region
        self.took.setdefault(rule)
        return left

    def _back(self, rule: Rule, called: Chain, region: Region, inside: frozenset[str]) -> Region:
        """Past a call: what it does not take, and what comes back from it."""
        condition = self._condition(rule)
        into = intersect(region, condition.may)
        if called.name in inside or len(into) > _MOST_CUBES:
            return region
        back = self._through(called, into, inside | {called.name})
        beside = subtract(region, condition.yes, self.view.family)
        if beside is None or back == into:
            return region
        past = tuple(dict.fromkeys((*beside, *back)))
        return region if len(past) > _MOST_CUBES else past

    def _through(self, chain: Chain, region: Region, inside: frozenset[str]) -> Region:
        """What comes back to the caller, from the chain's end or before."""
        back: list[Cube] = []
        for rule in chain.rules:
            target = rule.target
            there = self.table.chain(target.name) if target is not None and target.goto else None
            if target is not None and (target.name == "RETURN" or there is not None):
                returns = intersect(region, self._condition(rule).may)
                if there is not None and there.name not in inside:
                    returns = self._through(there, returns, inside | {there.name})
                back += returns
            region = self._past(rule, region, inside)
        return (*back, *region)

    def _enters(self, chain: Chain, inside: frozenset[str]) -> Region:
        if chain.name in BUILTIN_CHAINS.get(self.table.name, ()):
            return EVERYTHING
        self.calls += 1
        if chain.name in inside or self.calls > _MOST_CALLS:
            return EVERYTHING
        region: list[Cube] = []
        for caller in self.table.rules():
            if caller.target is not None and caller.target.name == chain.name:
                before = self._before(caller, inside | {chain.name})
                region += intersect(before, self._condition(caller).may)
                if len(region) > _MOST_CUBES:
                    return EVERYTHING
        return tuple(region)
