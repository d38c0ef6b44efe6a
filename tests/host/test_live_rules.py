from __future__ import annotations

from pathlib import Path

import pytest

from netns import NetnsPair
from xdptables.fields import Family
from xdptables.host import live_rules as module
from xdptables.host.generation import KeptByGeneration
from xdptables.host.live_rules import LiveDump, all_dumps, digest, live_rules, of_consequence
from xdptables.rules.model import Variant
from xdptables.source import UserError

pytestmark = pytest.mark.kernel


def dumps(pair: NetnsPair) -> list[tuple[str, str]]:
    with pair.enter(pair.server):
        return [(str(d.variant), str(d.family)) for d in live_rules()]


def test_each_back_end_and_family(pair: NetnsPair) -> None:
    assert dumps(pair) == []
    pair.run(pair.server, ["iptables-legacy", "-A", "INPUT", "-s", "10.1.1.1", "-j", "DROP"])
    pair.run(pair.server, ["ip6tables-nft", "-P", "INPUT", "DROP"])
    assert dumps(pair) == [("legacy", "ipv4"), ("nft", "ipv6")]
    with pair.enter(pair.server):
        legacy, nft = live_rules()
    assert "-A INPUT -s 10.1.1.1/32 -j DROP" in legacy.text
    assert ":INPUT DROP" in nft.text and "(nf_tables)" in nft.text


def test_asking_registers_nothing(pair: NetnsPair) -> None:
    with pair.enter(pair.server):
        live_rules()
        assert Path("/proc/thread-self/net/ip_tables_names").read_text() == ""
    assert pair.run(pair.server, ["nft", "list", "ruleset"]).stdout == ""


def test_empty_tables_are_left_out(pair: NetnsPair) -> None:
    pair.run(pair.server, ["iptables-nft", "-A", "INPUT", "-j", "DROP"])
    pair.run(pair.server, ["iptables-nft", "-F"])
    pair.run(pair.server, ["iptables-legacy", "-t", "mangle", "-L"])
    assert dumps(pair) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (":INPUT ACCEPT [0:0]", False),
        (":INPUT DROP [0:0]", True),
        (":mine - [0:0]", True),
        ("-A INPUT -j DROP", True),
        ("[1:2] -A INPUT -j DROP", True),
        ("# -A INPUT", False),
    ],
)
def test_of_consequence(line: str, expected: bool) -> None:
    assert of_consequence(f"*filter\n{line}\nCOMMIT\n") is expected


def test_a_tool_that_fails_is_told(pair: NetnsPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.run(pair.server, ["iptables-legacy", "-A", "INPUT", "-j", "DROP"])
    tool = tmp_path / "iptables-legacy-save"
    tool.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    tool.chmod(0o755)
    monkeypatch.setattr(module, "find_tool", lambda *_: str(tool))
    with pair.enter(pair.server), pytest.raises(UserError, match="iptables-legacy-save failed: broken"):
        live_rules()


def test_a_tool_that_is_missing_is_told(pair: NetnsPair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.run(pair.server, ["iptables-legacy", "-A", "INPUT", "-j", "DROP"])
    monkeypatch.setattr(module.shutil, "which", lambda *_, **__: None)
    with pair.enter(pair.server), pytest.raises(UserError, match="iptables-legacy-save is missing"):
        live_rules()


def test_nft_is_read_again_after_each_change_and_only_then(pair: NetnsPair) -> None:
    kept = KeptByGeneration()
    with pair.enter(pair.server):
        pair.run(pair.server, ["iptables-nft", "-A", "INPUT", "-s", "10.1.1.1", "-j", "DROP"])
        (first,) = all_dumps(kept)
        assert all_dumps(kept)[0] is first
        for change in (
            ["iptables-nft", "-R", "INPUT", "1", "-s", "10.1.1.2", "-j", "DROP"],
            ["iptables-nft", "-P", "INPUT", "DROP"],
            ["iptables-nft-restore"],
        ):
            pair.run(pair.server, change, input="*filter\n-A INPUT -j DROP\nCOMMIT\n")
            (later,) = all_dumps(kept)
            assert later.digest != first.digest, change
            first = later
        pair.run(pair.server, ["nft", "flush", "ruleset"])
        assert all_dumps(kept) == ()


def test_a_digest_leaves_out_what_decides_nothing(pair: NetnsPair) -> None:
    rules = "*filter\n:INPUT ACCEPT [{}:0]\n-A INPUT -s 10.1.1.1/32 -j {}\nCOMMIT\n"
    dump = LiveDump(Variant.LEGACY, Family.IPV4, "# made now\n" + rules.format(1, "DROP"))
    for text, same in (
        ("# later\n" + rules.format(2, "DROP"), True),
        (rules.format(1, "ACCEPT"), False),
        (rules.format(1, "DROP").replace(":INPUT ACCEPT", ":INPUT DROP"), False),
    ):
        other = LiveDump(Variant.LEGACY, Family.IPV4, text)
        assert (digest([other]) == digest([dump])) is same
