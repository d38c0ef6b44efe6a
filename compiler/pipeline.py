"""Text to C in one call: the path of data, as code."""

from __future__ import annotations

from dataclasses import dataclass

from .decisions import decide
from .decisions.model import DecisionList
from .emit import Plan, generate, make_plan
from .host.facts import HostFacts
from .host.findings import Finding, Scope, findings
from .passes import optimise
from .progress import Progress, silent
from .report.model import Report, make_report
from .rules.model import Ruleset


@dataclass(frozen=True, slots=True)
class Compiled:
    lists: tuple[DecisionList, ...]
    plan: Plan
    c_text: str
    report: Report


def compile_rules(
    rulesets: tuple[Ruleset, ...],
    host: HostFacts,
    kept: tuple[Finding, ...] | None = None,
    lifted: tuple[Finding, ...] = (),
    progress: Progress = silent,
) -> Compiled:
    """At most one ruleset a family. `kept`: the host's findings, less those that were `lifted`."""
    kept = findings(host) if kept is None else kept
    lists = decide(rulesets, host, kept, progress)
    progress("planning the program", 0, 0)
    group_drops = all(f.scope is not Scope.NO_GROUP_DROPS for f in kept)
    plan = make_plan((optimise(d) for d in lists), group_drops)
    return Compiled(lists, plan, generate(plan), make_report(rulesets, host, lists, plan, kept, lifted))
