"""Loops of user chains are errors, as for iptables; shared chains and unreached loops are not."""

from __future__ import annotations

import subprocess
from itertools import pairwise

import pytest

from xdptables.rules.reader import read_rulesets
from xdptables.source import InputError, Source

LOOP = "*filter\n:A - [0:0]\n:B - [0:0]\n-A INPUT -j A\n-A A -p tcp -j B\n-A B -g A\nCOMMIT\n"
SELF = "*filter\n:A - [0:0]\n-A INPUT -j A\n-A A -j A\nCOMMIT\n"
SHARED = "*filter\n:A - [0:0]\n:B - [0:0]\n-A INPUT -j A\n-A INPUT -j B\n-A A -j B\n-A B -j ACCEPT\nCOMMIT\n"


@pytest.mark.parametrize("text", [LOOP, SELF])
def test_a_loop_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="reaches itself"):
        read_rulesets(Source("x.v4", text))


def test_a_shared_chain_is_none() -> None:
    assert read_rulesets(Source("x.v4", SHARED))


def test_long_calls_do_not_overflow() -> None:
    names = [f"C{i}" for i in range(3000)]
    lines = ["*filter", *(f":{n} - [0:0]" for n in names), "-A INPUT -j C0"]
    lines += [f"-A {a} -j {b}" for a, b in pairwise(names)]
    assert read_rulesets(Source("x.v4", "\n".join([*lines, "COMMIT", ""])))


@pytest.mark.kernel
@pytest.mark.parametrize("tool", ["iptables-legacy-restore", "iptables-nft-restore"])
@pytest.mark.parametrize(("text", "accepted"), [(LOOP, False), (SELF, False), (SHARED, True)])
def test_iptables_says_the_same(tool: str, text: str, accepted: bool) -> None:
    done = subprocess.run(["unshare", "-n", tool], input=text, text=True, capture_output=True, check=False)
    assert (done.returncode == 0) is accepted
