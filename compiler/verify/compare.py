"""The subject's rulings against the reference interpreter's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from ..decisions.model import Cause
from ..host.facts import HostFacts
from ..reference.connection import Entry
from ..reference.interpret import Judge, Outcome, Verdict
from ..rules.model import Ruleset
from .model import Comparison, Disagreement, Frame, Ruling


def compare(
    rulesets: Sequence[Ruleset],
    host: HostFacts,
    frames: Sequence[Frame],
    rulings: Iterable[Ruling],
    *,
    missed: bool = False,
    until: float | None = None,
) -> Comparison:
    """Every frame that is dropped must be one that netfilter certainly drops. A drop after a look at
    conntrack that found nothing is held to what is certain of a packet without an entry, any other one to
    what is certain of every packet.

    `missed`: ask the judge about the frames that passed too, and count what could have been dropped.
    `until`: stop judging at that time.monotonic(); drops are judged in an order that takes each cause in
    turn, so that the clock cuts all of them alike."""
    rulings = list(rulings)
    judge = Judge(rulesets, host, host.interface.name or None)
    dropped = [i for i, r in enumerate(rulings) if r.drop]
    causes: Counter[Cause] = Counter()
    wrong: list[Disagreement] = []
    judged = 0
    for index in _in_turn(dropped, rulings):
        if until is not None and time.monotonic() > until:
            break
        judged += 1
        outcome = certain(judge, frames[index].data, rulings[index])
        if outcome.verdict is not Verdict.DROP:
            wrong.append(Disagreement(frames[index], rulings[index], outcome))
    for index in dropped:
        cause = rulings[index].cause
        if cause is not None:
            causes[cause] += 1
    left = -1
    if missed:
        passed = [i for i, r in enumerate(rulings) if not r.drop]
        left = sum(judge.outcome(frames[i].data).verdict is Verdict.DROP for i in passed)
    return Comparison(
        tried=len(rulings),
        dropped=len(dropped),
        gated=sum(rulings[i].gated for i in dropped),
        judged=judged,
        missed=left,
        causes=dict(causes),
        disagreements=tuple(wrong),
    )


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
