"""Explanations for people, and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from ..decisions.model import Cause
from ..reference.answers import Answer
from ..report.text import escape
from .packets import Explained
from .path import End, Path, Step

#: A way longer than this is shown without the rules that say no.
MOST = 60
_STYLE = {Answer.YES: "green", Answer.MAYBE: "yellow", Answer.NO: "dim"}


def show(found: Explained, console: Console, everything: bool = False) -> None:
    def line(text: str) -> None:
        console.print(text, soft_wrap=True)

    line(f"[bold]{escape(found.text)}[/bold]")
    if found.path is not None:
        _show_path(found.path, line, everything or len(found.path.steps) <= MOST)
    line(f"netfilter  {escape(in_netfilter(found))}")
    line(f"      XDP  {escape(in_xdp(found))}")


def _show_path(path: Path, line: Any, everything: bool) -> None:
    place = ""
    skipped = 0
    for step in path.steps:
        if step.answer is Answer.NO and not everything:
            skipped += 1
            continue
        here = f"{step.table} {step.chain}"
        if here != place:
            line(f"{'  ' * step.depth}{here}")
            place = here
        style = _STYLE[step.answer]
        # In brackets: if nothing before takes the packet.
        word = f"({step.answer.value})" if step.doubt and step.answer is not Answer.NO else step.answer.value
        at = step.rule.place if step.rule else "policy"
        text = escape(step.rule.text if step.rule else f"{_end_word(step)}s it")
        line(f"[{style}]{word:>9}[/{style}]  {at:<9} {'  ' * step.depth}{text}{_because(step)}")
    if skipped:
        line(f"           {skipped} rules on the way say no; --all shows them")
    if path.note:
        line(f"           it does not come to INPUT: {escape(path.note)}")


def _because(step: Step) -> str:
    if step.answer is Answer.NO:
        return f"  [dim]not {escape(step.tested[-1].text)}[/dim]" if len(step.tested) > 1 else ""
    unsure = [t for t in step.tested if t.answer is Answer.MAYBE]
    return "".join(f"\n{'':21}[dim]{escape(t.text)}: {escape(t.why)}[/dim]" for t in unsure)


def _end_word(step: Step) -> str:
    return {End.ACCEPT: "accept", End.DROP: "drop", End.REJECT: "reject", End.OTHER: "hand on"}[
        step.end or End.ACCEPT
    ]


def _by(step: Step) -> str:
    if step.rule is not None:
        return f"by {step.rule.place}"
    return f"by the policy of {step.table} {step.chain}" if step.chain else "as no rule does otherwise"


def in_netfilter(found: Explained) -> str:
    if found.path is None:
        return f"no rule is asked: {found.why}"
    ends = found.path.ends
    if not ends:
        return f"goes on outside these rules: {found.path.note}" if found.path.note else "comes to no end"
    if len(ends) == 1 and not (ends[0].doubt and found.path.note):
        return f"{ends[0].end} it {_by(ends[0])}"
    *first, last = ends
    parts = [f"{e.end} it {_by(e)} {_condition(e)}" for e in first]
    if found.path.note:
        return "; ".join(
            [*parts, f"{last.end} it {_by(last)} {_condition(last)}", "else it goes on elsewhere"]
        )
    return "; ".join([*parts, f"else {last.end} it {_by(last)}"])


def _condition(step: Step) -> str:
    if step.answer is Answer.MAYBE:
        return "if that matches"
    return "if it comes there"


def in_xdp(found: Explained) -> str:
    ruling = found.ruling
    if ruling.drop and ruling.gated and found.entry:
        return "passes it to netfilter: conntrack has an entry for it"
    if ruling.drop:
        how = "drops it" + (", beyond its source's budget" if ruling.budget else "")
        how += ", if conntrack has no entry for it" if ruling.gated else ""
        return f"{how}, by {_cause(ruling.cause)}"
    because = f": {ruling.why}" if ruling.why else ""
    at = f" ({_cause(ruling.cause)})" if ruling.cause else ""
    if found.entry and _accepted_by_state(found):
        without = f"; without one{because}{at}" if because else ""
        return f"passes it to netfilter: conntrack has an entry for it{without}"
    return f"passes it to netfilter{because}{at}"


def _accepted_by_state(found: Explained) -> bool:
    """For certain, by a rule that asks for the state of the connection: no other reason is needed then."""
    ends = found.path.ends if found.path is not None else ()
    rule = ends[0].rule if len(ends) == 1 and ends[0].end is End.ACCEPT else None
    return rule is not None and any(m.name in ("state", "conntrack") for m in rule.matches)


def _cause(cause: Cause | None) -> str:
    return "no rule" if cause is None else cause.stated


def decider(found: Explained) -> str:
    """One phrase for a summary: what netfilter does, by which rule."""
    path = found.path
    if path is None:
        return f"is asked nothing: {found.why.partition(':')[0]}"
    if not path.ends:
        return "leaves these rules"
    if len(path.ends) == 1:
        return f"{path.ends[0].end} {_by(path.ends[0])}"
    same = path.same_end
    if same:
        return f"{same} by one of {len(path.ends)} rules"
    rules = [e.rule for e in path.ends if e.rule]
    if any(r.span.source.among for r in rules):
        return f"does what {', '.join(r.place for r in rules)} say"
    lines = ", ".join(str(r.line) for r in rules)
    return f"does what lines {lines} say" if lines else "does what is not known"


def show_many(found: Sequence[Explained], console: Console) -> None:
    """Packets by what becomes of them, the most frequent first."""
    rows = Counter((decider(e), _short(e)) for e in found)
    console.print("packets  netfilter; XDP", soft_wrap=True)
    for (netfilter, xdp), count in rows.most_common():
        console.print(f"{count:>7}  {escape(netfilter)}; {escape(xdp)}", soft_wrap=True)
    dropped = sum(e.ruling.drop for e in found)
    gated = sum(e.ruling.drop and e.ruling.gated for e in found)
    some = f", {gated} of them only if conntrack has no entry" if gated else ""
    console.print(f"XDP drops {dropped} of {len(found)} packets{some}", soft_wrap=True)


def _short(found: Explained) -> str:
    ruling = found.ruling
    if not ruling.drop:
        return "passes"
    at = f" by {ruling.cause.place}" if ruling.cause and ruling.cause.line else ""
    beyond = " beyond a budget" if ruling.budget else ""
    return f"drops{at}{beyond}" + (" if conntrack has no entry" if ruling.gated else "")


def to_data(found: Explained) -> dict[str, Any]:
    path = found.path
    cause = found.ruling.cause
    return {
        "packet": found.text,
        "netfilter": in_netfilter(found),
        "ends": [_step(e) for e in path.ends] if path else [],
        "certain": path is not None and path.certain and not path.note,
        "xdp": {
            "drops": found.ruling.drop and not (found.ruling.gated and found.entry),
            "asks_conntrack": found.ruling.drop and found.ruling.gated, "budget": found.ruling.budget,
            "line": cause.line if cause else None, "why": in_xdp(found),
        },
        "path": [_step(s) for s in path.steps] if path else [],
    }  # fmt: skip


def _step(step: Step) -> dict[str, Any]:
    return {
        "table": step.table, "chain": step.chain, "line": step.rule.line if step.rule else None,
        "rule": step.rule.text if step.rule else None, "answer": step.answer.value, "in_doubt": step.doubt,
        "end": step.end.value if step.end else None,
        "tests": [{"test": t.text, "answer": t.answer.value, "why": t.why} for t in step.tested],
    }  # fmt: skip
