"""Ranges of addresses the wrong way round: iptables takes them, and they match nothing."""

from __future__ import annotations

import ipaddress

import pytest

from judge.matching import matching, wrong_answers
from judge.place import Frame
from xdptables.fields import Family
from xdptables.reference.answers import Answer
from xdptables.rules.model import Variant
from xdptables.verify.bench import Bench
from xdptables.verify.build import build

pytestmark = pytest.mark.kernel

RANGES = {
    Family.IPV4: "192.0.2.9-192.0.2.3",
    Family.IPV6: "2001:db8::9-2001:db8::3",
}


@pytest.mark.parametrize("variant", [Variant.LEGACY, Variant.NFT], ids=str)
@pytest.mark.parametrize("family", list(Family), ids=str)
def test_a_reversed_range(family: Family, variant: Variant) -> None:
    base = int(ipaddress.ip_address(RANGES[family].split("-")[1])) - 3
    sent = [Frame(f"{n}", build(family, {"proto": 17, "src": base + n, "dport": 53})) for n in range(2, 12)]
    parts = [f"-m iprange {no}--src-range {RANGES[family]}" for no in ("", "! ")]
    with Bench() as bench:
        found = matching(bench, parts, variant, family, sent)
        host = bench.facts()
    assert len(found) == 2
    for (rule, matched), answer in zip(found, (Answer.NO, Answer.YES), strict=True):
        assert wrong_answers(rule, matched, sent, host) == ([], {answer})
