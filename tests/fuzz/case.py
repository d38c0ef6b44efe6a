"""What a trial tries, from a seed, and what comes of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, replace

from fuzz.rulesets import Rules, random_rules
from fuzz.traffic import Event, events
from xdptables.fields import Family
from xdptables.loading import Prepared
from xdptables.verify.build import PLACE
from xdptables.verify.derive import derive

_FRAMES = 200
_REAL = 3  # of so many trials, one has a real program


@dataclass(frozen=True)
class Case:
    """A trial, whole: enough to run it again. `real`: the program, not the plan in its place."""

    rulesets: tuple[Rules, ...]
    events: tuple[Event, ...]
    forward: bool = False
    strict: bool = False
    engine: str = "auto"
    real: bool = True


@dataclass(frozen=True)
class Wrong:
    """`what`: which judges disagree. `index`: the event that shows it, where there is one."""

    what: str
    text: str
    index: int | None = None


@dataclass
class Counts:
    """What has been tried; adds up."""

    rulesets: int = 0
    refused_by_iptables: int = 0
    rules: int = 0
    frames: int = 0
    packets_of_the_host: int = 0
    came_through_input: int = 0
    real_programs: int = 0
    decisions: int = 0
    decisions_reached: int = 0
    dropping_rules: int = 0
    dropping_rules_reached: int = 0
    drops: int = 0
    drops_after_a_look_at_conntrack: int = 0
    unsteady_without_any_program: int = 0
    broken_texts: int = 0
    broken_texts_refused: int = 0
    disagreements: int = 0

    def add(self, other: Counts) -> None:
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))


@dataclass
class Result:
    wrong: list[Wrong] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)


def make_rules(seed: int) -> tuple[Rules, ...]:
    families = tuple(Family) if seed % 5 == 0 else (tuple(Family)[seed % 2],)
    return tuple(random_rules(seed, family) for family in families)


def of_seed(seed: int) -> Case:
    """Without traffic, which is derived from what the rules are compiled to."""
    return Case(make_rules(seed), (), *_settings(seed), seed % _REAL == 0)


def with_traffic(case: Case, prepared: Prepared, seed: int) -> Case:
    rng = random.Random(f"{seed} case")
    families = [r.family for r in case.rulesets]
    lists = prepared.compiled.plan.lists
    made = list(derive(prepared.rulesets, lists, PLACE, limit=4 * _FRAMES, seed=seed))
    rng.shuffle(made)
    # AF_PACKET can't send these, and the rest of the trial would say nothing of them.
    chosen = [f for f in made if 14 <= len(f.data) <= 1514][:_FRAMES]
    return replace(case, events=tuple(events(chosen, families, PLACE, rng)))


def _settings(seed: int) -> tuple[bool, bool, str]:
    """Does the host forward, is its conntrack strict, and which engine has the program?"""
    rng = random.Random(f"{seed} settings")
    return rng.random() < 0.25, rng.random() < 0.2, rng.choice(("linear", "tables", "tables", "auto"))
