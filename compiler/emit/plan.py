"""Decision lists to a plan: the engine, counter slots, tables, which headers to read, and how much fits.

The last step that decides anything; what follows only writes it down as C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..decisions.model import Cause, Decision, DecisionList, Drop, Skip, Undecided
from ..fields import FIELDS, Family
from ..intervals import IntervalSet
from ..matches.condition import Cube
from ..matches.view import Kind
from .engine import AUTOMATIC, Choice, Engine, EngineRequest, choose, tests_of
from .outcome import Budgets, Coder

if TYPE_CHECKING:
    from .tables import Tables

#: Interval tests in one program of straight code. BCC's branches reach 16 bits, and the verifier walks
#: every path; what comes after the last test that fits passes.
MAX_TESTS = 3000
#: As many as the bits of an outcome tell apart; a drop under a further one passes.
MAX_BUDGETS = 127
#: What the program asks conntrack for: whole TCP and UDP packets (`xt_may_be_known`).
_LOOKED_UP = Cube((("proto", IntervalSet.of(6, 17)),))
_WHOLE = (Kind.IPV4, Kind.IPV6)


@dataclass(frozen=True, slots=True)
class Plan:
    """`slots`: the rule of each counter. `fields`: every field that some decision tests. `budgets`: by
    number - 1.

    `choices`: of each family that has decisions, the engine. `tables`: of those in tables.
    `cut`: how many dropping decisions did not fit and are left to netfilter.
    """

    lists: tuple[DecisionList, ...]
    slots: tuple[Cause, ...]
    fields: frozenset[str]
    cut: int = 0
    tests: int = 0
    group_drops: bool = True  # broadcast and multicast frames may be dropped
    budgets: Budgets = ()
    choices: tuple[Choice, ...] = ()
    tables: Tables | None = None
    halvings: int = 0  # how often it was too complex for the kernel
    coder: Coder = field(default_factory=lambda: Coder({}), compare=False, repr=False)

    @property
    def drops(self) -> bool:
        return bool(self.slots)

    @property
    def overtaking(self) -> bool:
        """Whether a packet can be dropped for want of an entry that one before it, of the same flow, makes:
        only where something that varies within a flow decides, else the two share their fate."""
        return any(
            not FIELDS[name].flow_constant
            for d in self.lists
            if d.kind.no_entry
            for item in d.decisions
            for name in item.when.fields
        )

    @property
    def only_gated(self) -> frozenset[Family]:
        """Families in which every drop of a packet that conntrack can be asked for waits for that look-up, so
        that such a packet need not be held against the other list at all."""
        whole = (d for d in self.lists if d.kind in _WHOLE)
        return frozenset(d.kind.family for d in whole if not _may_drop(d, _LOOKED_UP))

    @property
    def described(self) -> tuple[str, ...]:
        """The choice for each family, for people."""
        out = [c.text for c in self.choices]
        if self.tables is not None:
            out.append(f"the tables take {self.tables.size / (1 << 20):.1f} MiB")
        return tuple(out)

    def slot(self, cause: Cause) -> int:
        return self.coder.slots[cause]

    @property
    def on_budget(self) -> frozenset[Cause]:
        """Rules of which some drops are under a budget."""
        return frozenset(
            c
            for d in self.lists
            for item in d.decisions
            if isinstance(item.then, Drop) and item.then.budget
            for c in causes_of(item)
        )

    def budget(self, then: Drop) -> int:
        """0: none."""
        return self.coder.budget(then)

    def engine(self, family: Family) -> Engine:
        return next((c.engine for c in self.choices if c.family is family), Engine.LINEAR)

    @property
    def map_values(self) -> Mapping[str, memoryview]:
        """Maps of one entry, by name: what is in it. The program is loaded with them as they are."""
        return {"xt_tables": self.tables.words.data.cast("B")} if self.tables is not None else {}


def make_plan(
    lists: Iterable[DecisionList],
    group_drops: bool = True,
    request: EngineRequest = AUTOMATIC,
) -> Plan:
    lists = tuple(lists)
    met = dict.fromkeys(t.budget for d in lists for t in _drops(d) if t.budget)
    budgets = tuple(met)[:MAX_BUDGETS]
    lists = tuple(_within(d, budgets) for d in lists)
    choices: list[Choice] = []
    fitted: list[DecisionList] = []
    room = MAX_TESTS >> request.halvings
    cut, left = 0, room
    for family in Family:
        own = tuple(d for d in lists if d.kind.family is family)
        if not any(d.decisions for d in own):
            fitted += own
            continue
        choice = choose(family, own, request.engine)
        choices.append(choice)
        if choice.engine is Engine.TABLES:
            fitted += own
            continue
        for decisions in own:
            shorter, used, lost = _fit(decisions, left)
            left -= used
            cut += lost
            fitted.append(shorter)
    in_tables = {c.family for c in choices if c.engine is Engine.TABLES}
    tables, numbers = None, _slots(fitted)
    if in_tables:
        fitted, tables, numbers, lost = _in_tables(fitted, in_tables, request, budgets)
        cut += lost
    fields = frozenset(name for d in fitted for item in d.decisions for name in item.when.fields)
    order = {d.kind: i for i, d in enumerate(lists)}
    return Plan(
        tuple(sorted(fitted, key=lambda d: order[d.kind])),
        tuple(numbers),
        fields,
        cut,
        room - left,
        group_drops,
        budgets,
        tuple(choices),
        tables,
        request.halvings,
        Coder(numbers, budgets),
    )


def _may_drop(decisions: DecisionList, packets: Cube) -> bool:
    """Whether it may drop some of them. Knows the end of the list for them, where all of them pass."""
    leapt = 0
    for at, item in enumerate(decisions.decisions):
        if item.when & packets is None:
            continue
        if isinstance(item.then, Drop):
            return True
        if isinstance(item.then, Skip):
            leapt = max(leapt, item.then.to)
        elif packets <= item.when and leapt <= at:
            return False
    return False


def _drops(decisions: DecisionList) -> Iterator[Drop]:
    return (d.then for d in decisions.decisions if isinstance(d.then, Drop))


def _within(decisions: DecisionList, budgets: Budgets) -> DecisionList:
    if all(not t.budget or t.budget in budgets for t in _drops(decisions)):
        return decisions
    why = f"more than {MAX_BUDGETS} budgets"
    items = tuple(
        Decision(d.when, Undecided(why, d.then.cause))
        if isinstance(d.then, Drop) and d.then.budget and d.then.budget not in budgets
        else d
        for d in decisions.decisions
    )
    return replace(decisions, decisions=items)


def _slots(lists: Iterable[DecisionList]) -> dict[Cause, int]:
    causes = dict.fromkeys(c for d in lists for item in d.decisions for c in causes_of(item))
    return {cause: slot for slot, cause in enumerate(causes)}


def _in_tables(
    lists: Sequence[DecisionList], families: set[Family], request: EngineRequest, budgets: Budgets
) -> tuple[list[DecisionList], Tables | None, dict[Cause, int], int]:
    """The longest heads of the lists whose tables fit, found by shortening those that do not."""
    from .tables import TooLarge, build  # numpy is loaded only where it is needed

    kept, lost = list(lists), 0
    while True:
        numbers = _slots(kept)
        wanted = [d for d in kept if d.kind.family in families]
        try:
            tables = build(wanted, Coder(numbers, budgets), request.table_memory, request.halvings)
        except TooLarge as e:
            part = min(0.9, request.table_memory / 8 / e.needed)
            for i, d in enumerate(kept):
                if d.kind.family is e.family:
                    kept[i], less = head(d, int(len(d.decisions) * part))
                    lost += less
        else:
            return kept, tables if tables.families else None, numbers, lost


def causes_of(decision: Decision) -> tuple[Cause, ...]:
    """The rules that a decision drops by."""
    if not isinstance(decision.then, Drop):
        return ()
    if decision.split:
        return tuple(dict.fromkeys(c for _, _, c in decision.split))
    return (decision.then.cause,)


def head(decisions: DecisionList, count: int) -> tuple[DecisionList, int]:
    """The first `count` decisions, and how many drops are lost. Ending a list early makes every later
    packet pass: never a wrong drop."""
    kept = tuple(
        replace(d, then=Skip(count)) if isinstance(d.then, Skip) and d.then.to > count else d
        for d in decisions.decisions[:count]
    )
    lost = sum(isinstance(d.then, Drop) for d in decisions.decisions[count:])
    return replace(decisions, decisions=kept), lost


def _fit(decisions: DecisionList, room: int) -> tuple[DecisionList, int, int]:
    """The longest head that fits into so many tests."""
    used = 0
    for at, item in enumerate(decisions.decisions):
        cost = tests_of(item)
        if used + cost > room:
            kept, lost = head(decisions, at)
            return kept, used, lost
        used += cost
    return decisions, used, 0
