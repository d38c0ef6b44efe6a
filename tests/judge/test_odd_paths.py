"""Packets that reach conntrack, a socket or a BPF program by another way than the program sees: real ones,
with and without it."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import time
from pathlib import Path

import pytest
from scapy.all import TCP

from judge.test_delivery import UDP_DROP, hosts, same_with_program, sender
from judge.test_state_race import FLOWS, steered
from judge.traffic import DROPPED, frame_from_client, program, verdicts
from netns import NetnsPair
from pace import seconds
from xdptables.host.facts import HostFacts
from xdptables.kernel.compile import _environment
from xdptables.pipeline import compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source

pytestmark = pytest.mark.kernel


def syn_and_rst(pair: NetnsPair, first: int) -> list[tuple[bytes, bytes]]:
    segments = (TCP(dport=8080, flags="S", seq=1000), TCP(dport=8080, flags="R", seq=1001))
    made = []
    for port in range(first, first + FLOWS):
        for segment in segments:
            segment.sport = port
        made.append((frame_from_client(pair, segments[0]), frame_from_client(pair, segments[1])))
    return made


def test_a_syn_with_a_priority_tag_is_not_overtaken() -> None:
    """VLAN 0 is no VLAN: what has its tag comes in by the device itself."""
    tag = struct.pack("!HH", 0x8100, 3 << 13)
    with steered() as pair:
        frames = [f for s, r in syn_and_rst(pair, 30000) for f in (s[:12] + tag + s[12:], r)]
        with program(pair):
            pair.send_frames(frames)
            time.sleep(0.3)
            assert verdicts(pair)[DROPPED] == 0


def test_a_pinned_bpf_program_sees_what_its_rule_tests() -> None:
    os.environ.update(_environment())
    bcc = pytest.importorskip("bcc")
    text = """#include <uapi/linux/bpf.h>
    BPF_ARRAY(xt_seen, u64, 1);
    int f(struct __sk_buff *skb) { int k = 0; u64 *n = xt_seen.lookup(&k); if (n) *n += 1; return 0; }"""
    made = bcc.BPF(text=text.encode())
    path = Path(f"/sys/fs/bpf/xt{secrets.token_hex(3)}")
    assert bcc.lib.bpf_obj_pin(made.load_func(b"f", bcc.BPF.SOCKET_FILTER).fd, str(path).encode()) == 0
    rules = f"-A INPUT -p udp -m bpf --object-pinned {path} -j DROP\n-A INPUT -p udp -j DROP"
    try:
        with hosts(f"*filter\n:INPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n", UDP_DROP) as pair:

            def act() -> int:
                before = made[b"xt_seen"][0].value
                sender(pair, pair.server.addr4, 5000)()
                time.sleep(0.2)
                return int(made[b"xt_seen"][0].value - before)

            assert same_with_program(pair, act) == (1, 0)
    finally:
        path.unlink()


def test_a_socket_gives_its_mark_to_a_packet() -> None:
    """Compiled for a NIC: what other devices hand up may have a mark anyway."""
    text = (
        "*mangle\n:PREROUTING ACCEPT [0:0]\n"
        "-A PREROUTING -p udp -m socket --nowildcard --restore-skmark -j ACCEPT\nCOMMIT\n"
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m mark ! --mark 0x7 -j DROP\nCOMMIT\n"
    )
    with NetnsPair() as pair:
        server = pair.server
        pair.run(server, ["iptables-nft-restore"], input=text)
        with pair.enter(server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marked:
            marked.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
            marked.bind((server.addr4, 5000))
            marked.settimeout(seconds(1))
            sender(pair, server.addr4, 5000)()
            assert marked.recv(100) == b"hello"
    assert not compile_rules(read_rulesets(Source("x", text)), HostFacts()).report.offloaded
