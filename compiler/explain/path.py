"""The way of one packet through netfilter's chains, rule by rule.

Unlike the judge (reference/interpret.py), which only cares for what is certain of every packet of a flow,
this follows one packet, and says of a maybe what would come of it. It asks the same matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..fields import Family
from ..host.facts import HostFacts
from ..reference.answers import Answer, Sight
from ..reference.connection import State
from ..reference.interpret import HOOKS
from ..reference.matches import evaluate
from ..reference.packet import Packet
from ..reference.targets import NAT, changes
from ..rules.model import Chain, Match, Rule, Ruleset, Table
from ..rules.printing import option_texts
from .why import why_maybe

_DEEPEST = 30
_MOST_STEPS = 1_000_000


class End(StrEnum):
    """How a packet's way may end, or a table's chain."""

    ACCEPT = "accepts"
    DROP = "drops"
    REJECT = "rejects"
    OTHER = "hands on"  # to user space, translated, answered: what follows is not in these rules


@dataclass(frozen=True, slots=True)
class Tested:
    """One option of a match, or a match without any, and its answer. `why`: of a maybe."""

    text: str
    answer: Answer
    why: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was met, or the policy of a base chain (`rule` None). `depth`: of the calls. `doubt`: a
    rule before may have taken the packet already. `end`: what the rule does if it matches."""

    table: str
    chain: str
    rule: Rule | None
    answer: Answer
    tested: tuple[Tested, ...] = ()
    depth: int = 0
    doubt: bool = False
    end: End | None = None
    note: str = ""

    @property
    def certain(self) -> bool:
        return self.answer is Answer.YES and not self.doubt


@dataclass(frozen=True, slots=True)
class Path:
    """`ends`: the steps that may have the last word, in order; the last of them is the one that has it if
    none before does. One step: it is certain."""

    steps: tuple[Step, ...]
    ends: tuple[Step, ...]
    note: str = ""  # what cut the way short

    @property
    def certain(self) -> bool:
        """One rule, or policy, has the last word."""
        return len(self.ends) == 1

    @property
    def same_end(self) -> End | None:
        """How it ends, if all ways end alike."""
        kinds = {e.end for e in self.ends}
        return kinds.pop() if len(kinds) == 1 else None


def follow(
    rulesets: Sequence[Ruleset],
    packet: Packet,
    host: HostFacts,
    interface: str | None,
    state: State | None = None,
    leaves: str = "",
) -> Path:
    """`state`: None: not known. `leaves`: why the packet does not come to INPUT, if it does not."""
    walk = _Walk(packet, host, interface, state)
    for name, base in HOOKS:
        if leaves and base == "INPUT":
            return walk.path(leaves)
        for ruleset in rulesets:
            table = ruleset.table(name) if ruleset.family is packet.family else None
            if table is None or table.chain(base) is None:
                continue
            if name == "nat" and state not in (None, State.NEW, State.RELATED):
                continue  # only the first packet of a flow comes here
            if not walk.hook(table, base):
                return walk.path()
    walk.accept()
    return walk.path()


