"""One contestant in one case, set up in its place: what gate, rounds and test runs work on."""

from __future__ import annotations

import time
from dataclasses import dataclass

from xdptables.kernel.errors import KernelError
from xdptables.source import UserError

from . import contestants
from .cases import Case
from .contestants import Contestant
from .place import Place, Sender


@dataclass(frozen=True, slots=True)
class Entry:
    """`setup`: seconds that the contestant's own tools took to put the rules in force; `note`: what they said
    that one should know."""

    case: Case
    contestant: Contestant
    place: Place
    setup: float
    note: str = ""

    @property
    def key(self) -> tuple[str, int, str]:
        return self.case.workload, self.case.size, self.contestant.key


def enter(sender: Sender, case: Case, contestant: Contestant) -> Entry | str:
    """Set it up, or say why it can't be."""
    place = sender.place(case.family)
    begin = time.monotonic()
    try:
        note = contestant.prepare(place, case) or ""
        took = time.monotonic() - begin
        contestants.check(contestant, place)
    except (UserError, KernelError) as e:
        return str(e).splitlines()[0]
    place.ready()
    return Entry(case, contestant, place, took, note)
