"""What became of the facts that a program relies on. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .facts import HostFacts

REFRESH, STALE = "refresh", "stale"


@dataclass(frozen=True, slots=True)
class Change:
    """`kind` "refresh": the maps can be filled again; "stale": the program may no longer be right."""

    kind: str
    fact: str
    text: str


# What the program reads from its maps.
_IN_MAPS = frozenset(
    [
        "local4",
        "broadcast4",
        "local6",
        "forwards4",
        "forwards6",
        "mc_forwarding4",
        "mc_forwarding6",
        "bc_forwarding",
        "unclear4",
        "unclear6",
        "local_first4",
        "local_first6",
        "interface.mac",
    ]
)
# What only the matches of some rules are compiled from (MatchSpec.facts), or some budgets.
_OF_SOME = frozenset(
    [
        "icmp_ratelimit4",
        "icmp_limited4",
        "icmp_ratelimit6",
        "icmp_limited6",
        "icmp_msgs_per_sec",
        "icmp_msgs_burst",
    ]
)
# `xdp` is our own program by now, and whoever attached it watches it. Entries come and go.
# Sets are compared with the rules, by digest.
_NEVER = frozenset(["assumed", "label", "conntrack_entries", "interface.xdp", "ipsets"])


def changes(relied: HostFacts, now: HostFacts, compiled: frozenset[str] = frozenset()) -> tuple[Change, ...]:
    """Every difference that matters to a program made for `relied`. `compiled`: facts that its rules'
    matches or budgets were compiled from."""
    return tuple(_compare("", relied, now, compiled))


def _compare(prefix: str, relied: Any, now: Any, compiled: frozenset[str]) -> Iterator[Change]:
    for field in dataclasses.fields(relied):
        fact = f"{prefix}{field.name}"
        was, is_ = getattr(relied, field.name), getattr(now, field.name)
        if fact == "interface":
            yield from _compare("interface.", was, is_, compiled)
            continue
        if fact in _OF_SOME and fact not in compiled:
            continue
        if fact == "packet_sockets":
            was, is_ = _readers(was), _readers(is_)
        if fact == "nat_entries" and was:
            continue  # the program looks every flow up already
        if was != is_ and fact not in _NEVER:
            kind = REFRESH if fact in _IN_MAPS and fact not in compiled else STALE
            yield Change(kind, fact, _sentence(fact, was, is_))


def _readers(sockets: Any) -> tuple[str, ...]:
    """A socket that is opened again by the same process is the same reader."""
    return tuple(
        sorted({f"{s.process or 'a process'} ({s.protocol:#06x})" for s in sockets if not s.harmless})
    )


def _sentence(fact: str, was: Any, is_: Any) -> str:
    name = fact.removeprefix("interface.").replace("_", " ")
    if isinstance(was, bool) and isinstance(is_, bool):
        return f"{name} is now {'true' if is_ else 'false'}"
    if isinstance(was, tuple) and isinstance(is_, tuple):
        gone, new = [x for x in was if x not in is_], [x for x in is_ if x not in was]
        parts = [f"new: {_list(new)}"] if new else []
        parts += [f"gone: {_list(gone)}"] if gone else []
        return f"{name}: {'; '.join(parts) or 'another order'}"
    return f"{name} was {was or 'none'}, is {is_ or 'none'}"


def _list(items: list[Any]) -> str:
    return ", ".join(f"{x.family} {x.name}" if hasattr(x, "family") else str(x) for x in items)
