"""Walk the hook path and say, for every packet, what is certain.

Worlds: a rule that may match splits the walk. Every jump in a chain walk goes forward, so a state is
the set of positions where a world stands, and the first of them is always advanced; worlds that meet
merge. A packet is dropped only when all worlds have dropped it. Positions are ordered as the walk
meets them, so states sorted by position are in topological order, and every skip goes forward.
"""

from __future__ import annotations

import heapq

from ..matches.condition import EVERYTHING, MAX_CUBES, Condition, intersect
from ..matches.lower_state import asks_new_or_invalid, never_new
from ..matches.lowering import lower_match
from ..matches.silence import silence
from ..matches.spec import Effect, TargetKind
from ..matches.table import MATCHES, TARGETS
from ..matches.view import Kind, View
from ..rules.model import UNKNOWN, Chain, Match, Rule, Ruleset
from .budget import NO_ALLOWANCES, Allowances
from .early import WHY as TAKEN_EARLY
from .foresight import Foresight
from .hookpath import Stop
from .model import Accept, Cause, DecisionList, Drop, Note, Outcome, Undecided
from .worlds import Position, State, Step, joined, lay_out

#: The walk gives up after this many states, and this many more for each rule; every state past them
#: passes its packets. Chains called twice from chains called twice grow without bound.
SPARE_STATES, STATES_A_RULE = 20_000, 4
#: Chains within chains. A position is as long as it is deep; nft takes 16, real rules need half of that.
MAX_DEPTH = 64
UNTRACKS = frozenset({"CT", "NOTRACK"})
REPLIES = "-j REJECT: drops with a reply"


