"""Why a program passes more than its rules would allow, for people: a line for each limit that it met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..decisions.model import DecisionList, Skip
from ..fields import Family
from .plan import Plan

if TYPE_CHECKING:  # it loads numpy
    from .tables.model import FamilyTables

#: Levels of summaries whose look-up is a loop of `rounds`; any other ends by itself.
_LOOPS = (1, 2)


def limits(plan: Plan) -> tuple[str, ...]:
    out = []
    if plan.cut:
        out.append(f"{plan.cut} decisions did not fit into the program and are left to netfilter")
    if plan.halvings:
        out.append(f"made smaller {plan.halvings} times for the verifier: more packets pass")
    for family in plan.tables.families if plan.tables is not None else ():
        most = most_rounds(family, plan.lists)
        if most > family.rounds:
            out.append(
                f"{family.family.value}: a packet whose look-up takes more than {family.rounds} steps"
                f" (at most {most}) passes"
            )
    return tuple(out)


def bounded_families(plan: Plan) -> frozenset[Family]:
    """Families in whose tables a look-up may need more rounds than the program has."""
    families = plan.tables.families if plan.tables is not None else ()
    return frozenset(f.family for f in families if most_rounds(f, plan.lists) > f.rounds)


def most_rounds(family: FamilyTables, lists: Sequence[DecisionList]) -> int:
    """No look-up takes more rounds; most take a few. A round is one step of the rows, and a block without
    any takes one too. A skip begins a search anew, at a later target than the one before."""
    if family.levels not in _LOOPS:
        return 0
    by_kind = {d.kind: d for d in lists}
    most = 0
    for kind, at, end in family.starts:
        steps = -(-(end - (at >> 6)) >> family.grain)
        blocks = (end + 63 >> 6) - (at >> 12) if family.levels == 2 else 1
        decisions = by_kind[kind].decisions
        targets = {d.then.to for d in decisions if isinstance(d.then, Skip) and d.then.to < len(decisions)}
        # In order, the first hit ends a search, and the next begins no earlier than there: at the same step,
        # perhaps, and in its block.
        in_order = family.order < 0
        most = max(
            most, steps + blocks + 2 * len(targets) if in_order else (steps + blocks) * (len(targets) + 1)
        )
    return most
