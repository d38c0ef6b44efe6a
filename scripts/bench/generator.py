"""Frames put on the wire by the kernel: BPF_PROG_TEST_RUN with live frames that a program redirects."""

from __future__ import annotations

import importlib.resources
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xdptables.fields import Family
from xdptables.kernel import syscall
from xdptables.kernel.compile import CompiledProgram, compile_program
from xdptables.kernel.netns import in_netns

from .frames import FRAME_SIZE
from .packets import COUNT
from .place import Place, Sender

BATCH = 256  # the most that the kernel takes, and what a veth's ring holds


def c_text(*names: str, **defines: str) -> str:
    """The C of these files in one; `defines` replaces words."""
    folder = importlib.resources.files(__package__).joinpath("c")
    text = "".join(folder.joinpath(f"{name}.c").read_text() for name in names)
    for word, value in defines.items():
        text = text.replace(word, value)
    return text


@dataclass(frozen=True)
class Program:
    """A loaded program with its maps. `compiled` keeps the maps alive."""

    fd: int
    compiled: CompiledProgram

    def set(self, name: str, values: Sequence[bytes]) -> None:
        keys = [struct.pack("=I", i) for i in range(len(values))]
        syscall.map_update_batch(self.compiled.maps[name], keys, values)


def load(text: str, *, frags: bool = True) -> Program:
    compiled = compile_program(text)
    return Program(syscall.prog_load(compiled.instructions, compiled.license, frags=frags).fd, compiled)


class Generator:
    """Sends tables of frames of one family to places."""

    def __init__(self, sender: Sender, family: Family) -> None:
        words = FRAME_SIZE[family] // 8
        self._sender = sender
        self._program = load(c_text("generator", "redirect", FRAME_WORDS=str(words)))
        self._frames: Any = None

    def send(self, place: Place, frames: Sequence[bytes], passes: int) -> None:
        """The frames, repeated to 4,096 where there are fewer, `passes` times over, as fast as they go."""
        self._aim(place, frames)
        self._send(place, frames, passes * COUNT)

    def send_paced(self, place: Place, frames: Sequence[bytes]) -> None:
        """One pass, of which each batch waits for the one before: a slow receiver loses none."""
        self._aim(place, frames)
        received = place.received()
        for _ in range(COUNT // BATCH):
            self._send(place, frames, BATCH)
            received += BATCH
            if place.settled(received) != received:
                return

    def _aim(self, place: Place, frames: Sequence[bytes]) -> None:
        if frames is not self._frames:
            self._program.set("frames", filled(frames))
            self._frames = frames
        self._program.set("to", [struct.pack("=I", place.peer_ifindex)])

    def _send(self, place: Place, frames: Sequence[bytes], count: int) -> None:
        with in_netns(self._sender.netns):
            syscall.test_run_live(self._program.fd, frames[0], place.peer_ifindex, count, BATCH)


def filled(frames: Sequence[bytes]) -> Sequence[bytes]:
    """4,096 of them."""
    return frames if len(frames) == COUNT else [frames[i % len(frames)] for i in range(COUNT)]
