"""`-m tcpmss` against the kernel: every way in which the option can be there, or not."""

from __future__ import annotations

import pytest
from scapy.all import IP, TCP, Ether, IPv6

from judge.matching import matching, wrong_answers
from judge.place import PLACE, Frame
from xdptables.fields import Family
from xdptables.reference.answers import Answer
from xdptables.rules.model import Variant
from xdptables.verify.bench import Bench

pytestmark = pytest.mark.kernel

VALUES = (0, 1, 535, 536, 537, 1459, 1460, 1461, 65534, 65535)
#: As bytes, behind the header; each is certain to the compiler, or not.
OPTIONS = {
    b"": True,
    **{b"\2\4" + v.to_bytes(2): True for v in VALUES},
    b"\2\4\5\xb4\4\2\10\n" + bytes(8) + b"\1\3\3\7": True,
    b"\1\1\2\4\5\xb4\1\1": False,  # two no-ops first
    b"\4\2\2\4\5\xb4\1\1": False,
    b"\2\3\5\xb4": False,  # a wrong length
    b"\2\0\2\4\5\xb4\0\0": False,
    b"\1\1\1\1": False,
    b"\0\0\0\0": False,
    b"\0\0\0\0\2\4\5\xb4": False,  # behind the end of the list, where netfilter still looks
    b"\1\1\1\2": False,  # cut off
    b"\x1e\x28" + bytes(38): False,
}
PARTS = ("--mss 536:1460", "! --mss 536:1460", "--mss 0", "! --mss 0", "--mss 65535", "! --mss 536:65535",
         "--mss 0:65535", "! --mss 0:65535", "--mss 1460")  # fmt: skip


def _frames(family: Family) -> list[Frame]:
    ether = Ether(src=PLACE.peer_mac, dst=PLACE.own_mac)
    four = family is Family.IPV4
    ip = IP(src=PLACE.peer4, dst=PLACE.own4) if four else IPv6(src=PLACE.peer6, dst=PLACE.own6)
    made = []
    for options in OPTIONS:
        for flags, data in ((2, b""), (0x10, b""), (0x18, b"data")):
            tcp = TCP(sport=4000, dport=80, flags=flags, dataofs=5 + len(options) // 4)
            made.append(Frame(f"{options.hex()} {flags}", bytes(ether / ip / tcp / (options + data))))
    return made


@pytest.mark.parametrize(("family", "variant"), [(Family.IPV4, Variant.LEGACY), (Family.IPV6, Variant.NFT)])
def test_the_mss(family: Family, variant: Variant) -> None:
    sent = _frames(family)
    sure = {i for i, f in enumerate(sent) if OPTIONS[bytes.fromhex(f.name.split(" ")[0])]}
    with Bench() as bench:
        found = matching(bench, [f"-p tcp -m tcpmss {p}" for p in PARTS], variant, family, sent)
        host = bench.facts()
    for rule, matched in found:
        assert len(matched) == len(sent)
        wrong, _ = wrong_answers(rule, matched, sent, host)
        assert not wrong, "\n".join(wrong[:10])
        certain = {i: truth for i, truth in matched.items() if i in sure}
        assert Answer.MAYBE not in wrong_answers(rule, certain, sent, host)[1]
