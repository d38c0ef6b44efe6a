"""The kernel's own clock: BPF_PROG_TEST_RUN, over the same 4,096 different packets.

A program under test is given a new frame each time, by a feeding program that writes it and calls on (a
tail call). What that costs is measured with a program that only drops, and taken off: the figures are
nanoseconds a packet *over an empty program*.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xdptables.fields import Family
from xdptables.kernel import syscall
from xdptables.kernel.netns import in_netns

from .entry import Entry
from .frames import FRAME_SIZE
from .generator import Program, c_text, filled, load
from .noise import low
from .packets import COUNT

PASSES = 16
Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class _Fed:
    """A program under test, the program that feeds it, and the empty one that the same program can feed."""

    entry: Entry
    prog_fd: int
    feed: Program
    empty: Program


def run(entries: Sequence[Entry], rounds: int, seed: int, progress: Callable[[], None]) -> dict[Key, float]:
    """By entry; without those whose program can't be called by another."""
    kinds: dict[tuple[Family, bool], tuple[Program, Program]] = {}
    fed = [made for made in (_fed(entry, kinds) for entry in entries if entry.contestant.xdp) if made]
    own: dict[Key, list[float]] = {f.entry.key: [] for f in fed}
    empty: dict[Key, list[float]] = {f.entry.key: [] for f in fed}
    rng = random.Random(seed)
    for _ in range(rounds):
        for f in rng.sample(fed, len(fed)):
            f.feed.set("frames", filled(f.entry.case.timed))
            own[f.entry.key].append(_run(f, f.prog_fd))
            empty[f.entry.key].append(_run(f, f.empty.fd))
        progress()
    for f in fed:
        os.close(f.prog_fd)
    return {key: low(times) - low(empty[key]) for key, times in own.items()}


def _fed(entry: Entry, kinds: dict[tuple[Family, bool], tuple[Program, Program]]) -> _Fed | None:
    """A tail call wants both programs with, or both without BPF_F_XDP_HAS_FRAGS, which can't be read from a
    loaded one: try."""
    number = entry.place.xdp()
    if number is None:
        return None
    prog_fd, family = syscall.prog_fd_by_id(number), entry.case.family
    for frags in (True, False):
        if (family, frags) not in kinds:
            text = c_text("generator", "feed", FRAME_WORDS=str(FRAME_SIZE[family] // 8))
            empty = load(c_text("verdict", VERDICT="XDP_DROP"), frags=frags)
            kinds[family, frags] = load(text, frags=frags), empty
        feed, empty = kinds[family, frags]
        try:
            feed.set("next", [struct.pack("=I", prog_fd)])
        except OSError:
            continue
        return _Fed(entry, prog_fd, feed, empty)
    os.close(prog_fd)
    return None


def _run(f: _Fed, prog_fd: int) -> float:
    f.feed.set("next", [struct.pack("=I", prog_fd)])
    with in_netns(f.entry.place.netns):
        _, _, nanoseconds = syscall.test_run(
            f.feed.fd, f.entry.case.timed[0], f.entry.place.ifindex, PASSES * COUNT
        )
    return float(nanoseconds)
