"""Words one after the other, while tables are built."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...fields import Family
from .model import DE_BRUIJN, FIRST_BIT, Section, Words

LINE = 8


class TooLarge(Exception):
    """The tables do not fit into what was allowed. `needed`: words, a lower bound. `family`: whose
    tables are too large. `grain`: the largest in them; with 0 they might fit."""

    family: Family | None = None
    grain: int = 0

    def __init__(self, needed: int) -> None:
        super().__init__(f"{needed} words")
        self.needed = needed


class Pool:
    """Grows at its end; what stands in it stays where it is. The first word is zero and means nothing. From a
    multiple of LINE on, LINE words are a cache line (kernel/syscall.py)."""

    def __init__(self, most: int) -> None:
        self.most = most
        first_bit = np.zeros(64, np.uint64)
        for bit in range(64):
            first_bit[(DE_BRUIJN << bit & (1 << 64) - 1) >> 58] = bit
        self.parts: list[Words] = [np.zeros(FIRST_BIT, np.uint64), first_bit]
        self.used = FIRST_BIT + 64
        self.sections: list[Section] = []

    def reserve(self, words: int) -> None:
        """Raises TooLarge when so many more do not fit: asked before they are made."""
        if self.used + words > self.most:
            raise TooLarge(self.used + words)

    def add(self, words: Words) -> int:
        """Where they stand now."""
        self.reserve(words.size)
        at = self.used
        self.parts.append(np.ascontiguousarray(words, np.uint64).ravel())
        self.used += words.size
        return at

    def add_direct(self, values: NDArray[np.unsignedinteger[Any]]) -> int:
        """An array of 16-bit numbers, four to a word, that `xt_direct` reads."""
        padded = np.zeros(-(-values.size // 4) * 4, np.uint64)
        padded[: values.size] = values
        quads = padded.reshape(-1, 4) << np.array([0, 16, 32, 48], np.uint64)
        return self.add(np.bitwise_or.reduce(quads, axis=1))

    def align(self, to: int, at: int = 0) -> None:
        """What is added next stands at a word that is `at` more than a multiple of `to`."""
        if (at - self.used) % to:
            self.add(np.zeros((at - self.used) % to, np.uint64))

    def section(self, role: str, since: int) -> None:
        """All that was added from `since` on is for `role`."""
        if self.used > since:
            self.sections.append(Section(role, since, self.used - since))

    def words(self) -> Words:
        size = 1 << (self.used - 1).bit_length()
        out = np.zeros(size, np.uint64)
        out[: self.used] = np.concatenate(self.parts)
        out.flags.writeable = False
        return out
