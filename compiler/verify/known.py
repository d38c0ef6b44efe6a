"""Frames whose flows conntrack has an entry for, on a bench: what comes through by its state alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from ..reference.packet import TCP, UDP, parse
from .bench import Bench, flush_conntrack
from .entries import add_entry
from .flows import as_answer, is_whole, rounds
from .model import Frame, Ruling

#: At most so many that the program drops after a look-up, or without one, or passes.
_GATED, _DROPPED, _PASSED = 128, 64, 64


def frames_in_flows(frames: Sequence[Frame], rulings: Sequence[Ruling]) -> list[Frame]:
    """Some of the whole TCP and UDP frames, no two of one flow; most of those that have to pass only because
    there is an entry (`rulings`: without one). Every other SYN becomes an ACK, as most packets are."""
    alone = [i for i in rounds([f.data for f in frames])[0] if _has_entries(frames[i].data)] if frames else []
    gated = [i for i in alone if rulings[i].drop and rulings[i].gated]
    dropped = [i for i in alone if rulings[i].drop and not rulings[i].gated]
    passed = [i for i in alone if not rulings[i].drop]
    chosen = [*_spaced(gated, _GATED), *_spaced(dropped, _DROPPED), *_spaced(passed, _PASSED)]
    return [
        Frame(f"{frames[i].name}, with an entry", as_answer(frames[i].data) if n % 2 else frames[i].data)
        for n, i in enumerate(chosen)
    ]


def survivors_with_entries(
    bench: Bench, frames: Sequence[bytes], before: Callable[[], None] = lambda: None
) -> set[int]:
    """As `Bench.without_entries`, when conntrack has an entry for each: most are answers in a flow that the
    host began, and so ESTABLISHED; some go in the direction of their flow's first packet."""
    with bench.pair.enter(bench.pair.server):
        flush_conntrack()
        before()
        for number, frame in enumerate(frames):
            with contextlib.suppress(FileExistsError):
                add_entry(parse(frame), reply=number % 5 != 4)
    return bench.survivors(frames)


def _has_entries(frame: bytes) -> bool:
    return is_whole(frame) and parse(frame).protocol in (TCP, UDP)


def _spaced(items: Sequence[int], most: int) -> list[int]:
    step = max(1, -(-len(items) // most))
    return list(items[::step])
