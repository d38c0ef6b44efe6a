"""A verification for people, and as data."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from ..decisions.model import Cause
from ..reference.interpret import Outcome, Verdict
from ..report.text import escape
from ..source import UserError
from .model import Comparison, Disagreement, Frame
from .readable import readable
from .run import Verification
from .wire import Wire

#: Shown of each kind; --json has them all.
MOST = 5


def show(found: Verification, wire: Wire | None, console: Console, rules: str = "RULES") -> None:
    """`rules`: what the user called them."""
    c = found.comparison

    def line(word: str, text: str, style: str = "") -> None:
        shown = f"{word:>9}  {text}"
        console.print(f"[{style}]{shown}[/{style}]" if style else shown, soft_wrap=True)

    gated = f", {c.gated} of them after a look at conntrack" if c.gated else ""
    line("tried", f"{c.tried} frames on the {_SUBJECT[found.subject]}: {c.dropped} dropped{gated}")
    for what in found.cut:
        line("", f"time ran out (--seconds): {what}", "yellow")
    if found.idle:
        line("", "no decision drops: a few frames do, and what passes is not judged")
    right = c.judged - len(found.disagreements)
    if c.dropped or not found.idle:
        line("judged", f"{right} of {c.judged} drops are what netfilter certainly does")
    if c.missed > 0:
        which = "frame passes" if c.missed == 1 else "frames pass"
        line("", f"{c.missed} {which} that netfilter certainly drops: this costs speed only", "dim")
    if c.known:
        line("", f"{c.known} of the gated drops were tried again with an entry in conntrack")
    if not found.idle:
        line("covered", f"{found.reached} of {found.decisions} dropping decisions, and {_rules(found)}")
    for entry in found.unmet[:MOST]:
        line("", f"not met: {_named(entry.cause)}", "dim")
    if len(found.unmet) > MOST:
        line("", f"and {len(found.unmet) - MOST} more rules; --json names them", "dim")
    if found.unmet and (span := found.unmet[0].cause.span):
        line("", f"why: xdptables explain {escape(rules)} --rule {escape(span.address)}", "dim")
    for kind, index, cause in found.unreached[:MOST]:
        line("", f"no frame reached decision {index} of {kind}, a drop by {_named(cause)}", "dim")
    for frame in found.differing[:MOST]:
        line("differs", f"from its plan, on {escape(readable(frame.data))}", "yellow")
    for owner, wrong in _by_cause(found.disagreements).items():
        line("WRONG", f"{_named(owner)} drops {_frames(len(wrong))} in error", "red")
        for d in wrong[:MOST]:
            line("", escape(readable(d.frame.data)))
            line("", f"[dim]{escape(_judgement(d.outcome))}; made as: {escape(d.frame.name)}[/dim]")
    if wire is not None:
        _show_wire(wire, line)


def _show_wire(wire: Wire, line: Any) -> None:
    line("sent", f"{wire.sent} frames to netfilter: {wire.came} came through")
    line("", f"the program dropped {wire.dropped} of them" + (", with the same result" if wire.ok else ""))
    if wire.known:
        line("", f"{wire.known} more of flows with an entry in conntrack: {wire.known_came} came through")
    if not wire.came and not wire.known_came:
        line("", "nothing comes through at all, so this shows little: is -i the right interface?", "yellow")
    for word, frames, what in (
        ("WRONG", wire.lost, "netfilter lets through what is gone with the program"),
        ("WRONG", wire.gained, "the program makes netfilter let through what it would have dropped"),
    ):
        if frames:
            line(word, f"{what}: {_frames(len(frames))}", "red")
        for frame in frames[:MOST]:
            line("", f"{escape(readable(frame.data))} [dim]({escape(frame.name)})[/dim]")
    if wire.counted:
        matches = ", ".join(wire.counting)
        which = "frame differs" if len(wire.counted) == 1 else "frames differ"
        line("", f"{len(wire.counted)} {which} where rules count what they meet ({matches})", "dim")


def verdict(found: Verification, wire: Wire | None) -> str:
    """One line; begins with "ok" if nothing is wrong."""
    wrong = len(found.disagreements) + (len(wire.lost) + len(wire.gained) if wire else 0)
    if wrong:
        return f"wrong on {_frames(wrong)}: this is a defect of xdptables; do not load these rules"
    c = found.comparison
    if not c.dropped:
        return "ok: nothing is dropped"
    if not c.judged:
        return "time ran out before any drop was judged: --seconds gives it more"
    if c.judged < c.dropped:
        return f"ok so far: none of the {c.judged} drops that were judged is one that netfilter lets through"
    return "ok: nothing is dropped that netfilter would have let through"


def refuse_disagreements(result: Comparison) -> None:
    """Raises UserError if the program drops in error, with the first frame of each rule."""
    if not result.disagreements:
        return
    lines = [
        f"the program drops what netfilter may accept, so it is not loaded ({result.tried} frames tried):"
    ]
    for cause, wrong in list(_by_cause(result.disagreements).items())[:MOST]:
        what = f"{cause.place}: {cause.text}" if cause else "a rule"
        lines += [what, f"  {readable(wrong[0].frame.data)}", f"  {_judgement(wrong[0].outcome)}"]
    raise UserError("\n    ".join(lines), "this is a defect of xdptables: please report it")


def to_data(found: Verification, wire: Wire | None) -> dict[str, Any]:
    c = found.comparison
    return {
        "ok": verdict(found, wire).startswith("ok"),
        "subject": found.subject,
        "seconds": round(found.seconds, 2),
        "time_ran_out": list(found.cut),
        "frames": {
            "tried": c.tried, "dropped": c.dropped, "gated": c.gated, "judged": c.judged, "missed": c.missed,
            "known": c.known,
        },
        "decisions": {
            "dropping": found.decisions, "reached": found.reached,
            "unreached": [{"decision": f"{k} {i}", **_rule(cause)} for k, i, cause in found.unreached],
        },
        "drops": [{**_rule(cause), "frames": count} for cause, count in c.causes.items()],
        "unmet": [_rule(e.cause) for e in found.unmet],
        "differing": [_frame(f) for f in found.differing],
        "disagreements": [
            {
                **_frame(d.frame), "rule": _rule(d.ruling.cause) if d.ruling.cause else None,
                "gated": d.ruling.gated, "judge": _judgement(d.outcome),
            }
            for d in found.disagreements
        ],
        "kernel": None if wire is None else {
            "sent": wire.sent, "came": wire.came, "dropped": wire.dropped,
            "with_entry": {"sent": wire.known, "came": wire.known_came},
            "lost": [_frame(f) for f in wire.lost], "gained": [_frame(f) for f in wire.gained],
            "counted": [_frame(f) for f in wire.counted],
        },
    }  # fmt: skip


_SUBJECT = {"program": "compiled program", "plan": "plan of the program (running it needs root)"}


def _rules(found: Verification) -> str:
    met = len(found.comparison.met)
    return f"{met} of {met + len(found.unmet)} rules"


def _frames(number: int) -> str:
    return "1 frame" if number == 1 else f"{number} frames"


def _by_cause(disagreements: tuple[Disagreement, ...]) -> dict[Cause | None, list[Disagreement]]:
    found: dict[Cause | None, list[Disagreement]] = {}
    for d in disagreements:
        found.setdefault(d.ruling.cause, []).append(d)
    return found


def _named(cause: Cause | None) -> str:
    return "a rule" if cause is None else escape(cause.stated)


def _judgement(outcome: Outcome) -> str:
    at = f", by {outcome.rule.place}" if outcome.rule else ""
    match outcome.verdict:
        case Verdict.ACCEPT:
            return f"netfilter accepts it{at}"
        case Verdict.DROP:
            return f"netfilter drops it{at}"
    return f"netfilter may accept it{at}: {outcome.why}"


def _rule(cause: Cause) -> dict[str, Any]:
    return {"table": cause.table, "chain": cause.chain, "line": cause.line, "rule": cause.text}


def _frame(frame: Frame) -> dict[str, str]:
    return {"frame": frame.data.hex(), "packet": readable(frame.data), "made_as": frame.name}