class _Walk:
    """`accepts`: steps that may have taken the packet out of the table crossed last."""

    def __init__(self, packet: Packet, host: HostFacts, interface: str | None, state: State | None) -> None:
        self.packet, self.host, self.interface, self.state = packet, host, interface, state
        self.steps: list[Step] = []
        self.ends: list[tuple[int, Step]] = []  # with the number of the step
        self.accepts: list[tuple[int, Step]] = []
        self.changed: frozenset[str] = frozenset()
        self.untracked = False

    def path(self, note: str = "") -> Path:
        note = note or ("there are too many rules on its way" if len(self.steps) >= _MOST_STEPS else "")
        return Path(tuple(self.steps), tuple(step for _, step in sorted(self.ends, key=_number)), note)

    def accept(self) -> None:
        self.ends += self.accepts or [(0, Step("", "", None, Answer.YES, end=End.ACCEPT))]

    def hook(self, table: Table, base: str) -> bool:
        """Whether the packet may go on to the next table."""
        chain = table.chain(base)
        assert chain is not None
        only_first = table.name == "nat" and self.state is None
        self.accepts = []
        doubt = bool(self.ends) or only_first
        if self._chain(table, chain, base, 0, doubt, frozenset({base})):
            end = End.DROP if chain.policy == "DROP" else End.ACCEPT
            doubt = bool(self.ends or self.accepts) or only_first
            self._met(Step(table.name, base, None, Answer.YES, doubt=doubt, end=end))
        return bool(self.accepts) or only_first

    def _met(self, step: Step) -> None:
        self.steps.append(step)
        if step.answer is Answer.NO or step.end is None:
            return
        (self.accepts if step.end is End.ACCEPT else self.ends).append((len(self.steps), step))

    def _chain(
        self, table: Table, chain: Chain, base: str, depth: int, doubt: bool, inside: frozenset[str]
    ) -> bool:
        """Whether the packet may come out at the chain's end, back to the caller."""
        returned = False
        for rule in chain.rules:
            if len(self.steps) >= _MOST_STEPS:
                return False
            answer, tested = self._answer(rule, table, base)
            end = _end(rule, table)
            self._met(Step(table.name, chain.name, rule, answer, tested, depth, doubt, end))
            if answer is Answer.NO or rule.target is None:
                continue
            maybe = answer is Answer.MAYBE
            goes_on = maybe
            if end is None:
                called = table.chain(rule.target.name)
                if rule.target.name == "RETURN":
                    returned = True
                elif called is not None and called.name not in inside and depth < _DEEPEST:
                    before = len(self.ends) + len(self.accepts)
                    back = self._chain(table, called, base, depth + 1, doubt or maybe, inside | {called.name})
                    doubt = doubt or before < len(self.ends) + len(self.accepts)
                    returned = returned or (back and rule.target.goto)
                    goes_on = maybe or (back and not rule.target.goto)
                    if maybe and rule.target.goto:
                        doubt = True
                else:
                    self._change(rule, answer)
                    continue
            if not goes_on:
                return returned
            if maybe and (end is not None or rule.target.name == "RETURN"):
                doubt = True
        return True

    def _change(self, rule: Rule, answer: Answer) -> None:
        target = rule.target
        changed = changes(target) if target is not None and target.known else None
        if target is None or changed is None:
            return
        self.changed |= changed
        if target.name in ("CT", "NOTRACK") and answer is Answer.YES:
            self.untracked = True

    def _answer(self, rule: Rule, table: Table, base: str) -> tuple[Answer, tuple[Tested, ...]]:
        sight = self._sight(table, base)
        result, tested = Answer.YES, []
        for match in rule.matches:
            for part in _parts(match):
                answer = evaluate(part, sight)
                why = why_maybe(part, sight) if answer is Answer.MAYBE else ""
                tested.append(Tested(_spelled(part, self.packet.family), answer, why))
                if answer is Answer.NO:
                    return Answer.NO, tuple(tested)
                if answer is Answer.MAYBE:
                    result = Answer.MAYBE
        return result, tuple(tested)

    def _sight(self, table: Table, base: str) -> Sight:
        if self.untracked:
            state = State.UNTRACKED
        else:
            state = State.BEFORE if table.name == "raw" else self.state or State.UNKNOWN
        whole = base == "INPUT" and self.packet.family is Family.IPV4
        return Sight(self.packet, self.host, self.interface, self.changed, reassembled=whole, state=state)


def _number(numbered: tuple[int, Step]) -> int:
    return numbered[0]


def _end(rule: Rule, table: Table) -> End | None:
    target = rule.target
    if target is None:
        return None
    match target.name:
        case "ACCEPT":
            return End.ACCEPT
        case "DROP":
            return End.DROP
        case "REJECT":
            return End.REJECT
        case "NFQUEUE" | "QUEUE" | "TARPIT" | "SYNPROXY":
            return End.OTHER
    chain = table.chain(target.name)
    if chain is None and (target.name in NAT or not target.known):
        return End.OTHER
    return None


def _parts(match: Match) -> list[Match]:
    """A match option by option, where each is a test of its own; "--soft" and the like are not."""
    if match.name in ("ip", "tcp", "udp", "udplite", "sctp", "dccp", "multiport", "iprange", "conntrack"):
        return [replace(match, options=(option,)) for option in match.options]
    return [match]


def _spelled(match: Match, family: Family) -> str:
    words = [] if match.name in ("ip", "?") else ["-m", match.name]
    for option in match.options:
        words += ["!"] if option.negated else []
        words += [option.name, *option_texts(option, family)]
    return " ".join(words)
