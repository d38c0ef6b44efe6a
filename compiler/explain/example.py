"""The reverse: a packet that a given rule decides, or which lines take all of them before.

A rule's packets are a region of the packet fields, less what the rules before it in its chain certainly
take, within what the callers of the chain let through. If that is empty, no packet gets there: proven. Else
packets of it are tried on the path (path.py), in every connection state.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from ..decisions.model import DecisionList
from ..host.facts import HostFacts
from ..matches.condition import Region
from ..matches.lower_set import changing_sets
from ..matches.table import TARGETS
from ..matches.view import Kind, View
from ..pipeline import Compiled
from ..reference.answers import Answer
from ..reference.connection import State
from ..reference.interpret import HOOKS
from ..report.text import escape
from ..rules.model import Chain, Match, Rule, Ruleset, Table, Target
from ..source import Span, UserError
from ..verify.boundaries import boundary_specs
from ..verify.build import Spec, build
from ..verify.coverage import of_another_interface
from ..verify.model import Place
from ..verify.regions import Regions, spec_of
from . import show as packets
from .packets import Explained, Explainer
from .region import Reach

_STATES = (None, State.NEW, State.INVALID, State.ESTABLISHED, State.RELATED, State.UNTRACKED)
_TRIES = 400
_SECONDS = 10.0
_ENOUGH = 20  # packets, once there is one that an earlier rule may take first
_MOST_WAYS = 1 << 30


@dataclass(frozen=True, slots=True)
class Example:
    """`explained`: a packet that the rule has, in `state`; None when there is none, or none was found.
    `shadows`: rules that take its packets first, the most frequent first. `proven`: no packet gets there."""

    rule: Rule
    explained: Explained | None = None
    state: State | None = None
    frame: bytes = b""
    shadows: tuple[Rule, ...] = ()
    proven: bool = False
    why: str = ""


def find(
    rulesets: Sequence[Ruleset], host: HostFacts, compiled: Compiled, line: int, place: Place
) -> Example:
    """Raises UserError where the line holds no rule, nor the policy of a chain."""
    ruleset, table, rule = _rule_at(rulesets, line)
    if not _on_path(table, rule):
        return Example(rule, why=f"no packet for this host crosses {table.name} {rule.chain}")
    interface = host.interface.name
    if of_another_interface(rule, interface):
        return Example(rule, proven=True, why=f"what comes in at {interface} does not match its -i")
    kind = Kind(ruleset.family.value)
    # As if every rule that may change a packet, or a set, came before.
    targets = (TARGETS.get(r.target.name) for r in ruleset.rules() if r.target is not None)
    changed = {field for target in targets if target is not None for field in target.changes}
    sets = changing_sets(rulesets, host.ipsets)
    view = View(
        kind=kind, variant=ruleset.variant, interface=interface or None, gro=False,
        tainted=frozenset(changed), changing_sets=sets, host=host,
    )  # fmt: skip
    reach = Reach(table, view)
    region = reach.of(rule)
    if not region:
        return Example(rule, shadows=tuple(reach.took), proven=True)
    explainer = Explainer(rulesets, host, compiled)
    taken: Counter[int] = Counter()
    by_line: dict[int, Rule] = {}
    second: Example | None = None
    until = time.monotonic() + _SECONDS
    for tried, spec in enumerate(_candidates(ruleset, rule, region, kind, place)):
        if time.monotonic() > until or (second and tried > _ENOUGH):
            break
        frame = build(ruleset.family, spec, place)
        for state in _STATES:
            explained = explainer.explain(frame, state)
            met = _met(explained, rule)
            if met == "surely":
                return Example(rule, explained, state, frame)
            if met == "maybe" and _ways(explained) < (_ways(second.explained) if second else _MOST_WAYS):
                second = Example(rule, explained, state, frame)
            if met == "" and explained.path is not None:
                for end in explained.path.ends[:1]:
                    if end.rule is not None:
                        taken[end.rule.line] += 1
                        by_line[end.rule.line] = end.rule
    if second is not None:
        return second
    shadows = [by_line[n] for n, _ in taken.most_common() if n != rule.line]
    return Example(rule, shadows=tuple(shadows or reach.took), why="" if shadows else "none was found")


def _rule_at(rulesets: Sequence[Ruleset], line: int) -> tuple[Ruleset, Table, Rule]:
    near: list[int] = []
    for ruleset in rulesets:
        for table in ruleset.tables:
            for rule in table.rules():
                if rule.line == line:
                    return ruleset, table, rule
                near.append(rule.line)
            for chain in table.chains:
                if chain.policy is not None and chain.span is not None and chain.span.line == line:
                    return ruleset, table, _policy_rule(table, chain, chain.span)
    closest = sorted(near, key=lambda n: abs(n - line))[:1]
    hint = f"the closest rule is in line {closest[0]}" if closest else "there are no rules"
    raise UserError(f"line {line} holds no rule", hint)


def _policy_rule(table: Table, chain: Chain, span: Span) -> Rule:
    """A base chain's policy, as a rule behind all others."""
    target = Target(chain.policy or "ACCEPT")
    return Rule(table.name, chain.name, len(chain.rules) + 1, (Match("ip"),), target, span=span)


