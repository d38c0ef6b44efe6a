"""The shape of the match table: what one match or target is, to parser, lowering, report and docs.

A match is added by writing one `MatchSpec` in one of this folder's files; table.py collects them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..fields import Family

if TYPE_CHECKING:
    from ..rules.model import Match
    from .condition import Condition
    from .view import View

#: words, family -> typed value; raises ValueError with a message for the user.
ArgParser = Callable[[tuple[str, ...], Family], Any]

BOTH = frozenset(Family)
V4 = frozenset({Family.IPV4})
V6 = frozenset({Family.IPV6})


class Effect(StrEnum):
    """What testing a match does besides answering (docs/semantics.md, side effects)."""

    NONE = "none"  # a pure function of packet and host
    REMEMBERS = "remembers"  # counts or remembers when tested: such packets belong to netfilter


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option of a match or target.

    `names`: canonical first, then other spellings. `args`: (least, most) number of words; most
    None means any. `parse`: makes the typed value; None keeps the words. `field`: for the default
    lowering, the field that the value (an IntervalSet) constrains.
    """

    names: tuple[str, ...]
    args: tuple[int, int | None] = (1, 1)
    parse: ArgParser | None = None
    field: str | None = None
    negatable: bool = True


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """One match.

    `families`: where it exists. `protocols`: it only makes sense under such a `-p` (kernel: xt_check_match).
    `trace`: match, view -> where testing it leaves a trace, of a match that does so at times.
    `facts`: fields of HostFacts that the answer is compiled from. `changes`: what testing it may change in
    the packet, which later matches then see as maybe.
    `lower`: match, view -> Condition; None with fields on the options means: the conjunction of the
    options' sets; None without means maybe, for `maybe_because`.
    """

    name: str
    options: tuple[OptionSpec, ...] = ()
    families: frozenset[Family] = BOTH
    protocols: frozenset[int] = frozenset()
    effect: Effect = Effect.NONE
    reads_conntrack: bool = False
    facts: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    trace: Callable[[Match, View], Condition] | None = None
    lower: Callable[[Match, View], Condition] | None = None
    maybe_because: str = ""
    doc: str = ""


class TargetKind(StrEnum):
    """What a target does to the walk."""

    VERDICT = "verdict"  # ACCEPT, DROP, RETURN
    REJECT = "reject"  # drops with a reply
    CONTINUE = "continue"  # changes only the packet; the walk goes on
    EFFECT = "effect"  # an effect that outlives the packet: such packets belong to netfilter
    NAT = "nat"  # rewrites addresses or ports


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """One target. `changes`: fields that it may change ("mark" included), which later matches then
    see as maybe. `harmless_with`: the option under which an effect is none, and the walk goes on.
    `writes_connection`: its effect is on the packet's connection, and so none where the packet would have
    started one and is dropped (an unconfirmed nf_conn goes with its packet)."""

    name: str
    kind: TargetKind
    options: tuple[OptionSpec, ...] = ()
    families: frozenset[Family] = BOTH
    changes: frozenset[str] = frozenset()
    harmless_with: str = ""
    writes_connection: bool = False
    uses_conntrack: bool = False
    doc: str = ""
