"""No figure without the right fate: every packet is sent, and must be dropped or come through as it should.

Packets that must be dropped and packets that must come through are sent apart, so that two wrongs can't
cancel out. The counts are of the device, which says how many frames it took, and of a chain behind all rules,
which says how many came through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xdptables.fields import Family

from .entry import Entry
from .generator import Generator
from .packets import COUNT
from .place import Place

TRIES = 3


class Lost(Exception):
    """The wire lost frames, so that nothing can be said of their fates."""


def judge(entry: Entry, generators: Mapping[Family, Generator]) -> str:
    """What is wrong with the fates of the packets; "" when nothing is."""
    generator = generators[entry.case.family]
    for frames, right in ((entry.case.drop, 0), (entry.case.passing, COUNT)):
        if not frames or (right and entry.contestant.drops_all):
            continue
        accepted = _accepted(entry.place, generator, frames)
        if accepted != right:
            wrong = abs(accepted - right)
            if right:
                return f"{wrong} of {COUNT} packets that had to be accepted did not come through"
            return f"{wrong} of {COUNT} packets that had to be dropped came through"
    return ""


def _accepted(place: Place, generator: Generator, frames: Sequence[bytes]) -> int:
    for _ in range(TRIES):
        received, accepted = place.received(), place.accepted()
        generator.send_paced(place, frames)
        if place.settled(received + COUNT) == received + COUNT:
            return place.accepted() - accepted
    raise Lost(f"{place.dev} received {place.received() - received} of {COUNT} frames")
