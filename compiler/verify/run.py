"""One verification from rules to result: what the command shows, and what `load` asks before it attaches."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ..decisions.model import Cause
from ..host.facts import HostFacts
from ..matches.view import Kind
from ..pipeline import Compiled
from ..progress import Progress, silent
from ..reference.interpret import Judge
from ..report.entries import Entry
from ..rules.model import Ruleset
from .compare import compare, judge_of
from .coverage import dead, dropping, met_in_doubt, unmet
from .derive import derive
from .flows import is_whole, spread
from .model import Comparison, Disagreement, Frame, Ruling
from .namespace import NoNamespace, own_namespace
from .place import settle
from .planned import PlanSubject
from .program import ProgramSubject, loaded

#: Frames tried where nothing else is said; ordinary rulesets have fewer.
FRAMES = 6000
_BATCH = 128
_KNOWN = 256  # gated drops that are tried again with an entry
_FEWER = "more frames would have been tried"
_IDLE = 512  # frames at most for a program that has no decision to drop


@dataclass(frozen=True, slots=True)
class Verification:
    """`subject`: "program" or "plan". `decisions`: how many there are that drop some packet; `unreached`: the
    causes of those that no frame reached. `unmet`: rules that no frame fits. `differing`: frames on which
    program and plan differ, though neither drops wrongly. `idle`: no decision drops, so few frames were
    tried, and what passes was not judged. `cut`: what there was no time for."""

    subject: str
    comparison: Comparison
    decisions: int
    reached: int
    unreached: tuple[tuple[Kind, int, Cause], ...]
    unmet: tuple[Entry, ...]
    differing: tuple[Frame, ...] = ()
    seconds: float = 0.0
    idle: bool = False
    cut: tuple[str, ...] = ()

    @property
    def disagreements(self) -> tuple[Disagreement, ...]:
        return self.comparison.disagreements


def verify(
    rulesets: Sequence[Ruleset],
    host: HostFacts,
    compiled: Compiled,
    *,
    in_kernel: bool,
    limit: int = FRAMES,
    seconds: float = 20.0,
    seed: int = 1,
    progress: Progress = silent,
    limited: frozenset[str] = frozenset(),
) -> Verification:
    """`host` as `settle` gives it, less what the user lifted (lifted.py); `compiled` for it.

    `in_kernel`: the compiled program, which needs root and BCC; else the plan. `seconds`: for making and
    judging frames; a ruleset that needs longer gets fewer. `limited`: as for Judge."""
    started = time.monotonic()
    until = started + seconds
    every = dropping(compiled)
    idle = not every
    limit = min(limit, _IDLE) if idle else limit
    frames, cut = _frames(rulesets, host, compiled, limit, started + seconds / 3, seed, progress)
    progress("running the plan", 0, 0)
    planned = _planned(PlanSubject(compiled.plan, host), frames, started + seconds * 2 / 3)
    if len(planned) < len(frames):
        frames, cut = frames[: len(planned)], (_FEWER,)
    data = [f.data for f in frames]
    rulings = planned
    judge = judge_of(rulesets, host, limited)
    differing: tuple[Frame, ...] = ()
    known, wrong = 0, tuple[Disagreement, ...]()
    if in_kernel:
        progress("compiling the program", 0, 0)
        with loaded(compiled.c_text, host, compiled.plan.map_values) as subject:
            progress("running the program", 0, 0)
            rulings, differing = _explained(frames, planned, subject.rule(data))
            known, wrong = _with_entries(subject, frames, rulings, rulesets, host, judge)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        progress("judging", done, len(frames))

    result = compare(rulesets, host, frames, rulings, missed=not idle, until=until, tick=tick, judge=judge)
    result = replace(result, known=known, disagreements=(*result.disagreements, *wrong))
    cut += _unjudged(result)
    missing = () if idle else unmet(compiled, result.met, host.interface.name)
    if missing:
        progress("looking for rules that were not met", 0, 0)
        doubtful = met_in_doubt(rulesets, host, frames, missing, until)
        result = replace(result, met=result.met | doubtful)
        missing = unmet(compiled, result.met, host.interface.name)
        if missing and time.monotonic() > until:
            cut += ("rules that no frame met were not looked for in all frames",)
    reached = {key for r in planned for key in r.reached}
    unreached = [k for k in every if k not in reached]
    no_packet = dead(compiled, unreached)
    unreached = [k for k in unreached if k not in no_packet]
    return Verification(
        subject="program" if in_kernel else "plan",
        comparison=result,
        decisions=len(every) - len(no_packet),
        reached=len(every) - len(no_packet) - len(unreached),
        unreached=tuple((*k, every[k]) for k in unreached),
        unmet=missing,
        differing=differing,
        seconds=time.monotonic() - started,
        idle=idle,
        cut=cut,
    )


def quick(
    fd: int,
    map_fds: Mapping[str, int],
    rulesets: Sequence[Ruleset],
    host: HostFacts,
    compiled: Compiled,
    ifindex: int,
    seconds: float = 0.8,
    limited: frozenset[str] = frozenset(),
) -> Comparison:
    """The program that is about to be attached, its maps filled: as many frames as there is time for, and
    every drop of them judged; `limited`: as for Judge. Counters are zero again afterwards.

    `ifindex`: of the interface that it is for, where it is run if no namespace can be made; what conntrack
    knows there hides drops. Raises NoNamespace if it can't be run there either."""
    host, place = settle(host)
    until = time.monotonic() + seconds
    frames = derive(rulesets, compiled.plan.lists, place)
    judge = judge_of(rulesets, host, limited)
    plan = PlanSubject(compiled.plan, host)
    parts: list[Comparison] = []
    with _somewhere(host, ifindex) as index:
        subject = ProgramSubject(fd, map_fds, index)

        def judged(batch: list[Frame]) -> Comparison:
            ran = subject.rule([f.data for f in batch])
            named = [
                replace(r, cause=plan.ruling(f.data).cause) if r.drop else r
                for f, r in zip(batch, ran, strict=True)
            ]
            return compare(rulesets, host, batch, named, until=until, judge=judge)

        odd: list[Frame] = []  # last, since the program is careful for a while after it has passed one
        tried = 0
        while time.monotonic() < until - seconds / 8:
            batch = _spread(list(islice(frames, _BATCH)), tried)
            if not batch:
                break
            tried += len(batch)
            odd += [f for f in batch if not is_whole(f.data)]
            parts.append(judged([f for f in batch if is_whole(f.data)]))
        parts.append(judged(odd[: 4 * _BATCH]))
        subject.forget()
    return _sum(parts)


