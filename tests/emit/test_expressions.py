"""An expression holds for exactly the values of its set, at every border."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from emit.c_expression import evaluate, run
from xdptables.emit import expressions
from xdptables.emit.csource import comment
from xdptables.fields import FIELDS, Family
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Cube

HALF = (1 << 64) - 1
NAMES = [(name, family) for name in FIELDS for family in Family]


def fields(name: str, value: int, family: Family) -> dict[str, int]:
    if FIELDS[name].width(family) > 64:
        return {f"{name}_hi": value >> 64, f"{name}_lo": value & HALF}
    return {name: value}


@st.composite
def sets(draw: st.DrawFn, bits: int) -> IntervalSet:
    top = (1 << bits) - 1
    value = st.integers(0, top)
    kind = draw(st.sampled_from(("ranges", "mask", "values", "prefix")))
    if kind == "mask":
        mask = (
            draw(value) if bits <= 12 else top ^ (draw(st.integers(0, 255)) << draw(st.integers(0, bits - 8)))
        )
        return IntervalSet.masked(draw(value) & mask & top, mask & top, bits)
    if kind == "prefix":
        return IntervalSet.prefix(draw(value), draw(st.integers(0, bits)), bits)
    if kind == "values":
        return IntervalSet.of(*draw(st.lists(value, min_size=1, max_size=12)))
    pairs = draw(st.lists(st.tuples(value, value).map(sorted).map(tuple), min_size=1, max_size=9))
    return IntervalSet.union_of(pairs)


def borders(s: IntervalSet, bits: int) -> set[int]:
    top = (1 << bits) - 1
    near = {v + d for lo, hi in s for v in (lo, hi) for d in (-1, 0, 1)} | {0, top, top >> 1, HALF, HALF + 1}
    return {v for v in near if 0 <= v <= top}


@pytest.mark.parametrize(("name", "family"), NAMES, ids=lambda x: str(x))
@given(data=st.data())
def test_a_set(name: str, family: Family, data: st.DataObject) -> None:
    bits = FIELDS[name].width(family)
    s = data.draw(sets(bits))
    text = expressions.test(name, s, family)
    for value in borders(s, bits):
        assert bool(evaluate(text, fields(name, value, family))) == (value in s), (text, value)


@settings(max_examples=30)
@given(flags=st.sets(st.integers(0, 511), max_size=300), ignored=st.integers(0, 511))
def test_any_set_of_flags(flags: set[int], ignored: int) -> None:
    """`ignored`: bits that it does not hang on."""
    s = IntervalSet.of(*(v for v in range(512) if v & ~ignored in flags))
    assume(s and not s.is_full(9))
    text = expressions.test("tcp_flags", s, Family.IPV4)
    for value in range(512):
        assert bool(evaluate(text, {"tcp_flags": value})) == (value in s), (text, value)


@given(data=st.data())
def test_a_cube_is_the_conjunction(data: st.DataObject) -> None:
    a, b = data.draw(sets(16)), data.draw(sets(32))
    cube = Cube.of({"dport": a, "src": b})
    assume(cube is not None)
    text = expressions.condition(cube, Family.IPV4)
    for x in sorted(borders(a, 16))[:12]:
        for y in sorted(borders(b, 32))[:12]:
            wanted = x in a and y in b
            assert bool(evaluate(text or "1", {"dport": x, "src": y})) == wanted, text


@given(st.lists(st.integers(0, 2**32 - 2), min_size=1, max_size=30, unique=True), st.data())
def test_each_interval_finds_its_own_slot(starts: list[int], data: st.DataObject) -> None:
    starts.sort()
    ends = [*(s - 1 for s in starts[1:]), 2**32 - 1]
    slots = data.draw(st.lists(st.integers(0, 3), min_size=len(starts), max_size=len(starts)))
    owners = list(zip(starts, ends, slots, strict=True))
    lines = expressions.index_of("src", owners, Family.IPV4, lambda slot: f"slot {slot}")
    for lo, hi, slot in owners:
        for value in (lo, hi):
            assert run(lines, {"src": value}) == f"slot {slot}"


@given(st.text(max_size=300), st.text(alphabet="*/\\?\n\r\"'{}%#=!<>()-", max_size=40))
def test_a_comment_stays_one(text: str, nasty: str) -> None:
    said = comment(nasty + text + nasty, "line 1: ")
    assert said.isascii() and said.isprintable() and len(said) <= 160
    assert not any(bad in said for bad in ("*/", "/*", "\\", "??"))
    inside = f"/* {said} */"
    assert inside.index("*/") == len(inside) - 2
