"""xdptables explain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from cli.command import EXAMPLES, fine, xdptables
from xdptables.fields import Family
from xdptables.verify.build import build

STATEFUL = EXAMPLES / "stateful.rules"


def test_a_packet_rule_by_rule() -> None:
    done = fine("explain", STATEFUL, "tcp 203.0.113.9:4444 > 192.0.2.1:80 syn state new", "-i", "eth0")
    assert "       no  line 15   -A INPUT -s 203.0.113.0/24" in done.stdout
    assert "netfilter  accepts it by line 21\n" in done.stdout
    assert "XDP  passes it to netfilter: " in done.stdout and "(line 21: " in done.stdout


def test_a_frame_in_hex_and_as_data() -> None:
    frame = build(Family.IPV4, {"src": 0xC6336405, "dport": 22})
    data = json.loads(fine("explain", STATEFUL, frame.hex(), "--json").stdout)
    assert data["certain"] and data["xdp"] | {"why": ""} == {
        "drops": True, "asks_conntrack": False, "budget": False, "line": 7, "why": "",
    }  # fmt: skip
    assert data["packet"].startswith("tcp 198.51.100.5:40000 > 192.0.2.1:22 syn")


def test_a_capture_in_sum(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    frames = [build(Family.IPV4, {"src": 0xC6336400 + n, "proto": 17}) for n in range(30)]
    frames += [build(Family.IPV4, {"dport": 80})] * 12 + [frames[0][:12] + b"\x08\x06" + bytes(46)] * 3
    wrpcap(str(path), [Ether(f) for f in frames])
    done = fine("explain", STATEFUL, "--pcap", path, "-i", "eth0")
    lines = done.stdout.splitlines()
    assert lines[1] == "     30  drops by line 7; drops by line 7"
    assert any(line.startswith("      3  is asked nothing: not IP") for line in lines)
    assert lines[-1] == "XDP drops 30 of 45 packets"
    assert len(json.loads(fine("explain", STATEFUL, "--pcap", path, "--json").stdout)) == 45


def test_a_rule(tmp_path: Path) -> None:
    done = fine("explain", STATEFUL, "--rule", "15", "-i", "eth0")
    assert "gets this packet:" in done.stdout and ":25 syn" in done.stdout
    hidden = (
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j DROP\n-A INPUT -p tcp --dport 1 -j ACCEPT\nCOMMIT\n"
    )
    done = xdptables("explain", "-", "--rule", "4", input=hidden)
    assert done.returncode == 1
    assert "no packet gets there; taken before, by:\n  line 3: -A INPUT -p tcp -j DROP" in done.stdout
    data = json.loads(xdptables("explain", "-", "--rule", "4", "--json", input=hidden).stdout)
    assert data["none_exists"] and data["shadowed_by"] == [3]


def test_rules_of_one_family_only() -> None:
    done = fine("explain", STATEFUL, "tcp 2001:db8::5 > me:22")
    assert "netfilter  no rule is asked: no rules of IPv6 are given\n" in done.stdout
    six = EXAMPLES / "blocklist6.rules"
    assert fine("explain", six, "tcp any > me:22").stdout.startswith("tcp [2001:db8::2]:40000 > ")
    assert "no rules of IPv4 are given" in fine("explain", six, "icmp any > me").stdout


def test_a_set_that_is_not_known() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m set --match-set bad src -j DROP\nCOMMIT\n"
    assert (
        "src: the set bad is not known (--ipset)" in fine("explain", "-", "tcp any > me", input=text).stdout
    )


def test_a_capture_with_something_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), [Ether(build(Family.IPV4, {}))] * 3)
    path.write_bytes(path.read_bytes()[:-20])
    done = fine("explain", STATEFUL, "--pcap", path)
    assert "of 2 packets" in done.stdout and "cut off, behind packet 2: the rest is not read" in done.stderr


def test_many_rules_are_shown_when_asked() -> None:
    body = "".join(f"-A INPUT -s 10.0.{n}.0/24 -j DROP\n" for n in range(90))
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{body}COMMIT\n"
    done = fine("explain", "-", "tcp any > me:22", input=text)
    assert "90 rules on the way say no; --all shows them" in done.stdout and "line 5 " not in done.stdout
    assert "line 5 " in fine("explain", "-", "tcp any > me:22", "--all", input=text).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tcp any > me:22 sin",), "                    ^~~\n    hint: syn, ack"),
        ((), "say which packet: PACKET, --pcap FILE or --rule LINE"),
        (("tcp any > me", "--rule", "5"), "say which packet"),
        (("--rule", "500"), "line 500 holds no rule"),
        (("--pcap", "/nowhere"), "can't read /nowhere"),
        (("0011223344",), "5 bytes are no frame"),
    ],
)
def test_errors(words: tuple[str, ...], said: str) -> None:
    done = xdptables("explain", STATEFUL, *words)
    assert done.returncode == 1 and said in done.stderr
