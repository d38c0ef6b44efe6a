"""From a live host and perhaps a file to a program on an interface: what load, its dry run and the
watcher share."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .decisions.budget import NO_BUDGETS, Budgets
from .decisions.hookpath import reads_merged_fields
from .emit import Plan
from .emit.engine import AUTOMATIC, MOST_HALVINGS, EngineRequest
from .fields import Family
from .host.facts import HostFacts
from .host.finding import Finding, Scope, lift
from .host.findings import findings
from .host.generation import KeptByGeneration
from .host.live_rules import LiveDump, all_dumps
from .host.live_sets import in_force
from .host.masters import as_master
from .host.observe import observe
from .kernel.attach import ifindex_of
from .kernel.errors import TooComplex
from .kernel.load import load_program
from .kernel.netns import in_netns
from .kernel.state import LoadedState
from .matches.lowering import facts_read
from .pipeline import Compiled, compile_rules, made_anew
from .progress import Progress, silent
from .rules.model import Ruleset, Table
from .rules.reader import read_rulesets
from .source import Source, UserError
from .verify.lifted import stopping, without
from .verify.model import Comparison
from .verify.namespace import NoNamespace
from .verify.run import quick
from .verify.show import refuse_disagreements

#: Seconds for which a program goes on dropping when nothing is heard of its watcher; a watcher says so with
#: each look. Long enough for a host that a flood keeps from anything else.
LEASE = 120.0
NO_FINDINGS: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for. `rules`: None means the live rules. `port_of`: the upper device whose
    name `-i` sees. `verify`: try the program on frames before it is attached. `engine`: of the program.
    `watched`: a watcher will follow the rules."""

    ifname: str
    rules: Source | None = None
    family: Family | None = None
    mode: str = "auto"
    replace: bool = False
    netns: str = ""
    port_of: str = ""
    disregard: tuple[str, ...] = ()
    verify: bool = True
    budgets: Budgets = NO_BUDGETS
    engine: EngineRequest = AUTOMATIC
    watched: bool = True

    @property
    def source(self) -> str:
        return self.rules.name if self.rules else "live"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything decided, nothing loaded. `idle`: patterns of --disregard that lift nothing.
    `judged`: the host as a judge of the program is to see it: `-i` as the user says, lifted facts gone."""

    request: Request
    host: HostFacts
    judged: HostFacts
    rulesets: tuple[Ruleset, ...]
    compiled: Compiled
    stops: tuple[Finding, ...]
    idle: tuple[str, ...]
    live_rules: str  # a digest of what netfilter held
    kept: KeptByGeneration  # ... as it was read


def prepare(request: Request, progress: Progress = silent, advise: bool = False) -> Prepared:
    """Observe the host, read the rules, compile. Raises UserError or InputError."""
    given = _given(request, progress)
    progress("observing the host", 0, 0)
    read = KeptByGeneration()
    with in_netns(request.netns):
        dumps = all_dumps(read)
        # Before the sets are read: a change meanwhile is one that a watcher sees.
        live_digest = in_force(dumps)
        host = observe(request.ifname, dumps, read, seen_as=request.port_of)
    live = _rulesets(dumps, progress)
    if given is None:
        rulesets, extra = live, NO_FINDINGS
    else:
        rulesets, extra = _completed(given, live), _not_live(given, live)
    found = (*findings(host), *extra, *_merging(request, host, rulesets))
    kept, lifted, idle = lift(found, request.disregard)
    seen = _seen(host)
    compiled = compile_rules(rulesets, seen, kept, lifted, progress, request.budgets, advise, request.engine)
    stops = tuple(f for f in kept if f.scope is Scope.STOPS)
    judged = without(seen, (*lifted, *stopping(seen)))
    return Prepared(request, host, judged, rulesets, compiled, stops, idle, live_digest, read)


def _given(request: Request, progress: Progress) -> tuple[Ruleset, ...] | None:
    """A file without rules would mean the live ones, whatever was wrong with it."""
    if request.rules is None:
        return None
    given = read_rulesets(request.rules, request.family, progress=progress)
    if not any(ruleset.tables for ruleset in given):
        hint = "iptables-save prints them, as root; without a file the live ones are loaded"
        raise UserError(f"{request.rules.name} holds no rules", hint)
    return given


def load_what_fits(
    request: Request,
    verified: Callable[[Comparison | NoNamespace], None] = lambda result: None,
    progress: Progress = silent,
    advise: bool = False,
    told: Callable[[Prepared], None] = lambda prepared: None,
) -> tuple[Prepared, LoadedState]:
    """Prepare and load; where the kernel's verifier gives up, a program that does less is made. `told` hears
    of each one before it is loaded."""
    prepared = prepare(request, progress, advise=advise)
    while True:
        told(prepared)
        try:
            return prepared, load(prepared, verified, progress)
        except TooComplex:
            if prepared.request.engine.halvings == MOST_HALVINGS:
                raise
            prepared = _smaller(prepared)


def _smaller(prepared: Prepared) -> Prepared:
    """Of the same rules and the same host: what has changed since, the watcher sees by the record."""
    request = dataclasses.replace(prepared.request, engine=prepared.request.engine.smaller)
    compiled = made_anew(prepared.compiled, prepared.rulesets, _seen(prepared.host), request.engine)
    return dataclasses.replace(prepared, request=request, compiled=compiled)


def _seen(host: HostFacts) -> HostFacts:
    """With the interface as `-i` sees it."""
    if not host.interface.seen_as:
        return host
    return dataclasses.replace(host, interface=as_master(host.interface))


def slots_of(plan: Plan) -> list[dict[str, Any]]:
    """Of each counter the rule, as `status` shows it."""
    on_budget = plan.on_budget
    return [
        {"line": c.line, "table": c.table, "chain": c.chain, "rule": c.text, "budget": c in on_budget}
        for c in plan.slots
    ]


def load(
    prepared: Prepared,
    verified: Callable[[Comparison | NoNamespace], None] = lambda result: None,
    progress: Progress = silent,
) -> LoadedState:
    """Attach it. Raises UserError with every finding that stops the load, or with a frame that the program
    would drop in error. `verified` is told how the program was tried, or why it could not be, unless the
    request says not to."""
    request = prepared.request
    stops = [f for f in prepared.stops if not (f.id == "foreign-xdp" and request.replace)]
    if stops:
        lines = [f"{f.id}: {f.text}" + (f" (way out: {f.way_out})" if f.way_out else "") for f in stops]
        ids = " ".join(f"--disregard {f.id}" for f in stops)
        what = "\n    ".join((f"nothing is loaded on {request.ifname}:", *lines))
        raise UserError(what, f"mend it, or lift it knowingly: {ids}")

    def check(prog_fd: int, map_fds: Mapping[str, int]) -> None:
        if request.verify and prepared.compiled.plan.drops:
            progress("trying the program", 0, 0)
            ifindex = ifindex_of(request.ifname)
            try:
                result = quick(
                    prog_fd, map_fds, prepared.rulesets, prepared.judged, prepared.compiled, ifindex,
                    limited=request.budgets.effects,
                )  # fmt: skip
            except NoNamespace as e:
                verified(e)
                return
            refuse_disagreements(result)
            verified(result)

    progress("compiling the program", 0, 0)
    return load_program(
        prepared.compiled.c_text,
        request.ifname,
        dataclasses.replace(prepared.host, ipsets=None),  # the digest stands for them
        values=prepared.compiled.plan.map_values,
        mode="native"
        if request.mode == "auto" and _merges(prepared.host, prepared.rulesets)
        else request.mode,
        replace=request.replace,
        lease=LEASE if request.watched else 0,
        source=request.source,
        slots=slots_of(prepared.compiled.plan),
        report_json={
            "summary": prepared.compiled.report.summary,
            "limits": list(prepared.compiled.report.limits),
            "request": {
                "rules": os.path.abspath(request.rules.name) if request.rules else None,
                "family": request.family,
                "mode": request.mode,
                "port_of": request.port_of,
                "verify": request.verify,
                "budgets": dataclasses.asdict(request.budgets),
                "engine": dataclasses.asdict(dataclasses.replace(request.engine, halvings=0)),
            },
            "live_rules": prepared.live_rules,
            "compiled_facts": sorted(
                facts_read(r for s in prepared.rulesets for r in s.rules()) | request.budgets.facts
            ),
        },
        disregarded=request.disregard,
        netns=request.netns,
        check=check,
    )


def _rulesets(dumps: tuple[LiveDump, ...], progress: Progress) -> tuple[Ruleset, ...]:
    """One ruleset a family; where both variants hold rules, the first (two-backends stops the load)."""
    rulesets: dict[Family, Ruleset] = {}
    for dump in dumps:
        if not dump.of_consequence:
            continue
        source = Source(f"{dump.family.value}/{dump.variant.value}", dump.text)
        for ruleset in read_rulesets(source, dump.family, progress=progress):
            rulesets.setdefault(ruleset.family, dataclasses.replace(ruleset, variant=dump.variant))
    return tuple(rulesets.values())


def _completed(given: tuple[Ruleset, ...], live: tuple[Ruleset, ...]) -> tuple[Ruleset, ...]:
    """The file says nothing of the tables and the family that it leaves out: those are the live ones."""
    by_family = {r.family: r for r in live}
    for ruleset in given:
        there = by_family.get(ruleset.family)
        names = {t.name for t in ruleset.tables}
        others = tuple(t for t in there.tables if t.name not in names) if there else ()
        by_family[ruleset.family] = dataclasses.replace(ruleset, tables=(*ruleset.tables, *others))
    return tuple(by_family.values())


def _not_live(given: tuple[Ruleset, ...], live: tuple[Ruleset, ...]) -> tuple[Finding, ...]:
    """The promise is about netfilter with the same rules: other rules there may accept what these drop."""
    out = []
    for ruleset in given:
        there = next((r for r in live if r.family is ruleset.family), None)
        differing = [
            t.name for t in ruleset.tables if _content(t) != _content(there.table(t.name) if there else None)
        ]
        if differing:
            word = "iptables" if ruleset.family is Family.IPV4 else "ip6tables"
            out.append(
                Finding(
                    f"rules-not-live:{ruleset.family.value}",
                    Scope.STOPS,
                    f"netfilter holds other rules than the file, in table {', '.join(differing)}",
                    f"{word}-restore the file first",
                    ruleset.family,
                )
            )
    return tuple(out)


def _content(table: Table | None) -> object:
    """What counts in a table: policies and rules by chain; a chain that is empty and open is no content."""
    if table is None:
        return {}
    chains = {}
    for chain in table.chains:
        rules = tuple((r.matches, r.target) for r in chain.rules)
        if rules or chain.policy not in ("ACCEPT",):
            chains[chain.name] = (chain.policy, rules)
    return chains


def _merges(host: HostFacts, rulesets: tuple[Ruleset, ...]) -> bool:
    return host.interface.gro is not False and (host.ipsec or any(reads_merged_fields(r) for r in rulesets))


def _merging(request: Request, host: HostFacts, rulesets: tuple[Ruleset, ...]) -> tuple[Finding, ...]:
    """A generic program switches GRO off, which alone changes what such rules match."""
    if request.mode != "generic" or not _merges(host, rulesets):
        return ()
    text = "a generic program stops GRO, and rules read what it changes (length, FIN, PSH)"
    if host.ipsec:
        text = "a generic program stops GRO, which may decrypt IPsec before any rule sees it"
    return (Finding("gro-rules", Scope.STOPS, text, "--mode native, or switch GRO off for good"),)