class Walk:
    """One walk, of one kind of packet. `run` is the only entry."""

    def __init__(
        self,
        ruleset: Ruleset,
        stops: tuple[Stop, ...],
        kind: Kind,
        allowances: Allowances = NO_ALLOWANCES,
    ):
        self.allowances = allowances
        self.ruleset, self.stops, self.kind = ruleset, stops, kind
        self.max_states = SPARE_STATES + STATES_A_RULE * sum(1 for _ in ruleset.rules())
        self.foresight = Foresight(ruleset, stops)
        self.notes: dict[Note, None] = {}
        self.reached: set[tuple[str, str, int]] = set()
        self.tainted: frozenset[str] = frozenset()
        self.chains = {(t.name, c.name): c for t in ruleset.tables for c in t.chains}

    def run(self) -> DecisionList:
        if not self.stops:
            return DecisionList(self.kind, ())
        start = State((self._start(0),))
        waiting = [start]
        blocks: dict[State, list[Step]] = {}
        gave_up = ""
        while waiting:
            state = heapq.heappop(waiting)
            if state in blocks:
                continue
            if len(blocks) >= self.max_states:
                gave_up = f"the rules expand to more than {self.max_states} states"
                blocks[state] = [Step(EVERYTHING, Undecided(gave_up, None))]
                continue
            blocks[state] = self._advance(state)
            if state is start and self.stops[0].taken:
                blocks[state].insert(0, Step(self.stops[0].taken, Undecided(TAKEN_EARLY, None)))
            for step in blocks[state]:
                if isinstance(step.then, State) and step.then not in blocks:
                    heapq.heappush(waiting, step.then)
        return DecisionList(self.kind, lay_out(blocks), tuple(self.notes), gave_up, frozenset(self.reached))

    def _start(self, stop: int, ctstate: str = "") -> Position:
        return Position((stop, 0), ((self.stops[stop].chain.name, False),), ctstate)

    # -- one state -------------------------------------------------------------------------------

    def _advance(self, state: State) -> list[Step]:
        """What the first world's rule does; steps are tried in order, the last takes the rest."""
        at = state.worlds[0]
        stop = self.stops[at.path[0]]
        chain = self.chains.get((stop.table, at.chains[-1][0]))
        if chain is None or at.path[-1] >= len(chain.rules):
            return [Step(EVERYTHING, self._end_of_chain(state, at, stop))]
        return self._rule(state, at, stop, chain, chain.rules[at.path[-1]])

    def _end_of_chain(self, state: State, at: Position, stop: Stop) -> State | Outcome:
        back = at.leave()
        if back is not None:
            return self._moved(state, back)
        cause = Cause(stop.table, stop.chain.name, policy=stop.chain, family=self.kind.family)
        if stop.chain.policy == "DROP":
            return self._dropped(state, stop, cause)
        return self._accepted(state, at, cause)

    def _rule(self, state: State, at: Position, stop: Stop, chain: Chain, rule: Rule) -> list[Step]:
        self.reached.add((stop.table, chain.name, rule.number))
        cause = Cause(stop.table, chain.name, rule, family=self.kind.family)
        view = stop.view.without(self.tainted).when(at.ctstate)
        if view.no_entry and not at.ctstate and any(m.known and asks_new_or_invalid(m) for m in rule.matches):
            if rule.target is not None and rule.target.name == "DROP":
                self._note(cause, "NEW or INVALID is certain of some TCP flags only")
            return self._two_states(state, at, view)
        traces: list[Step] = []
        condition = Condition()
        for match in rule.matches:
            spec = MATCHES.get(match.name)
            if spec is not None and spec.effect is Effect.REMEMBERS:
                line = self.allowances.of_log(rule, state.budget)
                if line is not None:
                    # Logged or not, they go on; whatever stands behind the limit decides no more.
                    onward = self._moved(state, at.next())
                    logged = Step(condition.may, onward.charged(line))
                    return [*traces, logged, Step(EVERYTHING, onward)]
            if not match.known or spec is None or spec.effect is Effect.REMEMBERS:
                why = _unknown(match) if spec is None else f"-m {match.name}: {spec.maybe_because}"
                return traces + self._left(state, at, cause, condition, why, rule)
            tested = lower_match(match, view)
            if spec.changes:
                self.tainted |= spec.changes
                view = view.without(spec.changes)
            if spec.trace is not None:
                trace = spec.trace(match, view)
                left = self._left(state, at, cause, condition & trace, "; ".join(trace.why), rule)
                if trace.may == EVERYTHING:
                    return traces + left
                traces += left[:-1]  # these belong to netfilter, and the rule goes on with the others
            condition &= tested
        return traces + self._obey(state, at, stop, cause, condition, rule)

    def _obey(
        self, state: State, at: Position, stop: Stop, cause: Cause, condition: Condition, rule: Rule
    ) -> list[Step]:
        """What the rule does with the packets that match it."""
        steps: list[Step] = []
        target = rule.target
        onward = self._moved(state, at.next())
        if target is None:
            return [Step(EVERYTHING, onward)]
        user_chain = self.chains.get((stop.table, target.name))
        if user_chain is not None and user_chain.policy is None:
            if (target.name, True) in at.chains or (target.name, False) in at.chains:
                return self._left(state, at, cause, condition, f"the chain {target.name} calls itself", rule)
            if len(at.chains) >= MAX_DEPTH:
                why = f"chains call each other more than {MAX_DEPTH} deep"
                return self._left(state, at, cause, condition, why, rule)
            inside = self._moved(state, at.enter(target.name, target.goto))
            return self._both(steps, state, at, condition, inside, onward)
        if target.name == "DROP":
            if stop.no_drops:
                self._note(cause, stop.no_drops)
                certain = Step(condition.yes, Undecided(stop.no_drops, cause, drops=True))
                maybe = Step(condition.may, Undecided(stop.no_drops, cause))
                steps = [certain, *([] if condition.is_certain else [maybe])] if condition.yes else [maybe]
                return [*steps, Step(EVERYTHING, onward)]
            if not condition.is_certain:
                self._note(cause, "; ".join(condition.why))
            return [Step(condition.yes, self._dropped(state, stop, cause)), Step(EVERYTHING, onward)]
        if target.name == "REJECT":
            view = stop.view.without(self.tainted).when(at.ctstate)
            return self._reject(state, stop, cause, condition, onward, view)
        if target.name == "ACCEPT":
            after = self._accepted(state, at, cause)
            return self._both(steps, state, at, condition, after, onward)
        if target.name == "RETURN":
            return self._both(steps, state, at, condition, self._end_of_chain(state, at, stop), onward)
        return self._other_target(state, at, cause, condition, onward, rule)

    def _reject(
        self, state: State, stop: Stop, cause: Cause, condition: Condition, onward: State, view: View
    ) -> list[Step]:
        """A drop where the kernel owes no reply. A reply that it limits can be charged, any other not."""
        assert cause.rule is not None and cause.rule.target is not None
        target, last = cause.rule.target, Step(EVERYTHING, onward)
        quiet = silence(target, view)
        if len(condition.may) * len(quiet) > MAX_CUBES:
            quiet = ()
        loud = any(not any(c <= q for q in quiet) for c in condition.may)
        reply = self.allowances.of_reply(target)
        why = stop.no_drops or (REPLIES if loud and not reply else "; ".join(condition.why))
        if why:
            self._note(cause, why)
        if stop.no_drops:
            return [Step(condition.may, Undecided(why, cause)), last]
        steps = [Step(intersect(condition.yes, quiet), self._dropped(state, stop, cause))]
        if not condition.is_certain:
            steps.append(Step(intersect(condition.may, quiet), onward))
        if reply is None:
            return [*steps, Step(condition.may, Undecided(REPLIES, cause)), last]
        dropped = self._dropped(state.charged(reply), stop, cause)
        return [*steps, Step(condition.yes, dropped), Step(condition.may, onward.charged(reply)), last]

    def _other_target(
        self,
        state: State,
        at: Position,
        cause: Cause,
        condition: Condition,
        onward: State | Outcome,
        rule: Rule,
    ) -> list[Step]:
        assert rule.target is not None
        spec = TARGETS.get(rule.target.name)
        harmless = spec is not None and rule.target.option(spec.harmless_with) is not None
        if rule.target.name in UNTRACKS and (harmless or spec is TARGETS["NOTRACK"]):
            untracked = self._moved(state, at.next().when("UNTRACKED"))
            return self._both([], state, at, condition, untracked, onward)
        # A connection that starts with a dropped packet is gone with it, and so is what was written there.
        harmless |= spec is not None and spec.writes_connection and self.kind.no_entry
        if spec is not None and (harmless or spec.kind is TargetKind.CONTINUE):
            self.tainted |= spec.changes  # positions are met in order: this holds for all later ones
            return [Step(EVERYTHING, onward)]
        why = f"-j {rule.target.name}: {spec.doc if spec else 'the target is not known'}"
        return self._left(state, at, cause, condition, why, rule)

    def _left(
        self, state: State, at: Position, cause: Cause, condition: Condition, why: str, rule: Rule
    ) -> list[Step]:
        """Packets that may get this far belong to netfilter."""
        if condition.may and rule.target is not None and rule.target.name in ("DROP", "REJECT"):
            self._note(cause, why)
        return [Step(condition.may, Undecided(why, cause)), Step(EVERYTHING, self._moved(state, at.next()))]

    def _two_states(self, state: State, at: Position, view: View) -> list[Step]:
        """From here on one world for NEW and one for INVALID; some packets start no connection."""
        others = state.worlds[1:]
        invalid = state._replace(worlds=tuple(sorted({*others, at.when("INVALID")})))
        both = state._replace(worlds=tuple(sorted({*others, at.when("INVALID"), at.when("NEW")})))
        return [Step(never_new(view), invalid), Step(EVERYTHING, both)]

    # -- moving worlds ---------------------------------------------------------------------------

    def _moved(self, state: State, to: Position) -> State:
        if to.ctstate in ("NEW", "INVALID") and not self.foresight.asks(to.path, to.chains):
            to = to.when("")  # worlds that no rule tells apart are one
        return state._replace(worlds=tuple(sorted({*state.worlds[1:], to})))

    def _both(
        self, steps: list[Step], state: State, at: Position, condition: Condition,
        there: State | Outcome, onward: State | Outcome,
    ) -> list[Step]:  # fmt: skip
        """yes goes there, no goes on, and maybe does both."""
        if condition.yes:
            steps.append(Step(condition.yes, there))
        if not condition.is_certain:
            steps.append(Step(condition.may, joined(there, onward, condition)))
        steps.append(Step(EVERYTHING, onward))
        return steps

    def _dropped(self, state: State, stop: Stop, cause: Cause) -> State | Outcome:
        if stop.no_drops:
            self._note(cause, stop.no_drops)
            return Undecided(stop.no_drops, cause, drops=True)
        local, after = state.local or stop.input, state.after_conntrack or stop.after_conntrack
        if len(state.worlds) == 1:
            return Drop(cause, local, after, state.budget)
        return State(state.worlds[1:], local, after, state.budget)

    def _accepted(self, state: State, at: Position, cause: Cause) -> State | Outcome:
        """This table's base chain ends; the next table goes on, or the packet is accepted."""
        following = at.path[0] + 1
        if following < len(self.stops):
            return self._moved(state, self._start(following, at.ctstate))
        if len(state.worlds) > 1 or state.local or state.after_conntrack:
            return Undecided("one way through the rules accepts", cause)
        return Accept(cause)

    def _note(self, cause: Cause, why: str) -> None:
        self.notes.setdefault(Note(cause, why), None)


def _unknown(match: Match) -> str:
    if match.name == UNKNOWN and match.options:
        return f"{match.options[0].name}: no match on this rule has such an option"
    return f"-m {match.name}: the match {match.name!r} is not known"
