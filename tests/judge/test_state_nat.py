"""Translated flows, and flows that take two interfaces, under rules that drop what comes to the host."""

from __future__ import annotations

import socket
import time

import pytest

from judge.traffic import (
    DROPPED,
    KNOWN,
    SERVER,
    STATELESS,
    ask_and_answer,
    connected,
    echoes,
    firewall,
    flood,
    inner,
    ping,
    program,
    serve,
    verdicts,
)
from netns import NetnsPair

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


def test_a_masqueraded_client_under_stateless_drops() -> None:
    nat = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE\nCOMMIT\n"
    with firewall(STATELESS) as pair, inner(pair) as behind:
        pair.run(pair.server, ["iptables-nft-restore", "--noflush"], input=nat)
        with program(pair), serve(pair, pair.client, pair.client.addr4, 2000):
            with connected(pair, behind, pair.client.addr4, 2000) as out:
                assert all(echoes(out) for _ in range(20))
            ask_and_answer(pair, behind)
            assert ping(pair, behind, pair.client.addr4)
            pair.send_frames(flood(pair, 100))
            assert verdicts(pair)[DROPPED] >= 50  # the server's own closed ports


def test_a_published_port_and_a_redirect_whose_rule_is_gone() -> None:
    nat = (
        "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
        "-A PREROUTING -p tcp -m tcp --dport 3000 -j DNAT --to-destination 192.0.2.2:80\n"
        "-A PREROUTING -p tcp -m tcp --dport 4000 -j REDIRECT --to-ports 22\nCOMMIT\n"
    )
    with firewall(STATELESS) as pair, inner(pair) as behind:
        pair.run(pair.server, ["iptables-nft-restore", "--noflush"], input=nat)
        with (
            serve(pair, behind, "192.0.2.2", 80),
            serve(pair, pair.server, pair.server.addr4, 22),
            connected(pair, pair.client, pair.server.addr4, 4000) as redirected,
        ):
            with program(pair), connected(pair, pair.client, pair.server.addr4, 3000) as published:
                assert echoes(published) and echoes(redirected)
            pair.run(pair.server, ["iptables-nft", "-t", "nat", "-D", "PREROUTING", "2"])
            with program(pair):
                # Translated as long as it lives, and as long as some rule uses conntrack at all.
                assert echoes(redirected)
                pair.send_frames(flood(pair, 100))
                assert verdicts(pair)[DROPPED] >= 50


def test_replies_that_come_in_on_another_interface_than_the_flow_went_out() -> None:
    with firewall(SERVER) as pair:
        pair.run(pair.server, f"ip link add side1 type veth peer name side0 netns {pair.client.ns}".split())
        for where, dev, last in ((pair.server, "side1", 1), (pair.client, "side0", 2)):
            for line in (f"addr add 198.51.100.{last}/24 dev {dev}", f"link set {dev} up"):
                pair.run(where, ["ip", *line.split()])
            pair.run(where, ["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])
        with pair.enter(pair.server):
            out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with pair.enter(pair.client):
            far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with out, far, program(pair):
            out.bind((pair.server.addr4, 0))
            far.bind(("198.51.100.2", 53))
            for s in (out, far):
                s.settimeout(3)
            for _ in range(20):
                out.sendto(b"question", ("198.51.100.2", 53))  # leaves by side1
                _, whom = far.recvfrom(100)
                far.sendto(b"answer", whom)  # comes back by the device with the program
                assert out.recv(100) == b"answer"
            assert verdicts(pair)[KNOWN] >= 20


def test_a_native_chain_sees_the_state_of_a_forwarded_flow() -> None:
    """Answers that mangle drops make the flow ESTABLISHED, on which a later packet of it rests."""
    mangle = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -m udp --sport 2000 -j DROP\nCOMMIT\n"
    native = """table inet other {
        chain first {
            type filter hook prerouting priority -140;
            udp dport 2000 ct state new udp length > 9 drop
        }
    }
    """
    with NetnsPair() as pair, inner(pair) as behind:
        pair.run(pair.server, ["iptables-nft-restore"], input=mangle)
        pair.run(pair.server, ["nft", "-f", "-"], input=native)
        pair.run(pair.client, ["ip", "route", "add", "192.0.2.0/24", "via", pair.server.addr4])
        with pair.enter(pair.client):
            far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with pair.enter(behind):
            near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with far, near, program(pair):
            far.bind((pair.client.addr4, 2000))
            far.settimeout(3)
            near.sendto(b"1", (pair.client.addr4, 2000))
            _, whom = far.recvfrom(100)
            far.sendto(b"answer", whom)
            time.sleep(0.1)
            near.sendto(b"longer", (pair.client.addr4, 2000))
            assert far.recv(100) == b"longer"
