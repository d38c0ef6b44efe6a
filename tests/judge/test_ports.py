"""A program on a port of another device, by whose name the rules see its packets: real frames."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from scapy.all import IP, UDP, Ether, Raw

from judge.traffic import DROPPED, SERVER, connected, echoes, serve, verdicts
from netns import NetnsPair
from pace import seconds
from xdptables.host.findings import findings
from xdptables.host.observe import observe
from xdptables.kernel.load import unload_program
from xdptables.loading import Request, load, prepare
from xdptables.source import UserError

pytestmark = [pytest.mark.kernel, pytest.mark.stock]

DROP_UDP = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i br0 -p udp -j DROP\nCOMMIT\n"


@contextlib.contextmanager
def bridged() -> Iterator[tuple[NetnsPair, str]]:
    """The server's device and another are ports of br0, which has the address; behind the other port a
    namespace with 10.x.0.9."""
    name = f"xt{secrets.token_hex(3)}p"
    with NetnsPair() as pair:
        server, net = pair.server, pair.server.addr4.rpartition(".")[0]
        subprocess.run(["ip", "netns", "add", name], check=True)
        try:
            ip(pair, server.ns, f"link add br0 address {server.mac} type bridge mcast_snooping 0")
            ip(pair, server.ns, f"link add port1 type veth peer name eth0 netns {name}")
            ip(pair, server.ns, f"addr flush dev {server.ifname}")
            for dev in (server.ifname, "port1"):
                ip(pair, server.ns, f"link set {dev} master br0")
            for dev in ("port1", "br0"):
                ip(pair, server.ns, f"link set {dev} up")
            ip(pair, server.ns, f"addr add {server.addr4}/24 brd + dev br0")
            ip(pair, name, "link set eth0 up")
            ip(pair, name, f"addr add {net}.9/24 brd + dev eth0")
            yield pair, name
        finally:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def ip(pair: NetnsPair, where: str, command: str) -> None:
    pair.run(where, ["ip", *command.split()])


@contextlib.contextmanager
def on_port(pair: NetnsPair, master: str) -> Iterator[None]:
    server = pair.server
    load(prepare(Request(server.ifname, netns=server.ns, port_of=master)))
    try:
        yield
    finally:
        unload_program(server.ifname, netns=server.ns)


def heard(pair: NetnsPair, where: str, address: str, frame: bytes) -> bool:
    """Whether a UDP socket in `where` gets what the frame brings to port 5000."""
    with pair.enter(where), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        receiver.bind((address, 5000))
        receiver.settimeout(seconds(0.5))
        pair.send_frames([frame])
        try:
            return receiver.recv(100) == b"hello"
        except TimeoutError:
            return False


def datagram(pair: NetnsPair, mac: str, address: str) -> bytes:
    head = Ether(src=pair.client.mac, dst=mac) / IP(src=pair.client.addr4, dst=address)
    return bytes(head / UDP(sport=4000, dport=5000) / Raw(b"hello"))


def test_a_bridge_goes_on_bridging_while_its_own_packets_are_dropped() -> None:
    with bridged() as (pair, behind):
        server, net = pair.server, pair.server.addr4.rpartition(".")[0]
        pair.run(server, ["iptables-nft-restore"], input=DROP_UDP)
        beyond = pair.run(behind, ["ip", "-br", "link", "show", "eth0"]).stdout.split()[2]
        to_beyond = datagram(pair, beyond, f"{net}.9")
        to_all = [datagram(pair, "ff:ff:ff:ff:ff:ff", a) for a in ("255.255.255.255", f"{net}.255")]
        to_us = datagram(pair, server.mac, server.addr4)
        with on_port(pair, "br0"):
            assert heard(pair, behind, f"{net}.9", to_beyond)
            assert all(heard(pair, behind, "0.0.0.0", frame) for frame in to_all)
            before = counted(pair)
            assert not heard(pair, server.ns, server.addr4, to_us)
            assert counted(pair) == before + 1


U32 = "filter add dev br0 ingress protocol ip u32 match ip src 10.0.0.0/8"


def counted(pair: NetnsPair) -> int:
    return verdicts(pair)[DROPPED]


def test_a_stateful_server_on_a_bridge() -> None:
    with bridged() as (pair, _):
        server = pair.server
        pair.run(server, ["iptables-nft-restore"], input=SERVER)
        with serve(pair, server, server.addr4, 8080), on_port(pair, "br0"):
            with connected(pair, pair.client, server.addr4, 8080) as c:
                assert all(echoes(c) for _ in range(5))
            frames = [datagram(pair, server.mac, server.addr4)] * 4
            pair.send_frames(frames)  # the first may open a window in which a look-up drops nothing
            time.sleep(0.15)
            pair.send_frames(frames)
            assert counted(pair) >= 4


def test_the_master_is_named_or_nothing_is_loaded() -> None:
    with bridged() as (pair, _):
        server = pair.server
        pair.run(server, ["iptables-nft-restore"], input=DROP_UDP)
        for wrong, said in (("", "belongs to the bridge br0"), ("port1", "it belongs to br0")):
            with pytest.raises(UserError, match=said), on_port(pair, wrong):
                pass
        with pytest.raises(UserError, match="it belongs to no other device"):
            prepare(Request("br0", netns=server.ns, port_of="port1"))


def test_what_stands_above_the_bridge_counts() -> None:
    """Programs, chains and devices on br0 come between the port and the rules."""
    with bridged() as (pair, _):
        server = pair.server

        def ids() -> set[str]:
            with pair.enter(server):
                host = observe(server.ifname, seen_as="br0")
            return {f.id for f in findings(host)} - {"unscanned-namespaces", "gro"}

        assert ids() == {"bridge-port"}
        for command in ("qdisc add dev br0 clsact", U32):
            pair.run(server, ["tc", *command.split()])
        assert ids() == {"bridge-port", "tc-ingress"}
        chain = "type filter hook ingress device br0 priority 0; ip saddr set 192.0.2.1"
        pair.run(server, ["nft", f"table netdev early {{ chain c {{ {chain}; }}; }}"])
        assert "nft-netdev:early" in ids()
        ip(pair, server.ns, "link add link br0 name mv type macvlan")
        assert "macvlan" in ids()
        pair.run(server, ["sysctl", "-qw", "net.ipv4.conf.br0.log_martians=1"])
        assert "log-martians" in ids()


def test_the_bridge_itself_takes_a_program() -> None:
    """Generic mode, behind the bridging: nothing needs to be named."""
    with bridged() as (pair, behind):
        server, net = pair.server, pair.server.addr4.rpartition(".")[0]
        pair.run(server, ["iptables-nft-restore"], input=DROP_UDP)
        load(prepare(Request("br0", netns=server.ns)))
        try:
            to_all = datagram(pair, "ff:ff:ff:ff:ff:ff", f"{net}.255")
            assert heard(pair, behind, "0.0.0.0", to_all)
            assert not heard(pair, server.ns, server.addr4, datagram(pair, server.mac, server.addr4))
        finally:
            dropped = unload_program("br0", netns=server.ns)
        assert dropped.counters.verdicts[DROPPED] >= 1
