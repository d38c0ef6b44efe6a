"""Cubes and interval sets as C expressions over `p`, the parsed packet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..fields import FIELDS, Family
from ..intervals import IntervalSet
from ..matches.condition import Cube

#: The cheap and selective first; what is not named comes last.
ORDER = ("proto", "dport", "sport", "icmp", "tcp_flags", "src", "dst")
HALF = (1 << 64) - 1
#: Sets of more intervals than this are searched by halves instead of one test after the other.
INLINE = 4
#: In fields of at most so many bits they are looked up in a constant, a word of it for 64 values.
TABLE_BITS = 9
_WORD_BITS = 6


def condition(cube: Cube, family: Family) -> str:
    """One expression; "" when every packet is meant."""
    rank = {name: i for i, name in enumerate(ORDER)}
    sets = sorted(cube.sets, key=lambda item: (rank.get(item[0], len(ORDER)), item[0]))
    return " && ".join(f"({test(name, s, family)})" for name, s in sets)


def test(name: str, s: IntervalSet, family: Family) -> str:
    bits = FIELDS[name].width(family)
    masked = _as_mask(s, bits)
    if masked is not None:
        return _masked(name, *masked, bits)
    inverse = s.complement(bits)
    masked = _as_mask(inverse, bits)
    if masked is not None:
        return f"!({_masked(name, *masked, bits)})"
    if bits <= TABLE_BITS and min(len(s.pairs), len(inverse.pairs)) > INLINE:
        return _in_table(name, [value in s for value in range(1 << bits)])
    if len(inverse.pairs) < len(s.pairs):
        return f"!({_search(name, inverse.pairs, bits)})"
    return _search(name, s.pairs, bits)


def _search(name: str, pairs: Sequence[tuple[int, int]], bits: int) -> str:
    if len(pairs) <= INLINE:
        return " || ".join(f"({_between(name, lo, hi, bits)})" for lo, hi in pairs)
    middle = len(pairs) // 2
    below = _search(name, pairs[:middle], bits)
    return f"({_less(name, pairs[middle][0], bits)}) ? ({below}) : ({_search(name, pairs[middle:], bits)})"


def _in_table(name: str, holds: Sequence[bool]) -> str:
    """`holds`: of each value. Bits that it does not hang on are left out; as a rule one word is left."""
    width = len(holds).bit_length() - 1
    telling = [b for b in range(width) if any(holds[v] != holds[v ^ 1 << b] for v in range(len(holds)))]
    if not telling:
        return str(int(holds[0]))
    top = telling[-1]
    if top >= _WORD_BITS:
        half = 1 << top
        above, below = (_in_table(name, [holds[v | bit] for v in range(half)]) for bit in (half, 0))
        return f"(p->{name} & {_number(half)}) ? ({above}) : ({below})"
    mask = sum(1 << b for b in telling)
    word = sum(1 << value for value in range(2 << top) if holds[value] and value & mask == value)
    return f"({word:#x}ULL >> (p->{name} & {_number(mask)})) & 1"


def _number(value: int) -> str:
    return f"{value:#x}ULL" if value > 0xFFFFFFFF else f"{value:#x}U" if value > 255 else f"{value}U"


def _between(name: str, lo: int, hi: int, bits: int) -> str:
    top = (1 << bits) - 1
    masked = _as_mask(IntervalSet.range(lo, hi), bits)
    if masked is not None:
        return _masked(name, *masked, bits)
    parts = []
    if lo > 0:
        parts.append(f"!({_less(name, lo, bits)})")
    if hi < top:
        parts.append(_less(name, hi + 1, bits))
    return " && ".join(f"({p})" for p in parts) or "1"


def _less(name: str, value: int, bits: int) -> str:
    if bits <= 64:
        return f"p->{name} < {_number(value)}"
    hi, lo = value >> 64, value & HALF
    return f"p->{name}_hi < {_number(hi)} || (p->{name}_hi == {_number(hi)} && p->{name}_lo < {_number(lo)})"


def _as_mask(s: IntervalSet, bits: int) -> tuple[int, int] | None:
    """(value, mask) if s is {x : x & mask == value}."""
    if not s:
        return None
    ones, any_one = (1 << bits) - 1, 0
    for lo, hi in s:
        varying = (1 << (lo ^ hi).bit_length()) - 1
        ones &= lo & hi & ~varying
        any_one |= lo | hi | varying
    mask = ((1 << bits) - 1) & ~(ones ^ any_one)
    if s.size != 1 << (bits - mask.bit_count()):
        return None
    return ones & mask, mask


def _masked(name: str, value: int, mask: int, bits: int) -> str:
    if bits <= 64:
        return _masked_word(f"p->{name}", value, mask, (1 << bits) - 1)
    halves = [
        _masked_word(f"p->{name}_hi", value >> 64, mask >> 64, HALF),
        _masked_word(f"p->{name}_lo", value & HALF, mask & HALF, HALF),
    ]
    return " && ".join(h for h in halves if h != "1") or "1"


def _masked_word(word: str, value: int, mask: int, full: int) -> str:
    if mask == 0:
        return "1"
    if mask == full:
        return f"{word} == {_number(value)}"
    return f"({word} & {_number(mask)}) == {_number(value)}"


def index_of(
    name: str, owners: Sequence[tuple[int, int, int]], family: Family, then: Callable[[int], str]
) -> tuple[str, ...]:
    """Statements that find which interval holds the field, by halves; each leaf says what to do.

    The caller has made sure that one interval holds it, so a leaf tests only its neighbours' border."""
    bits = FIELDS[name].width(family)
    if len({slot for _, _, slot in owners}) == 1:
        return (then(owners[0][2]),)
    middle = len(owners) // 2
    below = index_of(name, owners[:middle], family, then)
    above = index_of(name, owners[middle:], family, then)
    return (
        f"if ({_less(name, owners[middle][0], bits)}) {{",
        *(f"    {line}" for line in below),
        "} else {",
        *(f"    {line}" for line in above),
        "}",
    )
