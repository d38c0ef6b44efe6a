"""The reverse: a packet that a given rule decides, or which lines take all of them before.

A rule's packets are a region of the packet fields, less what the rules before it in its chain certainly
take, within what the callers of the chain let through. If that is empty, no whole packet gets there: proven.
The same is asked of fragments, of which less can be seen, so more of them may get there. Else packets of the
region are tried on the path (path.py), in every connection state.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from ..decisions.model import DecisionList
from ..fields import Family
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
_KINDS = {
    Family.IPV4: (Kind.IPV4, Kind.IPV4_FRAGMENT),
    Family.IPV6: (Kind.IPV6, Kind.IPV6_FRAGMENT),
}


@dataclass(frozen=True, slots=True)
class Example:
    """`explained`: a packet that the rule has, in `state`; None when there is none, or none was found.
    `shadows`: rules that take its packets first, the most frequent first. `proven`: no whole packet gets
    there, nor a fragment unless `fragments`."""

    rule: Rule
    explained: Explained | None = None
    state: State | None = None
    frame: bytes = b""
    shadows: tuple[Rule, ...] = ()
    proven: bool = False
    fragments: bool = False
    why: str = ""


def find(
    rulesets: Sequence[Ruleset], host: HostFacts, compiled: Compiled, line: str, place: Place
) -> Example:
    """Raises UserError where the line holds no rule, nor the policy of a chain."""
    ruleset, table, rule = _rule_at(rulesets, line)
    if not _on_path(table, rule):
        return Example(rule, why=f"no packet for this host crosses {table.name} {rule.chain}")
    kind, of_fragments = _KINDS[ruleset.family]
    reach, region = _reach(rulesets, host, ruleset, table, rule, kind)
    explainer = Explainer(rulesets, host, compiled)
    if not region:
        fragments = _reach(rulesets, host, ruleset, table, rule, of_fragments)[1]
        if fragments and _is_of_fragments(rule):
            specs = _candidates(ruleset, rule, fragments, of_fragments, place)
            found = _try(explainer, ruleset, rule, specs, place)
            if found.explained is not None:
                return found
        interface = host.interface.name
        other = of_another_interface(rule, interface)
        why = f"what comes in at {interface} does not match its -i" if other else ""
        shadows = () if other else tuple(reach.took)
        return Example(rule, shadows=shadows, proven=True, fragments=bool(fragments), why=why)
    found = _try(explainer, ruleset, rule, _candidates(ruleset, rule, region, kind, place), place)
    if found.explained is None and not found.shadows:
        return replace(found, shadows=tuple(reach.took), why="none was found")
    return found


def _reach(
    rulesets: Sequence[Ruleset], host: HostFacts, ruleset: Ruleset, table: Table, rule: Rule, kind: Kind
) -> tuple[Reach, Region]:
    # As if every rule that may change a packet, or a set, came before.
    targets = (TARGETS.get(r.target.name) for r in ruleset.rules() if r.target is not None)
    changed = {field for target in targets if target is not None for field in target.changes}
    reach = Reach(table, View(
        kind=kind, variant=ruleset.variant, interface=host.interface.name or None, gro=False,
        hook="INPUT" if table.name in ("filter", "security") else "PREROUTING",
        tainted=frozenset(changed), changing_sets=changing_sets(rulesets, host.ipsets), host=host,
    ))  # fmt: skip
    return reach, reach.of(rule)


def _is_of_fragments(rule: Rule) -> bool:
    """Whether it asks for them. Another rule has one, if at all, by what the rest of its datagram says."""
    asked = (o for m in rule.matches for o in m.options if o.name == "-f")
    return any(not o.negated for o in asked) or any(m.name == "frag" for m in rule.matches)


def _try(explainer: Explainer, ruleset: Ruleset, rule: Rule, specs: Iterable[Spec], place: Place) -> Example:
    """The first packet that the rule has; else the one that it may have, with the fewest ways to end."""
    taken: Counter[int] = Counter()
    by_line: dict[int, Rule] = {}
    second: Example | None = None
    until = time.monotonic() + _SECONDS
    for tried, spec in enumerate(specs):
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
    return Example(rule, shadows=tuple(shadows))


def _rule_at(rulesets: Sequence[Ruleset], address: str) -> tuple[Ruleset, Table, Rule]:
    """`address`: a line, or a file's name, a colon and a line."""
    name, line = _parsed(address)
    near: list[Span] = []
    found: list[tuple[Ruleset, Table, Rule]] = []
    for ruleset in rulesets:
        for table in ruleset.tables:
            for rule in table.rules():
                if name not in ("", rule.span.source.name):
                    continue
                near.append(rule.span)
                if rule.line == line:
                    found.append((ruleset, table, rule))
            for chain in table.chains:
                span = chain.span
                if chain.policy is None or span is None or name not in ("", span.source.name):
                    continue
                if span.line == line:
                    found.append((ruleset, table, _policy_rule(table, chain, span)))
    if len(found) == 1:
        return found[0]
    if found:
        which = " or ".join(f"--rule {rule.span.address}" for _, _, rule in found)
        raise UserError(f"each file has a rule in line {line}", f"say which: {which}")
    closest = min(near, key=lambda s: abs(s.line - line), default=None)
    hint = f"the closest rule is in {closest.place}" if closest else "there are no rules"
    raise UserError(f"line {address} holds no rule", hint)


def _parsed(address: str) -> tuple[str, int]:
    name, _, number = address.rpartition(":")
    if not number.isascii() or not number.isdigit() or int(number) == 0:
        raise UserError(f"--rule {address}: no number of a line", "such as --rule 12, or --rule FILE:12")
    return name, int(number)


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
    fragment: Spec = {"fragment": 2} if kind.is_fragment else {}
    for number in range(_TRIES):
        cube = region[number] if number < len(region) else rng.choice(region)
        possible = regions.possible(cube)
        if possible is not None:
            yield {**fragment, **spec_of(regions.inside(possible))}
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
            f"{escape(rule.place)}: {escape(rule.text)}\ngets this packet{said and f', with{said}'}{sure}:",
            soft_wrap=True,
        )
        packets.show(found.explained, console, everything)
        return
    console.print(f"{escape(rule.place)}: {escape(rule.text)}\n{escape(_nothing(found))}", soft_wrap=True)
    for shadow in found.shadows[:10]:
        console.print(f"  {escape(shadow.place)}: {escape(shadow.text)}", soft_wrap=True)


def _nothing(found: Example) -> str:
    none = "no whole packet" if found.fragments else "no packet"
    if found.why and not found.shadows:
        return f"gets {none}: {found.why}"
    if found.proven and not found.shadows:
        return f"gets {none}: it asks for what {none} has, or nothing calls its chain"
    sure = f"{none} gets there" if found.proven else "no packet was found that gets there"
    return f"{sure}; taken before, by:"


def to_data(found: Example) -> dict[str, Any]:
    return {
        "line": found.rule.line, "rule": found.rule.text,
        "state": found.state.value if found.state else None,
        "frame": found.frame.hex() or None,
        "explained": packets.to_data(found.explained) if found.explained else None,
        "none_exists": found.proven and not found.fragments, "no_whole_packet": found.proven,
        "why": "" if found.explained else _nothing(found),
        "shadowed_by": [s.line for s in found.shadows],
    }  # fmt: skip
