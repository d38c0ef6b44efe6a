"""Text to C in one call: the path of data, as code."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .advice import advice
from .decisions import decide
from .decisions.budget import NO_BUDGETS, Budgets
from .decisions.model import DecisionList
from .emit import Plan, generate, make_plan
from .emit.engine import AUTOMATIC, EngineRequest
from .host.facts import HostFacts
from .host.finding import Finding, Scope
from .host.findings import findings
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
    budgets: Budgets = NO_BUDGETS,
    advise: bool = False,
    engine: EngineRequest = AUTOMATIC,
) -> Compiled:
    """At most one ruleset a family. `kept`: the host's findings, less those that were `lifted`.

    `advise`: also say what REJECT and LOG cost, which takes the time of a few compilations more."""
    kept = findings(host) if kept is None else kept

    def plan_and_report(
        rulesets: tuple[Ruleset, ...], budgets: Budgets
    ) -> tuple[tuple[DecisionList, ...], Plan, Report]:
        lists = decide(rulesets, host, kept, progress, budgets)
        progress("planning the program", 0, 0)
        group_drops = all(f.scope is not Scope.NO_GROUP_DROPS for f in kept)
        plan = make_plan((optimise(d) for d in lists), group_drops, engine)
        return lists, plan, make_report(rulesets, host, lists, plan, kept, lifted)

    lists, plan, report = plan_and_report(rulesets, budgets)
    if advise:
        lines = advice(rulesets, host, report, budgets, lambda r, b: plan_and_report(r, b)[2])
        report = replace(report, advice=lines)
    return Compiled(lists, plan, generate(plan), report)


def made_anew(
    compiled: Compiled, rulesets: tuple[Ruleset, ...], host: HostFacts, engine: EngineRequest
) -> Compiled:
    """What was decided, as another program. The rest as `compiled` was made with it."""
    lists, old = compiled.lists, compiled.report
    plan = make_plan((optimise(d) for d in lists), compiled.plan.group_drops, engine)
    report = make_report(rulesets, host, lists, plan, old.kept, old.lifted)
    return Compiled(lists, plan, generate(plan), replace(report, advice=old.advice))
