"""Real packets, real netfilter: what comes through INPUT with the program and without it.

Two benches of two namespaces each, with the same rules: a program runs in one of them. Every frame comes to
a conntrack that has no entry for it, and to a program that has not just seen its flow. Where rules ask for
state, some come again when conntrack has an entry (known.py)."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..decisions.budget import NO_BUDGETS, Budgets
from ..decisions.hookpath import rule_uses_conntrack
from ..emit.engine import AUTOMATIC, EngineRequest
from ..host.facts import HostFacts
from ..kernel import attach, kfuncs, maps
from ..kernel.compile import compile_program
from ..kernel.errors import KernelError
from ..pipeline import Compiled, compile_rules
from ..progress import Progress, silent
from ..rules.model import Ruleset, Variant
from ..rules.printing import print_ruleset
from ..source import UserError
from .bench import Bench
from .flows import spread
from .known import frames_in_flows, survivors_with_entries
from .model import Frame, Place
from .planned import PlanSubject
from .program import attached_long_ago

_COUNTING = frozenset(
    {"limit", "hashlimit", "connlimit", "recent", "quota", "rateest", "statistic", "time", "connbytes"}
)


@dataclass(frozen=True, slots=True)
class Wire:
    """Of `sent` frames, `came` came through INPUT without the program. `lost`: came without, not with it;
    `gained`: the reverse. `dropped`: what the program counted. `known`: frames more of flows with an entry in
    conntrack, of which `known_came` came through without the program; `lost` and `gained` have these as well.

    `counted`: frames that differ, but are not held against the program: it passes them, and the rules have
    matches, `counting`, that answer by what they met before, and when."""

    sent: int
    came: int
    dropped: int
    lost: tuple[Frame, ...]
    gained: tuple[Frame, ...]
    counted: tuple[Frame, ...] = ()
    counting: tuple[str, ...] = ()
    known: int = 0
    known_came: int = 0

    @property
    def ok(self) -> bool:
        return not (self.lost or self.gained)


@contextlib.contextmanager
def benches(
    rulesets: Sequence[Ruleset], place: Place, ifname: str, sets: str = ""
) -> Iterator[tuple[Bench, Bench]]:
    """Without and with a program (still to be attached), rules in force in both. `sets`: for ipset."""
    with Bench(place, ifname) as bare, Bench(place, ifname) as programmed:
        for bench in (bare, programmed):
            if sets:
                bench.pair.run(bench.pair.server, ["ipset", "restore"], input=sets)
            for ruleset in rulesets:
                variant = Variant.LEGACY if ruleset.variant is Variant.LEGACY else Variant.NFT
                text = print_ruleset(ruleset)
                try:
                    bench.load(text, variant, ruleset.family)
                except KernelError as e:
                    raise UserError(
                        f"netfilter does not take the {ruleset.family.value} rules: {_refusal(str(e), text)}",
                        "sets are given by --ipset; else verify without --kernel",
                    ) from e
        yield bare, programmed


def _refusal(said: str, text: str) -> str:
    """What iptables-restore says, with the line that it means: it counts those that it was given, not the
    user's."""
    words = [line.strip() for line in said.splitlines()[1:] if line.strip()]
    number = re.search(r"line:? ([0-9]+)", said)
    lines = text.splitlines()
    if not words or number is None or int(number[1]) > len(lines):
        return f"\n{said}"
    why = words[0].partition("): ")[2] or words[0]
    return f"{why}\n    {lines[int(number[1]) - 1]}"


def on_the_wire(
    pair: tuple[Bench, Bench],
    rulesets: Sequence[Ruleset],
    frames: Sequence[Frame],
    compiled: Compiled,
    progress: Progress = silent,
) -> Wire:
    """`compiled`: for the facts of the benches."""
    bare, programmed = pair
    data = spread([f.data for f in frames])
    frames = [Frame(f.name, d) for f, d in zip(frames, data, strict=True)]
    plan = PlanSubject(compiled.plan, bare.facts())
    known = frames_in_flows(frames, plan.rule(data)) if _track(rulesets) else []
    again = [f.data for f in known]
    progress("sending without the program", 0, 0)
    came = bare.without_entries(data)
    known_came = survivors_with_entries(bare, again) if known else set()
    progress("sending with the program", 0, 0)
    program = compile_program(compiled.c_text, compiled.plan.map_values)
    with contextlib.ExitStack() as stack:
        stack.enter_context(programmed.pair.enter(programmed.pair.server))
        fd = kfuncs.load(program.instructions, program.license).fd
        stack.callback(os.close, fd)
        maps.fill(program.maps, programmed.facts())
        attach.attach(fd, programmed.ifname, "native")  # goes with the namespace

        def fresh() -> None:
            attached_long_ago(program.maps)

        there = programmed.without_entries(data, fresh)
        counted = sum(c.packets for c in maps.read_counters(program.maps).rules)
        known_there = survivors_with_entries(programmed, again, fresh) if known else set()
    of_known = PlanSubject(compiled.plan, bare.facts(), entry=True)
    counting = _counting(rulesets)
    lost: list[Frame] = []
    gained: list[Frame] = []
    by_count: list[Frame] = []
    for sent, without, with_it, subject in (
        (frames, came, there, plan), (known, known_came, known_there, of_known),
    ):  # fmt: skip
        for index in sorted(without ^ with_it):
            frame = sent[index]
            if counting and not subject.ruling(frame.data).drop:
                by_count.append(frame)
            else:
                (lost if index in without else gained).append(frame)
    return Wire(
        sent=len(frames),
        came=len(came),
        dropped=counted,
        lost=tuple(lost),
        gained=tuple(gained),
        counted=tuple(by_count),
        counting=counting,
        known=len(known),
        known_came=len(known_came),
    )


def _track(rulesets: Sequence[Ruleset]) -> bool:
    return any(rule_uses_conntrack(rule) for s in rulesets for rule in s.rules())


def _counting(rulesets: Sequence[Ruleset]) -> tuple[str, ...]:
    """Matches whose answer hangs on earlier packets, on the clock or on chance."""
    return tuple(
        sorted({m.name for s in rulesets for r in s.rules() for m in r.matches if m.name in _COUNTING})
    )


def compiled_for(
    bench: Bench,
    rulesets: tuple[Ruleset, ...],
    host: HostFacts,
    budgets: Budgets = NO_BUDGETS,
    engine: EngineRequest = AUTOMATIC,
) -> Compiled:
    """For the facts of the bench, and the sets of the host."""
    facts = replace(bench.facts(), ipsets=host.ipsets)
    return compile_rules(rulesets, facts, budgets=budgets, engine=engine)
