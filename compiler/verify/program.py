"""The compiled program as a subject: BPF_PROG_TEST_RUN, frame by frame, where conntrack is empty."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
from collections.abc import Iterator, Mapping, Sequence

from ..emit.plan import Plan
from ..host.facts import HostFacts
from ..kernel import kfuncs, maps, syscall
from ..kernel.compile import compile_program
from ..reference.packet import parse
from .entries import add_entry
from .flows import is_whole
from .model import Ruling
from .namespace import own_namespace

XDP_DROP = 1
#: In the order of `enum xt_why` in templates/types.c.j2.
_RECENT, _LOOKUPS = 9, 10
_RECENTS = "xt_recent"
_WINDOW = "xt_window"  # when the program was attached, the clock, and the last odd packet


class ProgramSubject:
    """`Subject` of a program in the kernel: a descriptor, and those of its maps, filled for a host.

    To be used inside `own_namespace`, with that interface's index. A flow of which a packet has just passed
    is passed as well (the race of XDP with conntrack); such frames get a second run when that is over."""

    def __init__(self, fd: int, map_fds: Mapping[str, int], ifindex: int, plan: Plan | None = None) -> None:
        self.fd, self.maps, self.ifindex, self.plan = fd, map_fds, ifindex, plan
        self.cpus = maps.possible_cpus()
        attached_long_ago(map_fds)

    def rule(self, frames: Sequence[bytes]) -> list[Ruling]:
        # Once it has passed one that it does not read, it passes all between the same addresses for a while.
        rulings = [Ruling(False)] * len(frames)
        for index in sorted(range(len(frames)), key=lambda i: not is_whole(frames[i])):
            rulings[index] = self._ruling(frames[index])
        again = [i for i, r in enumerate(rulings) if r.why == _JUST_SEEN]
        if again:
            attached_long_ago(self.maps)
            for index in again:
                rulings[index] = self._ruling(frames[index])
        return rulings

    def _ruling(self, frame: bytes) -> Ruling:
        # TEST_RUN may move to another CPU between two looks, so the sums are compared.
        looked = self._count(_LOOKUPS)
        recent = self._count(_RECENT)
        verdict, _, _ = syscall.test_run(self.fd, frame, ingress_ifindex=self.ifindex)
        if verdict != XDP_DROP:
            return Ruling(False, why=_JUST_SEEN if self._count(_RECENT) > recent else "")
        return Ruling(True, gated=self._count(_LOOKUPS) > looked)

    def with_entries(self, frames: Sequence[bytes]) -> list[Ruling]:
        """As `rule`, of whole TCP and UDP packets, when conntrack has an entry for each: in one direction, or
        in the other. Raises OSError where none can be made."""
        for number, frame in enumerate(frames):
            with contextlib.suppress(FileExistsError):
                add_entry(parse(frame), bool(number % 2))
        return self.rule(frames)

    def _count(self, index: int) -> int:
        raw = syscall.map_lookup(self.maps[maps.VERDICTS], struct.pack("=I", index), 8 * self.cpus) or b""
        return sum(struct.unpack(f"={len(raw) // 8}Q", raw))

    def forget(self) -> None:
        """As if no frame had been here."""
        attached_long_ago(self.maps, 0)
        if maps.SOURCES in self.maps:
            for key in list(
                syscall.map_keys(self.maps[maps.SOURCES], syscall.map_info(self.maps[maps.SOURCES]).key_size)
            ):
                syscall.map_delete(self.maps[maps.SOURCES], key)
        for name, words in ((maps.VERDICTS, 1), (maps.RULES, 2), (maps.ON_BUDGET, 1)):
            if name in self.maps:
                info = syscall.map_info(self.maps[name])
                zero = bytes(8 * words * self.cpus)
                for index in range(info.max_entries):
                    syscall.map_update(self.maps[name], struct.pack("=I", index), zero)


def attached_long_ago(map_fds: Mapping[str, int], first: int = 1) -> None:
    """No packet has passed in the last instant, so none is passed for that. `first`: when the program was
    attached, in ns since boot; 0: it is about to be."""
    if _WINDOW in map_fds:
        syscall.map_update(map_fds[_WINDOW], bytes(4), struct.pack("=QQQ", first, 0, 0))
    if _RECENTS in map_fds:
        syscall.map_update_batch(map_fds[_RECENTS], *_zeros(syscall.map_info(map_fds[_RECENTS]).max_entries))


@functools.cache
def _zeros(count: int) -> tuple[list[bytes], list[bytes]]:
    """Keys and values of an array of u64."""
    return [struct.pack("=I", i) for i in range(count)], [bytes(8)] * count


_JUST_SEEN = "a packet of its flow has just passed"


@contextlib.contextmanager
def loaded(
    c_text: str, host: HostFacts, values: Mapping[str, memoryview] | None = None
) -> Iterator[ProgramSubject]:
    """Compile and load for as long as the block lasts, in a namespace like `host`. Attaches nothing.

    Raises UserError (BCC or privileges missing) and KernelError."""
    program = compile_program(c_text, values)
    fd = kfuncs.load(program.instructions, program.license).fd
    try:
        maps.fill(program.maps, host)
        with own_namespace(host) as ifindex:
            yield ProgramSubject(fd, program.maps, ifindex)
    finally:
        os.close(fd)
