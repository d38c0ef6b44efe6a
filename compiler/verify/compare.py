"""The subject's rulings against the reference interpreter's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..decisions.model import Cause
from ..host.facts import HostFacts
from ..reference.answers import Answer
from ..reference.connection import Entry, State
from ..reference.interpret import Judge, Outcome, Verdict
from ..rules.model import Rule, Ruleset
from .model import Comparison, Disagreement, Frame, Ruling, key_of


def compare(
    rulesets: Sequence[Ruleset],
    host: HostFacts,
    frames: Sequence[Frame],
    rulings: Iterable[Ruling],
    *,
    missed: bool = False,
    until: float | None = None,
    tick: Callable[[], None] = lambda: None,
    judge: Judge | None = None,
) -> Comparison:
    """Every frame that is dropped must be one that netfilter certainly drops. A drop after a look at
    conntrack that found nothing is held to what is certain of a packet without an entry, any other one to
    what is certain of every packet.

    `missed`: ask the judge about the frames that passed too, and count what could have been dropped.
    `until`: stop judging at that time.monotonic(); drops are judged in an order that takes each cause in
    turn, so that the clock cuts all of them alike. `tick`: called once for each frame judged. `judge`: of
    these rules and this host, where there is one already."""
    rulings = list(rulings)
    judge = judge or judge_of(rulesets, host)
    dropped = [i for i, r in enumerate(rulings) if r.drop]
    passed = [i for i, r in enumerate(rulings) if not r.drop] if missed else []
    causes: Counter[Cause] = Counter()
    met: dict[int, Rule] = {}  # by id: hashing a rule takes longer than judging it
    wrong: list[Disagreement] = []
    judged, judged_passed, could = 0, 0, 0
    for index in (*_in_turn(dropped, rulings), *passed):
        if until is not None and time.monotonic() > until:
            break
        outcome = certain(judge, frames[index].data, rulings[index])
        met.update((id(rule), rule) for rule, answer in outcome.trace if answer is not Answer.NO)
        tick()
        if not rulings[index].drop:
            judged_passed += 1
            could += outcome.verdict is Verdict.DROP
            # Where the state is not known the walk ends early; this one shows which rules are met at all.
            further = judge.outcome(frames[index].data, state=State.NEW).trace
            met.update((id(rule), rule) for rule, answer in further if answer is not Answer.NO)
            continue
        judged += 1
        if outcome.verdict is not Verdict.DROP:
            wrong.append(Disagreement(frames[index], rulings[index], outcome))
    for index in dropped:
        cause = rulings[index].cause
        if cause is not None:
            causes[cause] += 1
    return Comparison(
        tried=len(rulings),
        dropped=len(dropped),
        gated=sum(rulings[i].gated for i in dropped),
        judged=judged,
        missed=could if missed else -1,
        judged_passed=judged_passed,
        causes=dict(causes),
        met=frozenset(key_of(rule) for rule in met.values()),
        disagreements=tuple(wrong),
    )


def judge_of(rulesets: Sequence[Ruleset], host: HostFacts, limited: frozenset[str] = frozenset()) -> Judge:
    return Judge(rulesets, host, host.interface.name or None, limited)


def certain(judge: Judge, frame: bytes, ruling: Ruling) -> Outcome:
    """The outcome that a ruling has to keep to."""
    return judge.outcome(frame, entry=Entry.NONE if ruling.gated else Entry.UNKNOWN)


def _in_turn(dropped: Sequence[int], rulings: Sequence[Ruling]) -> list[int]:
    rounds: Counter[object] = Counter()
    keyed = []
    for index in dropped:
        key = rulings[index].reached or rulings[index].cause
        keyed.append((rounds[key], index))
        rounds[key] += 1
    return [index for _, index in sorted(keyed)]
