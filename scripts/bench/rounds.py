"""Time: many short rounds, all entries in an order that is drawn anew for each."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from xdptables.fields import Family

from .entry import Entry
from .generator import Generator
from .packets import COUNT

ROUND_NS = 10_000_000  # of the receiver, about
SLOW_NS = 40_000_000  # for one pass of 4,096 packets: such an entry runs in every third round only
_SOME = 3


@dataclass(slots=True)
class Samples:
    """Nanoseconds a packet, one figure a round. `lossy`: rounds without one, as the wire lost frames.

    Packets of all rounds: `sent`, `received` by the device, `accepted` by all rules, dropped `in_xdp`.
    """

    nanoseconds: list[float] = field(default_factory=list)
    lossy: int = 0
    sent: int = 0
    received: int = 0
    accepted: int = 0
    in_xdp: int = 0


def run(
    entries: Sequence[Entry],
    generators: Mapping[Family, Generator],
    rounds: int,
    seed: int,
    progress: Callable[[], None],
) -> dict[tuple[str, int, str], Samples]:
    samples = {entry.key: Samples() for entry in entries}
    for entry in entries:
        samples[entry.key].accepted = -entry.place.accepted()
        samples[entry.key].in_xdp = -entry.place.dropped_in_xdp()
    pass_ns = {}
    for entry in entries:  # only to learn how long a pass takes
        _round(entry, generators[entry.case.family], 1, samples[entry.key])
        pass_ns[entry.key] = min(samples[entry.key].nanoseconds, default=ROUND_NS / COUNT) * COUNT
        samples[entry.key].nanoseconds.clear()
    progress()
    rng = random.Random(seed)
    visits = [entry for entry in entries for _ in range(entry.case.visits)]
    for number in range(rounds):
        for entry in rng.sample(visits, len(visits)):
            took = pass_ns[entry.key]
            if took < SLOW_NS or number % _SOME == 0:
                passes = max(1, round(ROUND_NS / took))
                _round(entry, generators[entry.case.family], passes, samples[entry.key])
        progress()
    for entry in entries:
        samples[entry.key].accepted += entry.place.accepted()
        samples[entry.key].in_xdp += entry.place.dropped_in_xdp()
    return samples


def _round(entry: Entry, generator: Generator, passes: int, samples: Samples) -> None:
    """Where passes are short, one that is not timed goes first: others have used the caches meanwhile."""
    place, frames = entry.place, entry.case.timed
    first = place.received()
    if passes > 1:
        generator.send(place, frames, 1)
        samples.sent += COUNT
        place.settled(first + COUNT)
    busy, begin = place.busy(), place.received()
    if passes > 1:
        generator.send(place, frames, passes)
    else:
        generator.send_paced(place, frames)
    end = place.settled(begin + passes * COUNT)
    samples.sent += passes * COUNT
    samples.received += end - first
    if end - begin == passes * COUNT:
        samples.nanoseconds.append((place.busy() - busy) / (end - begin))
    else:
        samples.lossy += 1


def wrong(entry: Entry, samples: Samples) -> str:
    """What the sums of all rounds say against the fates; "" when they agree."""
    right = samples.sent * entry.case.share
    lost = samples.sent - samples.received
    if right - lost <= samples.accepted <= right:
        return ""
    return f"{samples.accepted} packets came through in the timed rounds, not {right:.0f}"
