"""What the host takes from the program: one finding, and which of them a user lifts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from ..fields import Family


class Scope(StrEnum):
    """STOPS: `load` declines until it is lifted. The others say what may not be dropped."""

    STOPS = "stops"
    NO_DROPS = "no-drops"
    NO_DROPS_AFTER_CONNTRACK = "no-drops-after-conntrack"
    NO_INPUT_DROPS = "no-input-drops"
    NO_GROUP_DROPS = "no-group-drops"  # no broadcast or multicast frame
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """`id` is stable and can be lifted by it. `family`: the only one concerned, None: both."""

    id: str
    scope: Scope
    text: str
    way_out: str = ""
    family: Family | None = None

    def concerns(self, family: Family) -> bool:
        return self.family is None or self.family is family


def lift(
    found: Sequence[Finding], patterns: Iterable[str]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...], tuple[str, ...]]:
    """Split by globs over ids: those that stay, those lifted, and the patterns that lift nothing."""
    patterns = tuple(patterns)
    lifted = tuple(f for f in found if any(fnmatchcase(f.id, p) for p in patterns))
    idle = tuple(p for p in patterns if not any(fnmatchcase(f.id, p) for f in found))
    return tuple(f for f in found if f not in lifted), lifted, idle