def _on_path(table: Table, rule: Rule) -> bool:
    hooks = {chain for name, chain in HOOKS if name == table.name}
    todo, seen = [c for c in table.chains if c.name in hooks], set()
    while todo:
        chain = todo.pop()
        if chain.name in seen:
            continue
        seen.add(chain.name)
        for r in chain.rules:
            called = table.chain(r.target.name) if r.target else None
            if called is not None:
                todo.append(called)
    return rule.chain in seen


def _candidates(ruleset: Ruleset, rule: Rule, region: Region, kind: Kind, place: Place) -> Iterator[Spec]:
    """Packets of the region, then such as fit the rule by its own values."""
    regions = Regions(DecisionList(kind, ()), place)
    rng = random.Random(rule.line)
    for number in range(_TRIES):
        cube = region[number] if number < len(region) else rng.choice(region)
        possible = regions.possible(cube)
        if possible is not None:
            yield spec_of(regions.inside(possible))
        if number > 2 * len(region) + 20:
            break
    prefix = f"{rule.chain} {rule.number}: "
    for name, spec in boundary_specs(ruleset):
        if name.startswith(prefix):
            yield spec
            yield spec | {"fragment": 1}


def _ways(explained: Explained | None) -> int:
    """In how many ways it may end: the fewer, the better an example it is."""
    return len(explained.path.ends) if explained and explained.path else _MOST_WAYS


def _met(explained: Explained, rule: Rule) -> str:
    """ "surely": the packet is the rule's; "maybe"; "": it is not."""
    path = explained.path
    if path is None:
        return ""
    for step in path.steps:
        # A step without a rule is a policy.
        same = step.rule is None and (step.table, step.chain) == (rule.table, rule.chain)
        if not (step.rule is rule or (same and rule.text.startswith(":"))) or step.answer is Answer.NO:
            continue
        return "surely" if step.certain else "maybe"
    return ""


def show(found: Example, console: Console, everything: bool) -> None:
    rule = found.rule
    if found.explained is not None:
        said = f" state {found.state.value.lower()}" if found.state else ""
        sure = "" if _met(found.explained, rule) == "surely" else ", unless an earlier rule takes it"
        console.print(
            f"line {rule.line}: {escape(rule.text)}\ngets this packet{said and f', with{said}'}{sure}:",
            soft_wrap=True,
        )
        packets.show(found.explained, console, everything)
        return
    console.print(f"line {rule.line}: {escape(rule.text)}\n{escape(_nothing(found))}", soft_wrap=True)
    for shadow in found.shadows[:10]:
        console.print(f"  line {shadow.line}: {escape(shadow.text)}", soft_wrap=True)


def _nothing(found: Example) -> str:
    if found.why and not found.shadows:
        return f"gets no packet: {found.why}"
    if found.proven and not found.shadows:
        return "gets no packet: it asks for what no packet has, or nothing calls its chain"
    sure = "no packet gets there" if found.proven else "no packet was found that gets there"
    return f"{sure}; taken before, by:"


def to_data(found: Example) -> dict[str, Any]:
    return {
        "line": found.rule.line, "rule": found.rule.text,
        "state": found.state.value if found.state else None,
        "frame": found.frame.hex() or None,
        "explained": packets.to_data(found.explained) if found.explained else None,
        "none_exists": found.proven, "why": "" if found.explained else _nothing(found),
        "shadowed_by": [s.line for s in found.shadows],
    }  # fmt: skip
