"""What the frames met, of the program's decisions and of the rules; and what could not be met."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from ..decisions.model import Cause, Drop
from ..explain.path import follow
from ..host.facts import HostFacts
from ..matches.view import Kind
from ..pipeline import Compiled
from ..reference.answers import Answer
from ..reference.locality import why_not_local
from ..reference.packet import Packet, Unreadable, parse
from ..report.entries import Entry, Fate
from ..rules.model import Rule, Ruleset
from .model import Frame, RuleKey, key_of
from .regions import Regions

#: A decision by its list and its index there.
Key = tuple[Kind, int]


def dropping(compiled: Compiled) -> dict[Key, Cause]:
    return {
        (d.kind, i): item.then.cause
        for d in compiled.plan.lists
        for i, item in enumerate(d.decisions)
        if isinstance(item.then, Drop)
    }


def dead(compiled: Compiled, unreached: Collection[Key]) -> set[Key]:
    """Those of which is proven that no packet comes there."""
    found: set[Key] = set()
    for decisions in compiled.plan.lists:
        indices = [i for kind, i in unreached if kind is decisions.kind]
        if indices:
            regions = Regions(decisions)
            found |= {(decisions.kind, i) for i in indices if regions.empty(i)}
    return found


def unmet(compiled: Compiled, met: Collection[RuleKey], interface: str) -> tuple[Entry, ...]:
    """Rules on the path that no frame fits; not those that none can reach, or of another interface."""
    return tuple(
        e
        for e in compiled.report.entries
        if e.cause.rule is not None
        and e.fate is not Fate.UNREACHABLE
        and key_of(e.cause.rule) not in met
        and not of_another_interface(e.cause.rule, interface)
    )


def met_in_doubt(
    rulesets: Sequence[Ruleset],
    host: HostFacts,
    frames: Sequence[Frame],
    wanted: Sequence[Entry],
    until: float,
) -> frozenset[RuleKey]:
    """Of the `wanted` rules, those that a frame fits and may come to, whatever state it has and whatever a
    match before answers that counts. The judge goes no further than what is certain."""
    left = {key_of(e.cause.rule) for e in wanted if e.cause.rule is not None}
    found: set[RuleKey] = set()
    for packet in _readable(frames, host):
        if not left or time.monotonic() > until:
            break
        leaves = why_not_local(packet, replace(host, forwards4=True), False)
        for step in follow(rulesets, packet, host, host.interface.name or None, None, leaves).steps:
            if step.rule is not None and step.answer is not Answer.NO:
                found |= {key_of(step.rule)} & left
        left -= found
    return frozenset(found)


def _readable(frames: Sequence[Frame], host: HostFacts) -> Iterator[Packet]:
    mac = int(host.interface.mac.replace(":", "") or "0", 16)
    for frame in frames:
        try:
            packet = parse(frame.data)
        except Unreadable:
            continue
        if packet.pkttype or packet.mac_dst == mac:
            yield packet


def of_another_interface(rule: Rule, interface: str) -> bool:
    names = [o for m in rule.matches for o in m.options if o.name == "-i" and isinstance(o.value, str)]
    return any(fnmatchcase(interface, o.value.replace("+", "*")) == o.negated for o in names)
