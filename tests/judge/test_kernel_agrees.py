"""What the interpreter is certain of, the kernel does: no certain DROP comes through INPUT, no certain
ACCEPT that would arrive without rules is lost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import pytest

from frames import boundary_frames, frames
from judge.check import disagreements
from judge.place import Frame
from judge.random_rules import random_rules
from judge.rulesets import RULESETS, parts, single
from xdptables.fields import Family
from xdptables.reference.connection import Entry
from xdptables.reference.interpret import Verdict
from xdptables.rules.model import Variant
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.bench import IFNAME, Bench
from xdptables.verify.flows import spread

pytestmark = pytest.mark.kernel

VARIANTS = (Variant.LEGACY, Variant.NFT)
#: "first:last", for long runs
SEEDS = range(*map(int, os.environ.get("XDPTABLES_SEEDS", "0:12").split(":")))
_OTHER_FAMILY = {Family.IPV4: b"\x86\xdd", Family.IPV6: b"\x08\x00"}

#: No frame of the collection tells these from a rule that never, or always, matches.
ONE_SIDED = ("-i", "! -i", "-f", "! -f", "-m policy", "-m comment", "-m frag", "-m ah", "-m eui64")

#: These are maybe by design: masks with many holes, details of headers, fragments.
MAYBE = (
    "-s 0.0.0.7/0.0.0.255",
    "-s ::2/::ffff",
    "-m rt --rt-type 4",
    "-m ipv6header --header ipv6-frag --soft",
    "-m iprange --src-range 1.0.0.0-100.0.0.0 ! --dst-range 192.0.2.0-192.0.2.1",
)


def _of_family(family: Family) -> list[Frame]:
    return [f for f in frames() if f.data[12:14] != _OTHER_FAMILY[family]]


def _compare(bare: Bench, bench: Bench, variant: Variant, family: Family, rules: str) -> Counter[Verdict]:
    bench.load(rules, variant, family)
    rulesets = read_rulesets(Source("iptables-save", bench.saved(variant, family)))
    sent: Sequence[Frame] = [*_of_family(family), *boundary_frames(rulesets)]
    data = spread([f.data for f in sent])
    sent = [Frame(f.name, d) for f, d in zip(sent, data, strict=True)]
    arrived, came_through = bare.survivors(data), bench.without_entries(data)
    said: Counter[Verdict] = Counter()
    for entry in Entry:
        wrong, said = disagreements(rulesets, sent, bare.facts(), IFNAME, arrived, came_through, entry)
        assert not wrong, f"{variant}, entry {entry}:\n{rules}\n" + "\n".join(wrong[:10])
    return said


@pytest.mark.parametrize("negative", [False, True], ids=["drops", "alone accepts"])
@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_match(variant: Variant, family: Family, negative: bool) -> None:
    blunt = []
    with Bench() as bare, Bench() as bench:
        for part in parts(family):
            said = _compare(bare, bench, variant, family, single(part, family, negative))
            if part and not (said[Verdict.DROP] and said[Verdict.ACCEPT]) and not part.startswith(ONE_SIDED):
                blunt.append(part)
    assert [part for part in blunt if part not in MAYBE and "addrtype" not in part] == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", RULESETS)
def test_rulesets(name: str, variant: Variant) -> None:
    family, rules = RULESETS[name]
    with Bench() as bare, Bench() as bench:
        _compare(bare, bench, variant, family, rules)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_rulesets(seed: int) -> None:
    for family in Family:
        rules = random_rules(seed, family)
        for variant in VARIANTS:
            with Bench() as bare, Bench() as bench:
                _compare(bare, bench, variant, family, rules)
