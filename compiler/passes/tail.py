"""Take out what cannot change the outcome: passes from which no drop can be reached any more."""

from __future__ import annotations

from dataclasses import replace

from ..decisions.model import Accept, Decision, DecisionList, Drop, Skip
from ..matches.condition import Cube
from .rebuild import rebuild


def drop_passing_tails(decisions: DecisionList) -> DecisionList:
    items = decisions.decisions
    drops_from = [False] * (len(items) + 1)  # a drop can be reached from here
    for i in range(len(items) - 1, -1, -1):
        decision = items[i]
        onward = bool(decision.when.sets) and drops_from[i + 1]
        if isinstance(decision.then, Skip):
            drops_from[i] = onward or drops_from[decision.then.to]
        else:
            drops_from[i] = onward or isinstance(decision.then, Drop)
    out: list[Decision | None] = []
    for i, decision in enumerate(items):
        if drops_from[i]:
            out.append(decision)
        elif drops_from[i + 1]:
            # The end of a stretch without drops, with drops behind it for others: stay, as a pass.
            out.append(
                Decision(Cube(), Accept(None))
                if isinstance(decision.then, Skip)
                else replace(decision, when=Cube())
            )
        else:
            out.append(None)
    return replace(decisions, decisions=rebuild(out))
