"""Firewalls in namespaces, real sockets behind them, and floods."""

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

from scapy.all import IP, TCP, UDP, Ether, IPv6

from netns import NetnsPair
from pace import seconds
from xdptables.kernel.load import unload_program
from xdptables.kernel.status import status
from xdptables.loading import Request, load, prepare

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


class _Listener(socket.socket):
    """Closing alone leaves a thread in accept(), which keeps the socket, its namespace and its rules."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        super().close()


def serve(pair: NetnsPair, where: object, address: str, port: int) -> socket.socket:
    """An echo server in a thread; ends when the returned socket is closed."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pair.enter(where):
        listener = _Listener(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(200)

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
        return socket.create_connection((address, port), timeout=seconds(3))


def echoes(connection: socket.socket, data: bytes = b"hello") -> bool:
    connection.settimeout(seconds(3))
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


def ask_and_answer(pair: NetnsPair, asker: object) -> None:
    """A question over UDP from `asker` to the client's port 53, and its answer."""
    with pair.enter(pair.client):
        name_server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with pair.enter(asker):
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with name_server, asking:
        name_server.bind((pair.client.addr4, 53))
        for s in (name_server, asking):
            s.settimeout(seconds(3))
        for _ in range(20):
            asking.sendto(b"question", (pair.client.addr4, 53))
            _, whom = name_server.recvfrom(100)
            name_server.sendto(b"answer", whom)
            assert asking.recv(100) == b"answer"


def frame_from_client(pair: NetnsPair, l4: object) -> bytes:
    ether = Ether(src=pair.client.mac, dst=pair.server.mac)
    return bytes(ether / IP(src=pair.client.addr4, dst=pair.server.addr4) / l4)


def ping(pair: NetnsPair, where: object, address: str) -> bool:
    body = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1) + b"x" * 16
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]
    with pair.enter(where), socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as s:
        s.settimeout(seconds(0.5))
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
