"""Single values out of a search, into a hash in which no two of them collide.

Belazzougui, Botelho, Dietzfelbinger: "Hash, displace, and compress" (ESA 2009). A list of single addresses is
all points: a look-up reads a seed and a slot, whatever the number of addresses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .classes import Ints
from .model import HASH_HIGH, HASH_LOW, HASH_SEEDED, SEED_BITS, Points, Words
from .pool import LINE, Pool

#: Fewer are found by a search as quickly; and where more than one interval for so many points is left, the
#: search has to be made anyway.
FEWEST, POINTS_AN_INTERVAL = 8, 8
#: Of a seed; more make the seeds smaller and take longer to find.
POINTS_A_SEED = 4
_SMALL = np.uint64(32)


def points(high: Words | None, low: Words, results: Words) -> NDArray[np.bool_]:
    """Which intervals are to be points, by the first value of each: those of a single value, if they are
    worth a hash. What holds before such an interval then goes on behind it. The first and the last are none.
    """
    steps = low[1:] - low[:-1] == 1
    if high is not None:
        steps &= high[1:] - high[:-1] == (low[1:] == 0)
    single = np.append(steps, False)
    single[0] = False
    rest = results[~single]
    intervals = 1 + np.count_nonzero(rest[1:] != rest[:-1])
    count = np.count_nonzero(single)
    if count < FEWEST or intervals * POINTS_AN_INTERVAL > count + POINTS_AN_INTERVAL:
        single[:] = False
    return single


def place(pool: Pool, high: Words | None, low: Words, results: Words) -> Points | None:
    """`high`: of 128-bit values. None: there is no such hash, as two of the values have the same."""
    hashes = _hash(high, low)
    if np.unique(hashes).size < hashes.size:
        return None
    slot_bits = int(low.size * 5 // 4).bit_length()
    while slot_bits < SEED_BITS * 2:
        bits = max(1, (low.size // POINTS_A_SEED).bit_length())
        found = _seeds(hashes, bits, slot_bits)
        if found is not None:
            return _placed(pool, high, low, results, hashes, found, bits, slot_bits)
        slot_bits += 1
    return None


def _hash(high: Words | None, low: Words) -> Words:
    out = low * np.uint64(HASH_LOW)
    return out if high is None else out + high * np.uint64(HASH_HIGH)


def _slots(hashes: Words, seeds: Words | np.uint64, slot_bits: int) -> Words:
    mixed = hashes ^ hashes >> _SMALL ^ seeds
    return mixed * np.uint64(HASH_SEEDED) >> np.uint64(64 - slot_bits)


def _seeds(hashes: Words, bits: int, slot_bits: int) -> Words | None:
    """Seeds that send each hash to a slot of its own; those of many hashes first, while there is room."""
    seed_of = (hashes >> np.uint64(64 - bits)).astype(np.int64)
    counts = np.bincount(seed_of, minlength=1 << bits)
    by_seed = np.argsort(seed_of, kind="stable")
    begin = np.cumsum(counts) - counts
    taken = bytearray(1 << slot_bits)
    seeds = np.zeros(1 << bits, np.uint64)
    shift, mask = 64 - slot_bits, (1 << 64) - 1
    mixed = (hashes ^ hashes >> _SMALL)[by_seed].tolist()
    order: Ints = np.argsort(-counts, kind="stable")
    for number in order.tolist():
        count = int(counts[number])
        if not count:
            break
        own = mixed[begin[number] : begin[number] + count]
        for seed in range(1 << SEED_BITS):
            slots = [((h ^ seed) * HASH_SEEDED & mask) >> shift for h in own]
            if not any(taken[s] for s in slots) and len(set(slots)) == count:
                break
        else:
            return None
        for s in slots:
            taken[s] = 1
        seeds[number] = seed
    return seeds


def _placed(
    pool: Pool,
    high: Words | None,
    low: Words,
    results: Words,
    hashes: Words,
    seeds: Words,
    bits: int,
    slot_bits: int,
) -> Points:
    """A slot that nothing is sent to holds the first value: who asks for that one is sent to its own."""
    columns = (low, results) if high is None else (high, low, results)
    values = np.stack(columns, axis=1)
    slots = np.tile(values[0], (1 << slot_bits, 1))
    slots[_slots(hashes, seeds[hashes >> np.uint64(64 - bits)], slot_bits)] = values
    seeds_at = pool.add_direct(seeds)
    pool.align(LINE)
    return Points(seeds_at, bits, pool.add(slots), slot_bits)
