"""The interpreter against the kernel: what must hold for every frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from judge.place import Frame
from xdptables.host.facts import HostFacts
from xdptables.reference.connection import Entry
from xdptables.reference.interpret import Judge, Verdict
from xdptables.rules.model import Ruleset


def disagreements(
    rulesets: Sequence[Ruleset],
    frames: Sequence[Frame],
    host: HostFacts,
    interface: str,
    bare: Collection[int],
    ruled: Collection[int],
    entry: Entry = Entry.UNKNOWN,
) -> tuple[list[str], Counter[Verdict]]:
    """Where the interpreter was certain and wrong; and how often, among what reaches INPUT, it said what.

    `entry`: Entry.NONE if conntrack had no entry for any frame when it came."""
    wrong = []
    judge = Judge(rulesets, host, interface)
    said: Counter[Verdict] = Counter()
    for index, frame in enumerate(frames):
        outcome = judge.outcome(frame.data, entry=entry)
        if index in bare:
            said[outcome.verdict] += 1
        dropped_yet_there = outcome.verdict is Verdict.DROP and index in ruled
        accepted_yet_gone = outcome.verdict is Verdict.ACCEPT and index in bare and index not in ruled
        if dropped_yet_there or accepted_yet_gone:
            rule = outcome.rule.text if outcome.rule else outcome.hook
            fate = "came through" if dropped_yet_there else "did not come through"
            wrong.append(f"{frame.name}: {outcome.verdict} ({rule}), yet {fate}; {frame.data.hex()}")
    return wrong, said
