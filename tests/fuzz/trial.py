"""One trial: rules and traffic from a seed, and all the judges that must agree on them.

1. What comes through INPUT, and what the host sends, is the same with rules alone as with rules and program.
   In two of three trials the plan stands in for the program: what it drops without asking conntrack is
   not sent. That takes a quarter of the time, most of which is the C compiler's.
2. What came through is nothing that the interpreter is certain of dropping, whatever conntrack knows.
3. The plan, run in Python, drops only what the interpreter is certain of.
4. The program, by BPF_PROG_TEST_RUN, drops what the plan drops.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from fuzz.case import Case, Counts, Result, Wrong, with_traffic
from fuzz.hosts import Host, Seen
from fuzz.rulesets import Rules
from xdptables.emit.engine import EngineRequest
from xdptables.kernel import pins
from xdptables.kernel.errors import TooComplex
from xdptables.kernel.load import unload_program
from xdptables.kernel.state import LoadedState
from xdptables.loading import Prepared, Request, load, prepare
from xdptables.pipeline import compile_rules
from xdptables.reference.interpret import Judge, Verdict
from xdptables.rules.model import Variant
from xdptables.rules.reader import read_rulesets
from xdptables.source import InputError, Source
from xdptables.verify.bench import IFNAME
from xdptables.verify.compare import compare
from xdptables.verify.model import Ruling
from xdptables.verify.planned import PlanSubject
from xdptables.verify.program import ProgramSubject, attached_long_ago

#: The bench reads its sentinels by AF_PACKET.
DISREGARD = ("packet-sockets*", "unscanned-names*")
_PHASES = 6
PLAN = "plan and interpreter"
BETWEEN_HOSTS = ("lost with", "gained with", "answers")


@dataclass
class Arena:
    """Two hosts of one variant: one with rules alone, one that a program helps."""

    alone: Host
    helped: Host
    trials: int = 0

    def prepared(self, rulesets: Sequence[Rules], forward: bool, strict: bool, engine: str) -> Prepared | str:
        """The rules on both, and what the project makes of them. A text where iptables refuses them."""
        for host in (self.alone, self.helped):
            refused = host.restore(rulesets)
            if refused:
                return refused
            host.settings(forward, strict)
        request = Request(
            IFNAME,
            netns=self.helped.pair.server.ns,
            replace=True,
            disregard=DISREGARD,
            verify=False,
            engine=EngineRequest(engine),
        )
        return prepare(request)

    def run(
        self, case: Case, prepared: Prepared, rulings: Sequence[Ruling]
    ) -> tuple[Seen, Seen, list[Wrong]]:
        """The plan stands in for a program that the verifier gives up on: a smaller one is another plan."""
        try:
            return self._run(case, prepared, rulings)
        except TooComplex:
            return self._run(dataclasses.replace(case, real=False), prepared, rulings)

    def _run(
        self, case: Case, prepared: Prepared, rulings: Sequence[Ruling]
    ) -> tuple[Seen, Seen, list[Wrong]]:
        """The same traffic to both, in parts between which the program forgets which flows it has just
        passed, as it does in a tenth of a second."""
        hosts = (self.alone, self.helped)
        dropped = set() if case.real else {i for i, r in enumerate(rulings) if r.drop and not r.gated}
        through: tuple[set[int], set[int]] = (set(), set())
        sent: tuple[Counter[bytes], Counter[bytes]] = (Counter(), Counter())
        wrong: list[Wrong] = []
        if not case.real:
            self.close()
        with self._program(prepared) if case.real else contextlib.nullcontext() as subject:
            self.trials += 1
            for host in hosts:
                host.begin(self.trials)
            phases = _PHASES if case.real else 1
            size = -(-len(case.events) // phases) or 1
            for start in range(0, len(case.events), size):
                if subject is not None:
                    attached_long_ago(subject.maps)
                part = case.events[start : start + size]
                for number, host in enumerate(hosts):
                    seen = host.play(part, start, dropped if number else ())
                    through[number].update(seen.through)
                    sent[number].update(seen.sent)
            if subject is not None:
                wrong = self._against_plan(case, rulings, subject)
        return Seen(frozenset(through[0]), sent[0]), Seen(frozenset(through[1]), sent[1]), wrong

    @contextlib.contextmanager
    def _program(self, prepared: Prepared) -> Iterator[ProgramSubject]:
        state = load(prepared)
        fds: dict[str, int] = {}
        fd = _open(state)
        try:
            fds = pins.open_maps(state.key, fd)
            yield ProgramSubject(fd, fds, state.ifindex)
        finally:
            for number in (fd, *fds.values()):
                os.close(number)

    def _against_plan(self, case: Case, rulings: Sequence[Ruling], subject: ProgramSubject) -> list[Wrong]:
        self.helped.forget()
        attached_long_ago(subject.maps)
        data = [e.frame.data for e in case.events]
        with self.helped.pair.enter(self.helped.pair.server):
            ran = subject.rule(data)
        return [
            Wrong("program and plan", f"{event.frame.name}: the plan {_word(p)}, the program {_word(r)}", i)
            for i, (event, p, r) in enumerate(zip(case.events, rulings, ran, strict=True))
            if (r.drop and not (p.drop and p.gated <= r.gated)) or (p.drop and not r.drop and not r.why)
        ]

    def close(self) -> None:
        """Nothing is attached any more."""
        with contextlib.suppress(Exception):
            unload_program(IFNAME, netns=self.helped.pair.server.ns)


def _open(state: LoadedState) -> int:
    fd = pins.open_program(state.key, state.prog_id, state.load_time)
    assert fd is not None
    return fd


def _word(ruling: Ruling) -> str:
    return ("drops after a look-up" if ruling.gated else "drops") if ruling.drop else f"passes {ruling.why}"


def trial(arena: Arena, case: Case, seed: int) -> Result:
    """`case` is without traffic, which comes from `seed`."""
    prepared = arena.prepared(case.rulesets, case.forward, case.strict, case.engine)
    if isinstance(prepared, str):
        return Result(counts=Counts(refused_by_iptables=1))
    return judge(arena, with_traffic(case, prepared, seed), prepared)


def whole(arena: Arena, case: Case, seed: int) -> tuple[Case, Prepared]:
    """What `trial` tries."""
    prepared = arena.prepared(case.rulesets, case.forward, case.strict, case.engine)
    assert isinstance(prepared, Prepared)
    return with_traffic(case, prepared, seed), prepared


def again(arena: Arena, case: Case) -> Result:
    """For shrinking: the same traffic under other rules."""
    prepared = arena.prepared(case.rulesets, case.forward, case.strict, case.engine)
    return Result() if isinstance(prepared, str) else judge(arena, case, prepared)


def judge(arena: Arena, case: Case, prepared: Prepared) -> Result:
    plan, rulesets = prepared.compiled.plan, prepared.rulesets
    host = prepared.judged
    frames = [e.frame for e in case.events]
    inward = [i for i, e in enumerate(case.events) if not e.out]
    planned = PlanSubject(plan, host).rule([f.data for f in frames])
    alone, helped, wrong = arena.run(case, prepared, planned)
    wrong += _differences(case, alone, helped)
    judged = Judge(rulesets, host, IFNAME)
    for index in sorted(alone.through):
        outcome = judged.outcome(frames[index].data)
        if outcome.verdict is Verdict.DROP:
            wrong.append(
                Wrong("interpreter and netfilter", f"{frames[index].name}: came through; {outcome}", index)
            )
    found = compare(rulesets, host, [frames[i] for i in inward], [planned[i] for i in inward])
    for d in found.disagreements:
        at = next(i for i in inward if frames[i] is d.frame)
        wrong.append(Wrong(PLAN, f"{d.frame.name}: {_word(d.ruling)}; {d.outcome}", at))
    reached = {r for p in planned for r in p.reached}
    counts = Counts(
        rulesets=1,
        rules=sum(r.count for r in case.rulesets),
        frames=len(inward),
        packets_of_the_host=len(frames) - len(inward),
        came_through_input=len(alone.through),
        real_programs=int(case.real),
        decisions=sum(len(d.decisions) for d in plan.lists),
        decisions_reached=len(reached),
        dropping_rules=len(plan.slots),
        dropping_rules_reached=len(found.causes),
        drops=found.dropped,
        drops_after_a_look_at_conntrack=found.gated,
        disagreements=len(wrong),
    )
    return Result(wrong, counts)


def steady(arena: Arena, case: Case, seed: int) -> bool:
    """Two hosts without a program do the same: else what differs says nothing of the program."""
    case, prepared = whole(arena, case, seed)
    passes = [Ruling(False)] * len(case.events)
    alone, helped, _ = arena.run(replace(case, real=False), prepared, passes)
    return not _differences(case, alone, helped)


def plan_is_wrong(case: Case, prepared: Prepared) -> bool:
    """Plan against interpreter alone, on the host of `prepared`: without a kernel, so in no time."""
    nat = any(r.uses_nat for r in case.rulesets)
    try:
        rulesets = tuple(
            replace(r, variant=prepared.rulesets[0].variant)
            for rules in case.rulesets
            for r in read_rulesets(Source("rules", rules.text(nat)), rules.family)
        )
    except InputError:
        return False
    frames = [e.frame for e in case.events if not e.out]
    compiled = compile_rules(rulesets, prepared.judged, engine=EngineRequest(case.engine))
    planned = PlanSubject(compiled.plan, prepared.judged).rule([f.data for f in frames])
    return bool(compare(rulesets, prepared.judged, frames, planned).disagreements)


def _differences(case: Case, alone: Seen, helped: Seen) -> list[Wrong]:
    wrong = []
    for word, indices in (
        ("lost", alone.through - helped.through),
        ("gained", helped.through - alone.through),
    ):
        wrong += [
            Wrong(f"{word} with {'the program' if case.real else 'the plan'}", case.events[i].frame.name, i)
            for i in sorted(indices)
        ]
    for word, packets in (("lost", alone.sent - helped.sent), ("gained", helped.sent - alone.sent)):
        for packet, number in packets.items():
            wrong.append(Wrong(f"answers {word}", f"{number} times {packet.hex()}"))
    return wrong


@contextlib.contextmanager
def arenas() -> Iterator[Callable[[Variant, Sequence[Rules]], Arena]]:
    """The arena for rulesets of a variant. Hosts are made when they are first needed."""
    made: dict[tuple[Variant, bool], Arena] = {}
    with contextlib.ExitStack() as stack:

        def of(variant: Variant, rulesets: Sequence[Rules]) -> Arena:
            nat = any(r.uses_nat for r in rulesets)
            if (variant, nat) not in made:
                alone, helped = (stack.enter_context(Host(variant, nat)) for _ in range(2))
                made[variant, nat] = Arena(alone, helped)
                stack.callback(made[variant, nat].close)
            return made[variant, nat]

        yield of
