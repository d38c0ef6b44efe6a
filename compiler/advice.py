"""What REJECT and LOG cost a ruleset, found by compiling it as it could be: one line for each way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .decisions.budget import LOGS, SECOND, Budgets, reply_allowance
from .decisions.model import Cause
from .fields import Family
from .host.facts import HostFacts
from .report.entries import Entry, Fate
from .report.model import Report
from .rules.model import Rule, Ruleset

Compile = Callable[[tuple[Ruleset, ...], Budgets], Report]
#: So many places are named; the rest is counted.
MOST_NAMED = 8


def advice(
    rulesets: tuple[Ruleset, ...], host: HostFacts, report: Report, budgets: Budgets, compile_as: Compile
) -> tuple[str, ...]:
    """`compile_as`: the report that rules and budgets would have, all else as it is."""
    left = [e for e in report.dropping if e.fate is not Fate.OFFLOADED]
    if not left:
        return ()
    rules = [r for s in rulesets for r in s.rules() if r.target is not None]
    reject = budgets.reject is None and any(r.target and r.target.name == "REJECT" for r in rules)
    log = budgets.log is None and any(_logs(r) and _limited(r) for r in rules)
    lines = []
    if reject or log:
        lines += _with_budgets(rulesets, host, report, budgets, compile_as, reject, log)
    if any(_logs(r) and not _limited(r) for r in rules):
        lines += _without_logs(rulesets, report, budgets, compile_as)
    return tuple(lines)


def _with_budgets(
    rulesets: tuple[Ruleset, ...], host: HostFacts, report: Report, now: Budgets, compile_as: Compile,
    reject: bool, log: bool,
) -> list[str]:  # fmt: skip
    """The flags that win most, without those that add nothing to it."""
    choices = [replace(now, reject=0)] if reject else []
    choices += [replace(now, log=0)] if log else []
    choices += [replace(now, reject=0, log=0)] if reject and log else []
    best, most = None, 0
    for choice in choices:
        won = len(_won(report, compile_as(rulesets, choice)))
        if won > most:
            best, most = choice, won
    if best is None:
        return []
    flags = " ".join(
        f"--{name}-budget auto"
        for name, new, old in (("reject", best.reject, now.reject), ("log", best.log, now.log))
        if new != old
    )
    return [f"{flags}: {_more(most)} would run in XDP, at a cost: {_cost(best, now, host)}"]


def _cost(best: Budgets, now: Budgets, host: HostFacts) -> str:
    what, pass_up = [], []
    if best.reject != now.reject:
        reply = reply_allowance(best, host, Family.IPV4) or reply_allowance(best, host, Family.IPV6)
        what.append("replies")
        pass_up.append(f"{SECOND // reply.interval_ns} a second of each source for a reply" if reply else "")
    if best.log != now.log:
        what.append("log lines")
        pass_up.append("ten times the limit of each source for a log line")
    passing = ", ".join(p for p in pass_up if p)
    return f"in a flood {' and '.join(what)} are alike, not exactly the same ({passing} pass)"


def _without_logs(
    rulesets: tuple[Ruleset, ...], report: Report, budgets: Budgets, compile_as: Compile
) -> list[str]:
    """Rules that only count stand where an unlimited LOG is: numbers and lines stay."""

    def quiet(rule: Rule) -> Rule:
        return replace(rule, target=None) if _logs(rule) and not _limited(rule) else rule

    silenced = tuple(
        replace(
            s,
            tables=tuple(
                replace(t, chains=tuple(replace(c, rules=tuple(map(quiet, c.rules))) for c in t.chains))
                for t in s.tables
            ),
        )
        for s in rulesets
    )
    won = _won(report, compile_as(silenced, budgets))
    if not won:
        return []
    places = ", ".join(_place(e.cause) for e in won[:MOST_NAMED])
    more = f" and {len(won) - MOST_NAMED} more" if len(won) > MOST_NAMED else ""
    what = "keeps what it may log in netfilter, and so these drops"
    return [f"LOG without a limit {what}: {places}{more} (with -m limit before it there is --log-budget)"]


def _won(now: Report, then: Report) -> list[Entry]:
    def key(entry: Entry) -> tuple[str, str, str, int]:
        number = entry.cause.rule.number if entry.cause.rule else 0
        return entry.family, entry.cause.table, entry.cause.chain, number

    here = {key(e) for e in now.offloaded}
    return [e for e in then.offloaded if key(e) not in here]


def _place(cause: Cause) -> str:
    return cause.place if cause.rule else f"the policy of {cause.chain}"


def _more(count: int) -> str:
    return f"{count} more dropping rule{'s' if count > 1 else ''}"


def _logs(rule: Rule) -> bool:
    return rule.target is not None and rule.target.name in LOGS


def _limited(rule: Rule) -> bool:
    return any(m.name == "limit" for m in rule.matches)
