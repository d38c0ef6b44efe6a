"""Ordinary stateful firewalls with real sockets: what they accept goes on, floods end in XDP."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from scapy.all import IP, TCP, UDP, Ether, IPv6, Raw

from netns import NetnsPair
from xdptables.kernel.load import unload_program
from xdptables.kernel.status import status
from xdptables.loading import Request, load, prepare

pytestmark = pytest.mark.kernel

SERVER = (
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    "-A INPUT -i lo -j ACCEPT\n"
    "-A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT\n"
    "-A INPUT -j DROP\nCOMMIT\n"
)
STATELESS = (
    "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 1024:65535 -j DROP\n"
    "-A INPUT -p udp -j DROP\nCOMMIT\n"
)
DROPPED, KNOWN, RECENT, LOOKUPS = 0, 8, 9, 10


@contextlib.contextmanager
def firewall(rules: str, variant: str = "nft") -> Iterator[NetnsPair]:
    """The program on the server's device, from the live rules."""
    with NetnsPair() as pair:
        for word in ("iptables", "ip6tables"):
            pair.run(pair.server, [f"{word}-{variant}-restore"], input=rules)
        yield pair


@contextlib.contextmanager
def program(pair: NetnsPair) -> Iterator[None]:
    load(prepare(Request(pair.server.ifname, netns=pair.server.ns)))
    try:
        # The first packet starts the window in which nothing is dropped by a look-up.
        pair.send_frames(flood(pair, 4))
        time.sleep(0.15)
        yield
    finally:
        unload_program(pair.server.ifname, netns=pair.server.ns)


def verdicts(pair: NetnsPair) -> tuple[int, ...]:
    return status(pair.server.ifname, netns_name=pair.server.ns)[0].counters.verdicts


