"""Each pass keeps every packet's fate: compared by running lists before and after on all values."""

from hypothesis import given, settings
from hypothesis import strategies as st

from xdptables.decisions.model import Accept, Cause, Decision, DecisionList, Drop, Skip, Undecided
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Cube
from xdptables.matches.view import Kind
from xdptables.passes import PASSES, optimise
from xdptables.passes.merge import merge_neighbours
from xdptables.passes.narrow import narrow
from xdptables.passes.tail import drop_passing_tails

CAUSES = [Cause("filter", f"C{i}") for i in range(8)]
TOP = 7


def run(items, packet):
    at = 0
    while at < len(items):
        d = items[at]
        if all(packet[n] in s for n, s in d.when.sets):
            if not isinstance(d.then, Skip):
                if d.split:
                    return next(c for lo, hi, c in d.split if lo <= packet[d.split_field] <= hi)
                return d.then.cause if isinstance(d.then, Drop) else None
            at = d.then.to
        else:
            at += 1
    return None


SET = st.lists(st.tuples(st.integers(0, TOP), st.integers(0, TOP)), min_size=1, max_size=2).map(
    lambda ps: IntervalSet.union_of((min(p), max(p)) for p in ps)
)
CUBE = st.dictionaries(st.sampled_from(["tos", "ttl"]), SET, max_size=2).map(Cube.of)
OUTCOME = st.one_of(
    st.sampled_from(CAUSES).map(lambda c: Drop(c, True, True)),
    st.sampled_from(CAUSES).map(lambda c: Drop(c, False, True)),
    st.just(Accept(None)),
    st.just(Undecided("why", None)),
)


@st.composite
def lists(draw):
    n = draw(st.integers(1, 9))
    items = []
    for i in range(n):
        skip = draw(st.booleans()) and draw(st.booleans())
        then = Skip(draw(st.integers(i + 1, n))) if skip else draw(OUTCOME)
        items.append(Decision(draw(CUBE), then))
    return DecisionList(Kind.IPV4, tuple(items))


def check(step, before):
    after = step(before)
    for tos in range(TOP + 2):
        for ttl in range(TOP + 2):
            packet = {"tos": tos, "ttl": ttl}
            assert run(after.decisions, packet) == run(before.decisions, packet), (before, after, packet)


@settings(max_examples=400, deadline=None)
@given(lists())
def test_no_pass_changes_a_fate(before):
    for step in (*dict.fromkeys(PASSES), optimise):
        check(step, before)


def plain(*pairs):
    return DecisionList(Kind.IPV4, tuple(Decision(Cube.of(w), t) for w, t in pairs))


def drop(i):
    return Drop(CAUSES[i], True, True)


def test_a_shadowed_drop_goes():
    before = plain(({"tos": IntervalSet.range(0, 9)}, Accept(None)), ({"tos": IntervalSet.of(3)}, drop(0)))
    assert [d.then for d in narrow(before).decisions] == [Accept(None)]


def test_a_tail_of_passes_goes():
    before = plain(({"tos": IntervalSet.of(1)}, drop(0)), ({"tos": IntervalSet.of(2)}, Accept(None)))
    assert len(drop_passing_tails(before).decisions) == 1


def test_neighbours_merge_and_keep_their_rules():
    before = plain(*(({"tos": IntervalSet.of(i)}, drop(i)) for i in (5, 1, 3)))
    (merged,) = merge_neighbours(before).decisions
    assert merged.split == ((1, 1, CAUSES[1]), (3, 3, CAUSES[3]), (5, 5, CAUSES[5]))
