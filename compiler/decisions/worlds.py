"""Where the worlds of a walk stand, how they meet, and how their states become a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..matches.condition import EVERYTHING, Condition, Cube, Region
from .model import Accept, Allowance, Decision, Drop, Outcome, Skip, Undecided

#: Worlds at once: as many places as a packet may be at.
MAX_WORLDS = 16


class Position(NamedTuple):
    """`path`: the stop's index, then the rule's index in each chain from the base chain inwards;
    lexicographic order is the order of the walk. `chains`: the name of each, and whether by goto.
    `ctstate`: the connection state that holds in this world, "" where nothing is assumed."""

    path: tuple[int, ...]
    chains: tuple[tuple[str, bool], ...]
    ctstate: str = ""

    def next(self) -> Position:
        return Position((*self.path[:-1], self.path[-1] + 1), self.chains, self.ctstate)

    def enter(self, chain: str, goto: bool) -> Position:
        return Position((*self.path, 0), (*self.chains, (chain, goto)), self.ctstate)

    def when(self, ctstate: str) -> Position:
        return Position(self.path, self.chains, ctstate)

    def leave(self) -> Position | None:
        """Back to the rule after the call; a chain entered by goto returns for its caller. None: the
        base chain ends, by its policy."""
        path, chains = self.path, self.chains
        while len(chains) > 1:
            was_goto = chains[-1][1]
            path, chains = path[:-1], chains[:-1]
            if not was_goto:
                return Position((*path[:-1], path[-1] + 1), chains, self.ctstate)
        return None


class State(NamedTuple):
    """`worlds` sorted; the flags say what dropped worlds needed, `budget` (sorted) which limited effects
    lie behind. A tuple, as each is sorted and looked up."""

    worlds: tuple[Position, ...]
    local: bool = False
    after_conntrack: bool = False
    budget: tuple[Allowance, ...] = ()

    def charged(self, *more: Allowance) -> State:
        return self._replace(budget=tuple(sorted({*self.budget, *more})))


@dataclass(frozen=True, slots=True)
class Step:
    region: Region
    then: State | Outcome


def joined(a: State | Outcome, b: State | Outcome, condition: Condition) -> State | Outcome:
    """Both worlds go on. An outcome that is no drop already decides: pass."""
    why = "; ".join(condition.why)
    for side, other in ((a, b), (b, a)):
        if isinstance(side, Drop) and isinstance(other, State):
            both = State(
                other.worlds, other.local or side.local, other.after_conntrack or side.after_conntrack
            )
            return both.charged(*side.budget, *other.budget)
        if isinstance(side, Accept | Undecided):
            return Undecided(why or "one way through the rules accepts", side.cause)
    if isinstance(a, State) and isinstance(b, State):
        worlds = tuple(sorted({*a.worlds, *b.worlds}))
        if len(worlds) > MAX_WORLDS:
            return Undecided(f"more than {MAX_WORLDS} ways through the rules at once", None)
        both = State(worlds, a.local or b.local, a.after_conntrack or b.after_conntrack)
        return both.charged(*a.budget, *b.budget)
    if isinstance(a, Drop) and isinstance(b, Drop):
        state = State((), a.local or b.local, a.after_conntrack or b.after_conntrack)
        return Drop(a.cause, state.local, state.after_conntrack, state.charged(*a.budget, *b.budget).budget)
    return a


def lay_out(blocks: dict[State, list[Step]]) -> tuple[Decision, ...]:
    """Blocks in the order of their states; skips become indices, and a skip to what follows is left out."""
    order = sorted(blocks)
    starts: dict[State, int] = {}
    flat: list[tuple[Cube, State | Outcome]] = []
    for at, state in enumerate(order):
        starts[state] = len(flat)
        following = order[at + 1] if at + 1 < len(order) else None
        for step in blocks[state]:
            if step.then == following and step.region == EVERYTHING:
                break
            flat += [(cube, step.then) for cube in step.region]
            if step.region == EVERYTHING:
                break
    return tuple(Decision(c, Skip(starts[t]) if isinstance(t, State) else t) for c, t in flat)