def serve(pair: NetnsPair, where: object, address: str, port: int) -> socket.socket:
    """An echo server in a thread; ends when the returned socket is closed."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pair.enter(where):
        listener = socket.create_server((address, port), family=family, backlog=200)

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1000):
                connection.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def connected(pair: NetnsPair, where: object, address: str, port: int) -> socket.socket:
    with pair.enter(where):
        return socket.create_connection((address, port), timeout=3)


def echoes(connection: socket.socket, data: bytes = b"hello") -> bool:
    connection.settimeout(3)
    connection.sendall(data)
    return connection.recv(1000) == data


def flood(pair: NetnsPair, count: int) -> list[bytes]:
    """SYNs and UDP packets from random sources to closed ports, both families."""
    chance = random.Random(7)
    ether = Ether(src=pair.client.mac, dst=pair.server.mac)
    frames = []
    for n in range(count):
        port, sport = chance.randrange(10000, 60000), chance.randrange(1024, 65535)
        src = f"198.18.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        ip = IP(src=src, dst=pair.server.addr4)
        if n % 4 == 3:
            ip = IPv6(src=f"2001:db8::{chance.randrange(1, 65535):x}", dst=pair.server.addr6)
        l4 = TCP(sport=sport, dport=port, flags="S") if n % 2 else UDP(sport=sport, dport=port)
        frames.append(bytes(ether / ip / l4))
    return frames


def reached_prerouting(pair: NetnsPair) -> int:
    """Packets that netfilter sees at all, counted before any rule."""
    out = pair.run(pair.server, ["nft", "list", "chain", "inet", "seen", "early"]).stdout
    return int(out.split("packets ")[1].split()[0])


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_a_server_goes_on_serving_while_floods_end_in_xdp(variant: str) -> None:
    with firewall(SERVER, variant) as pair:
        seen = "table inet seen { chain early { type filter hook prerouting priority -450; counter; }; }\n"
        pair.run(pair.server, ["nft", "-f", "-"], input=seen)
        frames = flood(pair, 4000)
        with (
            serve(pair, pair.server, pair.server.addr4, 8080),
            serve(pair, pair.server, pair.server.addr6, 8080),
            contextlib.ExitStack() as open_,
        ):
            old = [connected(pair, pair.client, pair.server.addr4, 8080) for _ in range(50)]
            with program(pair):
                before = reached_prerouting(pair)
                sender = threading.Thread(target=pair.send_frames, args=(frames,))
                sender.start()
                new = [
                    open_.enter_context(connected(pair, pair.client, a, 8080))
                    for a in [pair.server.addr4, pair.server.addr6] * 50
                ]
                assert all(echoes(open_.enter_context(c)) for c in old)
                assert all(echoes(c) for c in new)
                sender.join()
                counted = verdicts(pair)
                through = reached_prerouting(pair) - before
                # What passes needs no look-up: only what was about to be dropped asked conntrack.
                assert counted[LOOKUPS] == counted[DROPPED] + counted[KNOWN] + counted[RECENT]
                assert counted[DROPPED] >= 3990
                assert through < 2500  # 150 connections' packets, no flood


def test_what_the_server_itself_starts() -> None:
    with firewall(SERVER) as pair, program(pair):
        with (
            serve(pair, pair.client, pair.client.addr4, 2000),
            connected(pair, pair.server, pair.client.addr4, 2000) as out,
        ):
            assert all(echoes(out, bytes([n]) * 500) for n in range(20))
        with pair.enter(pair.client):
            name_server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with pair.enter(pair.server):
            asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with name_server, asking:
            name_server.bind((pair.client.addr4, 53))
            for s in (name_server, asking):
                s.settimeout(3)
            for _ in range(20):
                asking.sendto(b"question", (pair.client.addr4, 53))
                _, whom = name_server.recvfrom(100)
                name_server.sendto(b"answer", whom)
                assert asking.recv(100) == b"answer"
        assert ping(pair, pair.server, pair.client.addr4)
        assert not ping(pair, pair.client, pair.server.addr4)  # the rules say so


def ping(pair: NetnsPair, where: object, address: str) -> bool:
    body = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1) + b"x" * 16
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]
    with pair.enter(where), socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as s:
        s.settimeout(0.5)
        s.sendto(body, (address, 0))
        with contextlib.suppress(TimeoutError):
            while True:
                data, (source, _) = s.recvfrom(1000)
                if source == address and data[20] == 0:
                    return True
        return False


@contextlib.contextmanager
def inner(pair: NetnsPair) -> Iterator[str]:
    """A namespace behind the server, 192.0.2.2, whose traffic the server masquerades or publishes."""
    name = f"xt{secrets.token_hex(3)}i"
    try:
        subprocess.run(["ip", "netns", "add", name], check=True)
        pair.run(pair.server, f"ip link add in0 type veth peer name out0 netns {name}".split())
        for where, dev, last in ((pair.server.ns, "in0", 1), (name, "out0", 2)):
            for line in (f"addr add 192.0.2.{last}/24 dev {dev}", f"link set {dev} up", "link set lo up"):
                pair.run(where, ["ip", *line.split()])
        pair.run(name, ["ip", "route", "add", "default", "via", "192.0.2.1"])
        pair.run(pair.server, ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_a_masqueraded_client_under_stateless_drops() -> None:
    nat = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE\nCOMMIT\n"
    with firewall(STATELESS) as pair, inner(pair) as behind:
        pair.run(pair.server, ["iptables-nft-restore", "--noflush"], input=nat)
        with program(pair), serve(pair, pair.client, pair.client.addr4, 2000):
            with connected(pair, behind, pair.client.addr4, 2000) as out:
                assert all(echoes(out) for _ in range(20))
            with pair.enter(pair.client):
                name_server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with pair.enter(behind):
                asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with name_server, asking:
                name_server.bind((pair.client.addr4, 53))
                for s in (name_server, asking):
                    s.settimeout(3)
                asking.sendto(b"question", (pair.client.addr4, 53))
                _, whom = name_server.recvfrom(100)
                name_server.sendto(b"answer", whom)
                assert asking.recv(100) == b"answer"
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


def test_a_flushed_table_drops_nothing_that_netfilter_would_take_up_again() -> None:
    # Loose tracking takes a lone ACK for NEW: port 8080 accepts it.
    with (
        firewall(SERVER) as pair,
        serve(pair, pair.server, pair.server.addr4, 8080),
        connected(pair, pair.client, pair.server.addr4, 8080) as c,
        program(pair),
    ):
        for _ in range(5):
            pair.run(pair.server, ["conntrack", "-F"], check=False)
            assert echoes(c)


def half_open(pair: NetnsPair) -> int:
    out = pair.run(pair.server, ["ss", "-Htn", "state", "syn-recv"]).stdout
    return len(out.splitlines())


def test_syn_and_rst_back_to_back() -> None:
    """A RST right behind its SYN has no entry yet when XDP sees it, and yet must end the half-open socket."""
    with firewall(SERVER) as pair, serve(pair, pair.server, pair.server.addr4, 8080):
        pair.run(
            pair.client,
            ["iptables-nft", "-A", "INPUT", "-p", "tcp", "--tcp-flags", "SYN,ACK", "SYN,ACK", "-j", "DROP"],
        )
        ether = Ether(src=pair.client.mac, dst=pair.server.mac)
        ip = IP(src=pair.client.addr4, dst=pair.server.addr4)

        def burst(first: int) -> int:
            frames = []
            for port in range(first, first + 500):
                frames.append(bytes(ether / ip / TCP(sport=port, dport=8080, flags="S", seq=1000)))
                frames.append(bytes(ether / ip / TCP(sport=port, dport=8080, flags="R", seq=1001)))
            pair.send_frames(frames)
            time.sleep(0.3)
            return half_open(pair)

        alone = burst(20000)
        with program(pair):
            together = burst(30000)
        assert together <= alone + 5


def test_notrack_and_a_late_rule() -> None:
    raw = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -m udp --dport 5000 -j CT --notrack\nCOMMIT\n"
    rules = SERVER.replace(
        "-A INPUT -j DROP", "-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT\n-A INPUT -j DROP"
    )
    with firewall(rules) as pair, pair.enter(pair.server):
        pair.run(pair.server, ["iptables-nft-restore", "--noflush"], input=raw)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, program(pair):
            receiver.bind((pair.server.addr4, 5000))
            receiver.settimeout(2)
            frame = (
                Ether(src=pair.client.mac, dst=pair.server.mac)
                / IP(src=pair.client.addr4, dst=pair.server.addr4)
                / UDP(sport=1, dport=5000)
                / Raw(b"untracked")
            )
            pair.send_frames([bytes(frame)])
            assert receiver.recv(100) == b"untracked"
