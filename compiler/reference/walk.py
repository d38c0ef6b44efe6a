"""One walk of the rules for one packet, through every world that the maybes leave open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..fields import Family
from ..host.facts import HostFacts
from ..rules.model import Rule, Table
from .answers import Answer, Sight
from .connection import State
from .locality import why_not_local
from .matches import evaluate, remembers
from .outcome import Outcome, Verdict, undecided
from .packet import Packet
from .replies import RESET, certainly_silent, word
from .surroundings import Surroundings
from .targets import NAT, WRITES_CONNECTION, changes

#: A table's base chain: of a family's rules, in the order that a packet meets them.
Hook = tuple[Table, str]
_MOST_STATES = 50_000


@dataclass(frozen=True, slots=True)
class _State:
    """Where one world stands. `stack`: chain and next rule, innermost last. Empty: the policy.
    `connection`: what the packet counts as; the same for all rules of one world."""

    hook: int
    stack: tuple[tuple[str, int], ...]
    changed: frozenset[str] = frozenset()
    connection: State = State.BEFORE


@dataclass(frozen=True, slots=True)
class _Step:
    """What a step of one world leads to: a state, or an end."""

    then: _State | Outcome
    rule: Rule | None = None
    answer: Answer = Answer.YES


def _only_logs(rule: Rule, sight: Sight) -> bool:
    logs = rule.target is not None and rule.target.name in ("LOG", "NFLOG", "ULOG")
    return logs and not any(m.name != "limit" and (not m.known or remembers(m, sight)) for m in rule.matches)


class Walk:
    def __init__(
        self,
        hooks: list[Hook],
        packet: Packet,
        host: HostFacts,
        interface: str | None,
        around: Surroundings,
        leaving: tuple[State, ...],
        limited: frozenset[str],
    ) -> None:
        # Nothing is granted to a fragment: it alone has no checksum.
        self.limited = frozenset() if packet.fragment else limited
        self.packet, self.host, self.interface, self.around = packet, host, interface, around
        self.hooks, self.leaving = hooks, leaving
        self.trace: list[tuple[Rule, Answer]] = []

    def run(self) -> Outcome:
        """The meet of all worlds. A world that comes to where another one has been ends as that one did."""
        todo = [self._enter(0, frozenset(), State.BEFORE)]
        seen: set[_State] = set()
        ends: list[Outcome] = []
        while todo:
            at = todo.pop()
            if isinstance(at, Outcome):
                ends.append(at)
                if at.verdict is Verdict.UNDECIDED or at.verdict is not ends[0].verdict:
                    break
                continue
            if at in seen:
                continue
            if len(seen) >= _MOST_STATES:
                ends = [undecided("too many worlds")]
                break
            seen.add(at)
            steps = list(self._steps(at))
            if steps and steps[0].rule is not None:
                self.trace.append((steps[0].rule, steps[0].answer))
            todo.extend(s.then for s in reversed(steps))
        last = ends[-1]
        if last.verdict is ends[0].verdict or last.verdict is Verdict.UNDECIDED:
            result = last if last.verdict is Verdict.UNDECIDED else ends[0]
        else:
            result = undecided("some worlds drop, others accept")
        return Outcome(result.verdict, result.rule, result.hook, result.why, tuple(self.trace))

    def _enter(self, hook: int, changed: frozenset[str], connection: State) -> _State | Outcome:
        if hook == len(self.hooks):
            why = self._why_not_accepted(connection)
            return undecided(why) if why else Outcome(Verdict.ACCEPT)
        return _State(hook, ((self.hooks[hook][1], 0),), changed, connection)

    def _why_not_accepted(self, connection: State) -> str:
        if self.packet.fragment:
            return "a fragment is accepted with its datagram, or not at all"
        if self.packet.tcp_malformed:
            return "legacy drops it at a rule that reads TCP options"
        return self.around.flow_input if connection.in_a_flow else ""

    def _leave(self, at: _State) -> _State | Outcome:
        """On to the next table's chain."""
        return self._enter(at.hook + 1, at.changed, at.connection)

    def _steps(self, at: _State) -> Iterator[_Step]:
        table, base = self.hooks[at.hook]
        if at.connection is State.BEFORE and table.name != "raw":
            for connection in self.leaving if self.around.conntrack else (State.UNTRACKED,):
                yield _Step(replace(at, connection=connection))
            return
        if table.name == "nat" and not at.connection.has_entry:
            yield _Step(self._leave(at))
            return
        if not at.stack:
            chain = table.chain(base)
            dropped = chain is not None and chain.policy == "DROP"
            yield _Step(self._drop(at, None) if dropped else self._leave(at))
            return
        name, index = at.stack[-1]
        chain = table.chain(name)
        if chain is None:
            yield _Step(undecided(f"no chain {name}"))
            return
        if index == len(chain.rules):
            yield _Step(replace(at, stack=at.stack[:-1]))
            return
        rule = chain.rules[index]
        answer, effect = self._answer(rule, at)
        if any(m.name == "socket" for m in rule.matches):  # --restore-skmark
            at = replace(at, changed=at.changed | {"mark"})
        following = replace(at, stack=(*at.stack[:-1], (name, index + 1)))
        if effect == "limit" and "logs" in self.limited and _only_logs(rule, self._sight(at)):
            yield _Step(following, rule, answer)
            return
        if effect:
            yield _Step(undecided(f"-m {effect} would count or remember it", rule), rule, answer)
            return
        if answer is not Answer.NO:
            yield _Step(self._obey(rule, at, following, answer), rule, answer)
        if answer is not Answer.YES:
            yield _Step(following, rule, answer)

    def _answer(self, rule: Rule, at: _State) -> tuple[Answer, str]:
        """The rule's answer, and the match with an effect that the packet may have been tested by."""
        sight = self._sight(at)
        result = Answer.YES
        for match in rule.matches:
            if remembers(match, sight):
                return Answer.MAYBE, match.name
            answer = evaluate(match, sight)
            if answer is Answer.NO:
                return Answer.NO, ""
            if answer is Answer.MAYBE:
                result = Answer.MAYBE
        return result, ""

    def _sight(self, at: _State) -> Sight:
        hook = self.hooks[at.hook][1]
        conntrack = self.around.conntrack
        in_flow = conntrack and at.connection is State.UNKNOWN
        whole = hook == "INPUT" and self.packet.family is Family.IPV4
        return Sight(
            self.packet, self.host, self.interface, at.changed, conntrack, in_flow, whole, at.connection,
            self.around.filled,
        )  # fmt: skip

    def _obey(self, rule: Rule, at: _State, following: _State, answer: Answer) -> _State | Outcome:
        target = rule.target
        if target is None:
            return following
        table = self.hooks[at.hook][0]
        match target.name:
            case "ACCEPT":
                return self._leave(at)
            case "DROP":
                return self._drop(at, rule)
            case "REJECT":
                limited = "replies" in self.limited and word(target) not in RESET
                if certainly_silent(target, self._sight(at)) or limited:
                    return self._drop(at, rule)
            case "RETURN":
                return replace(at, stack=at.stack[:-1])
        if table.chain(target.name) is not None:
            # A goto forgets the place that it left; the chain's end is the caller's, or the policy.
            stack = at.stack[:-1] if target.goto else following.stack
            return replace(at, stack=(*stack, (target.name, 0)))
        if target.name in NAT:
            return undecided("NAT", rule)
        changed = changes(target) if target.known else None
        if target.name in WRITES_CONNECTION and at.connection in (State.NEW, State.INVALID, State.UNTRACKED):
            changed = frozenset({"mark"})
        if changed is None:
            return undecided(f"{target.name} has an effect, or is unknown", rule)
        connection = State.UNTRACKED if target.name in ("CT", "NOTRACK") else at.connection
        return replace(following, changed=at.changed | changed, connection=connection)

    def _drop(self, at: _State, rule: Rule | None) -> Outcome:
        table, chain = self.hooks[at.hook]
        why = self._why_not_dropped(table.name, chain, at)
        if why:
            return undecided(why, rule)
        return Outcome(Verdict.DROP, rule, f"{table.name} {chain}")

    def _why_not_dropped(self, table: str, chain: str, at: _State) -> str:
        if table == "raw":
            return ""
        if table == "nat":
            return "nat sees only the first packet of a flow"
        around, flow = self.around, at.connection.in_a_flow
        why = around.after_conntrack or (around.flow if flow else "")
        if why:
            return why
        if chain == "PREROUTING":
            return around.flow_prerouting if flow else ""
        if self.packet.options:
            return "options may be answered, or routed elsewhere"
        if self.packet.family is Family.IPV4 and self.packet.protocol == 2 and self.host.mc_forwarding4:
            return "IGMP goes to a routing daemon"
        why = around.input or (around.flow_input if flow else "")
        return why or why_not_local(self.packet, self.host, "tos" in at.changed)
