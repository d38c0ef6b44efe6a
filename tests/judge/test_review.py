"""Wrong drops that a hostile review found, each against the kernel or iptables itself."""

from __future__ import annotations

import pytest

from judge.bench import Bench
from xdptables.fields import Family
from xdptables.rules.model import Ruleset, Variant
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source

pytestmark = pytest.mark.kernel

#: Numbers as strtoul with base 0 reads them: a leading zero is octal.
SPELLED = (
    "-p tcp -m tcp --dport 010",
    "-p tcp -m tcp --sport 0x10:020",
    "-p 017",
    "-p 0x11",
    "-p icmp -m icmp --icmp-type 010",
    "-p icmp -m icmp --icmp-type 3/012",
    "-p icmp -m icmp --icmp-type 255/3",
    "-s 010.0.0.1/32",
    "-d 10.0.0.010/32",
    "-s 10.0.0.0/024",
    "-s 0x0a.1.1.1",
    "-m iprange --src-range 10.0.0.010-10.0.0.9",
    "-p tcp -m multiport --dports 010,20,1:017",
    "-m length --length 010:0x20",
    "-m ttl --ttl-eq 010",
)


def _values(ruleset: Ruleset) -> list[list[tuple[str, object]]]:
    return [
        sorted((o.name, o.value) for m in rule.matches for o in m.options if o.name != "-p" or o.value)
        for rule in ruleset.rules()
    ]


@pytest.mark.parametrize("variant", [Variant.LEGACY, Variant.NFT], ids=str)
def test_numbers_mean_what_iptables_takes_them_for(variant: Variant) -> None:
    lines = "".join(f"-A INPUT {s} -j DROP\n" for s in SPELLED)
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{lines}COMMIT\n"
    with Bench() as bench:
        bench.load(text, variant, Family.IPV4)
        saved = bench.saved(variant, Family.IPV4)
    (given,) = read_rulesets(Source("given", text), Family.IPV4)
    (stored,) = read_rulesets(Source("saved", saved), Family.IPV4)
    for spelled, mine, theirs in zip(SPELLED, _values(given), _values(stored), strict=True):
        assert mine == theirs, spelled