@contextlib.contextmanager
def _somewhere(host: HostFacts, ifindex: int) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        try:
            index = stack.enter_context(own_namespace(host))
        except NoNamespace:
            index = ifindex
        try:
            yield index
        except OSError as e:  # a device that XDP programs can't be run for, unless attached
            if index != ifindex:
                raise
            raise NoNamespace(f"the program can't be run here: {e.strerror}", "run this as root") from e


def _spread(frames: Sequence[Frame], start: int = 0) -> list[Frame]:
    data = spread([f.data for f in frames], start)
    return [Frame(f.name, d) for f, d in zip(frames, data, strict=True)]


def _sum(parts: Sequence[Comparison]) -> Comparison:
    causes: Counter[Cause] = Counter()
    for part in parts:
        causes.update(part.causes)
    return Comparison(
        tried=sum(p.tried for p in parts),
        dropped=sum(p.dropped for p in parts),
        gated=sum(p.gated for p in parts),
        judged=sum(p.judged for p in parts),
        causes=dict(causes),
        disagreements=tuple(d for p in parts for d in p.disagreements),
    )


def _frames(
    rulesets: Sequence[Ruleset],
    host: HostFacts,
    compiled: Compiled,
    limit: int,
    until: float,
    seed: int,
    progress: Progress,
) -> tuple[list[Frame], tuple[str, ...]]:
    """And what there was no time for."""
    _, place = settle(host)
    frames = []
    cut: tuple[str, ...] = ()
    for frame in derive(rulesets, compiled.plan.lists, place, limit, seed):
        frames.append(frame)
        if len(frames) % 64 == 0:
            progress("deriving frames", len(frames), limit)
            if time.monotonic() > until and len(frames) < limit:
                cut = (_FEWER,)
                break
    return _spread(frames), cut


def _planned(subject: PlanSubject, frames: Sequence[Frame], until: float) -> list[Ruling]:
    """Of as many frames as there is time for; in large plans one takes milliseconds."""
    rulings: list[Ruling] = []
    for frame in frames:
        if time.monotonic() > until:
            break
        rulings.append(subject.ruling(frame.data))
    return rulings


def _unjudged(result: Comparison) -> tuple[str, ...]:
    if result.judged < result.dropped:
        return (f"{result.judged} of {result.dropped} drops were judged, and nothing that passes",)
    passed = result.tried - result.dropped
    if result.missed >= 0 and result.judged_passed < passed:
        return (f"{result.judged_passed} of {passed} frames that pass were judged",)
    return ()


def _with_entries(
    subject: ProgramSubject,
    frames: Sequence[Frame],
    rulings: Sequence[Ruling],
    rulesets: Sequence[Ruleset],
    host: HostFacts,
    judge: Judge,
) -> tuple[int, tuple[Disagreement, ...]]:
    """What is dropped only because conntrack has no entry, again, with one."""
    gated = [i for i, r in enumerate(rulings) if r.drop and r.gated][:_KNOWN]
    again = [frames[i] for i in gated]
    try:
        ran = subject.with_entries([f.data for f in again])
    except OSError:  # ctnetlink is not there
        return 0, ()
    # Now it is in a flow: a drop has to be certain of every packet.
    named = [replace(r, gated=False, cause=rulings[i].cause) for i, r in zip(gated, ran, strict=True)]
    return len(again), compare(rulesets, host, again, named, judge=judge).disagreements


def _explained(
    frames: Sequence[Frame], planned: Sequence[Ruling], ran: Sequence[Ruling]
) -> tuple[list[Ruling], tuple[Frame, ...]]:
    """What the program did, with the causes that the plan names; and where it does other than its plan.

    What it passes on a budget, which is fresh here, it would drop beyond: there the plan speaks for it."""
    rulings, differing = [], []
    for frame, plan, program in zip(frames, planned, ran, strict=True):
        if plan.drop and plan.budget and not program.drop:
            rulings.append(plan)
            continue
        rulings.append(replace(program, cause=plan.cause, reached=plan.reached, why=program.why or plan.why))
        if (plan.drop, plan.drop and plan.gated) != (program.drop, program.gated):
            differing.append(frame)
    return rulings, tuple(differing)
