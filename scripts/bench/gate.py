"""No figure without the right fate: every packet is sent, and must be dropped or come through as it should.

Packets that must be dropped and packets that must come through are sent apart, so that two wrongs can't
cancel out. The counts are of the device, which says how many frames it took, and of a chain behind all rules,
which says how many came through.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from xdptables.fields import Family

from .entry import Entry
from .generator import Generator
from .packets import COUNT
from .place import Place

TRIES, PATIENCE = 3, 0.3


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
        generator.send(place, frames, 1)
        if settled(place, received + COUNT) == received + COUNT:
            return place.accepted() - accepted
    raise Lost(f"{place.dev} received {place.received() - received} of {COUNT} frames")


def settled(place: Place, wanted: int) -> int:
    """What the device has received once it has `wanted` frames, or none came for a while; its thread is
    through with them then. (A real-time thread may be held up for some 50 ms in favour of others.)"""
    received = place.received()
    until = time.monotonic() + PATIENCE
    while received < wanted and time.monotonic() < until:
        time.sleep(0.0005)
        now = place.received()
        if now > received:
            received, until = now, time.monotonic() + PATIENCE
    busy = -1
    while (now := place.busy()) != busy:
        busy = now
        time.sleep(0.0002)
    return received
