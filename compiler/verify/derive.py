"""Frames for one set of rules: every source in turn, so that a limit or a clock cuts all of them alike."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from ..decisions.model import DecisionList
from ..fields import Family
from ..matches.view import Kind
from ..rules.model import Ruleset
from .boundaries import boundary_specs
from .build import PLACE, Spec, build
from .model import Frame, Place
from .planned import Fields
from .regions import Regions, beside, spec_of
from .shapes import TWISTS, VARIANTS, not_ip, shapes

#: Of a large list, these many decisions in each round get their neighbours as well.
_ROUND = 64
_NOBODY = (10 << 24 | 255 << 16 | 77 << 8 | 7, 0x20010DB8FFFF << 80 | 7)  # a destination that is not here


def derive(
    rulesets: Sequence[Ruleset],
    lists: Iterable[DecisionList] = (),
    place: Place = PLACE,
    limit: int | None = None,
    seed: int = 1,
) -> Iterator[Frame]:
    """No frame twice, the same ones in the same order for the same arguments. Endless it is not, but for
    large rulesets long: take what there is time for."""
    seen: set[bytes] = set()
    sources: list[Iterator[Frame]] = [
        *(_of_decisions(d, place, seed) for d in lists if d.decisions),
        *(_of_rules(r, place, seed) for r in rulesets),
        *(shapes(r.family, place) for r in rulesets),
        not_ip(place),
    ]
    while sources:
        for source in list(sources):
            # A few from each, so that what belongs together stays near.
            for _ in range(8):
                frame = next(source, None)
                if frame is None:
                    sources.remove(source)
                    break
                if frame.data in seen or len(frame.data) < 14:
                    continue
                seen.add(frame.data)
                yield frame
                if limit is not None and len(seen) >= limit:
                    return


def _of_rules(ruleset: Ruleset, place: Place, seed: int) -> Iterator[Frame]:
    rng = random.Random(f"{seed} rules")
    for name, spec in boundary_specs(ruleset, seed):
        yield Frame(name, build(ruleset.family, spec, place))
        label, change = rng.choice(VARIANTS)
        yield Frame(f"{name}, {label}", build(ruleset.family, spec | change, place))


def _of_decisions(decisions: DecisionList, place: Place, seed: int) -> Iterator[Frame]:
    """Each decision's own region first, then its neighbours, then variants of its packets."""
    regions = Regions(decisions, place, seed)
    rng = random.Random(f"{seed} {decisions.kind}")
    order = list(range(len(decisions.decisions)))
    if len(order) > _ROUND:
        rng.shuffle(order)
    for start in range(0, len(order), _ROUND):
        samples: list[tuple[int, Fields]] = []
        for index in order[start : start + _ROUND]:
            packet = regions.sample(index)
            if packet is not None:
                samples.append((index, packet))
                yield _frame(decisions.kind, f"decision {index}", spec_of(packet), place)
        for index, packet in samples:
            yield from _neighbours(decisions, index, packet, place)
        for index, packet in samples:
            yield from _variants(decisions, index, packet, place, rng)


def _neighbours(decisions: DecisionList, index: int, packet: Fields, place: Place) -> Iterator[Frame]:
    kind = decisions.kind
    for name, value in beside(decisions.decisions[index].when, kind.family):
        spec = spec_of(packet) | {name: value}
        yield _frame(kind, f"decision {index}, {name} {value:#x}", spec, place)


def _variants(
    decisions: DecisionList, index: int, packet: Fields, place: Place, rng: random.Random
) -> Iterator[Frame]:
    kind = decisions.kind
    spec = spec_of(packet)
    elsewhere = {"dst": _NOBODY[kind.family is Family.IPV6]}
    for label, change in (("not for this host", elsewhere), *rng.sample(VARIANTS, 4)):
        yield _frame(kind, f"decision {index}, {label}", spec | change, place)
    for label, twist in rng.sample(TWISTS, 2):
        frame = _frame(kind, f"decision {index}, {label}", spec, place)
        yield Frame(frame.name, twist(frame.data))


def _frame(kind: Kind, name: str, spec: Spec, place: Place) -> Frame:
    if kind.is_fragment:
        spec = {"fragment": 2, **spec}
    return Frame(f"{kind} {name}", build(kind.family, spec, place))
