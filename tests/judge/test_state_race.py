"""A packet that comes before the one ahead of it has reached conntrack."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from scapy.all import TCP

from judge.traffic import DROPPED, RECENT, firewall, frame_from_client, program, verdicts
from netns import NetnsPair
from xdptables.emit import csource

pytestmark = [pytest.mark.kernel, pytest.mark.stock]

#: A RST of a connection that conntrack does not know is INVALID, and dropped.
RULES = (
    "*filter\n:INPUT ACCEPT [0:0]\n"
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    "-A INPUT -p tcp -m tcp --dport 8080 -m conntrack --ctstate NEW -j ACCEPT\n"
    "-A INPUT -j DROP\nCOMMIT\n"
)
FLOWS = 300


@contextlib.contextmanager
def steered() -> Iterator[NetnsPair]:
    """A server whose packets change the CPU between XDP and conntrack, and a client that answers nothing."""
    with firewall(RULES) as pair:
        hide = "-A INPUT -p tcp --tcp-flags SYN,ACK SYN,ACK -j DROP"
        pair.run(pair.client, ["iptables-nft", *hide.split()])
        rps = f"echo 3 > /sys/class/net/{pair.server.ifname}/queues/rx-0/rps_cpus"
        subprocess.run(["ip", "netns", "exec", pair.server.ns, "sh", "-c", rps], check=True)
        with pair.enter(pair.server), socket.create_server((pair.server.addr4, 8080), backlog=4096):
            yield pair


def burst(pair: NetnsPair, first: int) -> int:
    """SYN and RST back to back, for many flows; how many half-open sockets are left of them."""
    frames = []
    for port in range(first, first + FLOWS):
        frames.append(frame_from_client(pair, TCP(sport=port, dport=8080, flags="S", seq=1000)))
        frames.append(frame_from_client(pair, TCP(sport=port, dport=8080, flags="R", seq=1001)))
    before = half_open(pair)
    pair.send_frames(frames)
    time.sleep(0.3)
    return half_open(pair) - before


def half_open(pair: NetnsPair) -> int:
    return len(pair.run(pair.server, ["ss", "-Htn", "state", "syn-recv"]).stdout.splitlines())


def test_no_rst_right_behind_its_syn_is_lost() -> None:
    with steered() as pair:
        alone = burst(pair, 20000)
        with program(pair):
            together = burst(pair, 30000)
            counted = verdicts(pair)
        assert counted[DROPPED] == 0
        assert counted[RECENT] > 4  # more than the flood that opened the window: the window was needed
        assert together <= alone + 2


def test_without_the_window_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csource, "RECENT_NS", 0)
    with steered() as pair, program(pair):
        assert burst(pair, 30000) > 0
        assert verdicts(pair)[DROPPED] > 0
