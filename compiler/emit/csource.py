"""Plan to C text. Decides nothing: conditions become expressions, the template holds the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..decisions.model import Accept, Allowance, Decision, DecisionList, Drop, Skip, Undecided
from ..fields import Family
from ..matches.view import Kind
from .engine import Engine
from .expressions import condition, index_of
from .plan import Plan

#: How long after a packet has passed its flow is not dropped by a look-up that finds nothing: longer
#: than a packet stays between XDP and conntrack (docs/semantics.md).
RECENT_NS = 100_000_000
#: Counters that are named in the text.
MOST_SLOTS = 4000


@dataclass(frozen=True, slots=True)
class Line:
    """One decision as C: a label if a skip leads here, a comment, the test, what to do."""

    label: str
    comment: str
    test: str
    action: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Classifier:
    name: str
    lines: tuple[Line, ...]
    end_label: str


def generate(plan: Plan) -> str:
    """The whole program, the same text for the same plan."""
    env = Environment(
        loader=PackageLoader("xdptables.templates", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML; rule texts only come in through `comment`
    )
    lists = {d.kind: d for d in plan.lists}
    used = {kind.value for kind, d in lists.items() if d.decisions}
    families = {family: any(k.family is family for k in Kind if k.value in used) for family in Family}
    classifiers = {}
    for kind, d in lists.items():
        # The lists that look at every packet of a family are called even where they are empty.
        wanted = bool(d.decisions) or (families[kind.family] and not kind.no_entry)
        if wanted and plan.engine(kind.family) is Engine.LINEAR:
            classifiers[kind.value] = _classifier(d, plan)
    return env.get_template("program.c.j2").render(
        classifiers=classifiers,
        kinds=[kind.value for kind in Kind],
        ipv4=families[Family.IPV4],
        ipv6=families[Family.IPV6],
        used=used,
        tables=_tables(plan),
        gates=any(Kind(name).no_entry for name in used),
        window=plan.overtaking,
        only_gated=plan.only_gated,
        recent_ns=RECENT_NS,
        local_drops=any(isinstance(d.then, Drop) and d.then.local for x in plan.lists for d in x.decisions),
        slots=[comment(c.text, f"slot {i}: {c.place}: ") for i, c in enumerate(plan.slots[:MOST_SLOTS])],
        slot_count=len(plan.slots),
        fields=plan.fields,
        group_drops=plan.group_drops,
        budgets=[_bucket(number, budget) for number, budget in enumerate(plan.budgets, 1)],
    )


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one source is granted: a packet each `interval_ns`, and as many at once as fit in `ahead_ns`."""

    number: int
    interval_ns: int
    ahead_ns: int
    comment: str


def _bucket(number: int, budget: tuple[Allowance, ...]) -> Bucket:
    """Of several effects one bucket, that has room for all of them."""
    interval = max(1, int(1 / sum(1 / a.interval_ns for a in budget)))
    burst = sum(a.burst for a in budget)
    names = ", ".join(a.name for a in budget)
    return Bucket(number, interval, interval * (burst - 1), comment(names, f"{burst} at once; "))


def _tables(plan: Plan) -> dict[str, Any] | None:
    if plan.tables is None:
        return None
    from .tables.csource import template_values  # numpy is loaded only where it is needed

    return template_values(plan.tables)


def comment(text: str, before: str = "") -> str:
    """Rule text as the inside of a C comment: printable ASCII, no end of comment, no line joins.

    Nothing that a rule contains may end up as code."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in before + text)
    plain = re.sub(r"\*(?=/)|/(?=\*)", "?", plain).replace("\\", "|")
    plain = re.sub(r"\?(?=\?)", "? ", plain)  # no trigraphs
    return plain if len(plain) <= 160 else plain[:157] + "..."


def _classifier(decisions: DecisionList, plan: Plan) -> Classifier:
    targets = {d.then.to for d in decisions.decisions if isinstance(d.then, Skip)}
    count = len(decisions.decisions)
    lines = tuple(
        Line(
            f"at_{i}" if i in targets else "",
            _describe(d),
            condition(d.when, decisions.kind.family),
            _action(d, decisions.kind.family, plan, count),
        )
        for i, d in enumerate(decisions.decisions)
    )
    return Classifier(decisions.kind.value, lines, "at_end" if count in targets else "")


def _describe(decision: Decision) -> str:
    then = decision.then
    if isinstance(then, Skip):
        return ""
    if decision.split:
        return comment(f"{len(decision.split)} values of {decision.split_field}, each with its rule: drop")
    if isinstance(then, Accept | Undecided) and then.cause is None:
        return "pass"
    cause = then.cause
    assert cause is not None
    head = {Drop: "drop", Accept: "accepted", Undecided: "left to netfilter"}[type(then)]
    return comment(cause.text, f"{head}, {cause.place}: ")


def _action(decision: Decision, family: Family, plan: Plan, count: int) -> tuple[str, ...]:
    then = decision.then
    if isinstance(then, Skip):
        return (f"goto {'at_end' if then.to == count else f'at_{then.to}'};",)
    if not isinstance(then, Drop):
        return (f"return {plan.coder.in_c(then)};",)
    if not decision.split:
        return (f"return {plan.coder.in_c(then)};",)
    owners: list[tuple[int, int, int]] = [(lo, hi, plan.slot(c)) for lo, hi, c in decision.split]
    return (
        *index_of(
            decision.split_field, owners, family, lambda slot: f"return {plan.coder.in_c(then, slot)};"
        ),
        "return XT_PASS;",
    )
