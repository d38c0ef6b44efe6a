"""Hosts on which a packet takes another way to netfilter, or past it, than its frame and a plain host would
say: real packets, with and without the program."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from scapy.all import IP, UDP, Ether, IPv6, Raw, fragment

from judge.test_delivery import UDP_DROP, got_udp, hosts, same_with_program, sender, sysctl, third
from judge.test_ports import bridged, ip, on_port
from netns import NetnsPair
from pace import seconds
from xdptables.kernel.load import unload_program
from xdptables.loading import Request, load, prepare

pytestmark = pytest.mark.kernel


def reaches_itself(pair: NetnsPair) -> Callable[[], bool]:
    server = pair.server
    act = sender(pair, server.addr4, 5000)
    return lambda: got_udp(pair, server.ns, server.addr4, 5000, act)


@contextlib.contextmanager
def elsewhere(pair: NetnsPair, *rules: str) -> Iterator[str]:
    """A host behind has the server's address as well; `rules`: where packets for it are looked up, 77 leads
    there. The rule for the table local is not the first one any more."""
    with third(pair) as behind:
        sysctl(pair, "net.ipv4.ip_forward=1")
        own = pair.server.addr4
        ip(pair, behind, f"addr add {own} dev lo")
        lines = ("rule add pref 100 lookup local", "rule del pref 0", *(f"rule add {r}" for r in rules))
        for line in (*lines, f"route add {own} via 192.0.2.2 table 77"):
            ip(pair, pair.server.ns, line)
        yield behind


def test_a_bridge_remembers_the_port() -> None:
    with bridged() as (pair, _):
        server = pair.server
        sysctl(pair, "net.bridge.bridge-nf-call-iptables=1")
        rules = f"-A INPUT -m physdev --physdev-in {server.ifname} -j ACCEPT\n-A INPUT -p udp -j DROP"
        text = f"*filter\n:INPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n"
        pair.run(server, ["iptables-nft-restore"], input=text)
        act = reaches_itself(pair)
        assert act()
        with on_port(pair, "br0"):
            assert act()


@pytest.mark.parametrize("hook", ["prerouting", "input"])
def test_what_a_bridge_hands_up_may_be_rewritten_before_raw(hook: str) -> None:
    with bridged() as (pair, _):
        server, source = pair.server, pair.client.addr4
        sysctl(pair, "net.bridge.bridge-nf-call-iptables=0")
        rules = f"*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -s {source}/32 -j DROP\nCOMMIT\n"
        pair.run(server, ["iptables-nft-restore"], input=rules)
        rule = f"ip saddr {source} ip saddr set 198.51.100.9"
        chain = f"chain c {{\n type filter hook {hook} priority -200\n {rule}\n }}"
        pair.run(server, ["nft", "-f", "-"], input=f"table bridge t {{\n {chain}\n }}\n")
        ip(pair, server.ns, f"route add default via {source}")
        act = reaches_itself(pair)
        assert act()
        with on_port(pair, "br0"):
            assert act()


def test_a_routing_rule_may_ask_for_the_bridge() -> None:
    with bridged() as (pair, _):
        server = pair.server
        pair.run(server, ["iptables-nft-restore"], input=UDP_DROP)
        with elsewhere(pair, "pref 50 iif br0 ipproto udp dport 5000 lookup 77") as behind:
            act = sender(pair, server.addr4, 5000)
            assert got_udp(pair, behind, server.addr4, 5000, act)
            with on_port(pair, "br0"):
                assert got_udp(pair, behind, server.addr4, 5000, act)


def test_a_fragment_is_routed_by_the_ports_of_the_whole() -> None:
    """Where conntrack has put it together before."""
    with hosts(UDP_DROP) as pair:
        server, client = pair.server, pair.client
        defragmented = (
            "-t raw -A PREROUTING -p tcp -j CT --zone 5"  # any use of conntrack, but on the way out
        )
        pair.run(server, ["iptables-nft", *defragmented.split()])
        whole = UDP(sport=40000, dport=5000) / Raw(b"x" * 200)

        def act(behind: str) -> int:
            ether = Ether(src=client.mac, dst=server.mac)
            packet = IP(src=client.addr4, dst=server.addr4, id=random.randrange(1, 65000)) / whole
            frames = [bytes(ether / f) for f in fragment(packet, 104)]
            with pair.enter(behind), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
                receiver.bind((server.addr4, 5000))
                receiver.settimeout(seconds(0.5))
                pair.send_frames(frames)
                with contextlib.suppress(TimeoutError):
                    return len(receiver.recv(1000))
                return 0

        with elsewhere(pair, "pref 50 ipproto udp dport 5000 lookup 77") as behind:
            assert same_with_program(pair, lambda: act(behind)) == (200, 0)


def test_a_first_rule_that_takes_nothing_from_the_table_local() -> None:
    rules = ("pref 0 lookup local suppress_prefixlength 32", "pref 50 ipproto udp dport 5000 lookup 77")
    with hosts(UDP_DROP) as pair, elsewhere(pair, *rules) as behind:
        act = sender(pair, pair.server.addr4, 5000)
        got, _ = same_with_program(pair, lambda: got_udp(pair, behind, pair.server.addr4, 5000, act))
        assert got


def test_a_local_route_for_some_sources_only() -> None:
    """The others are owed an ICMP error."""
    with hosts(UDP_DROP) as pair:
        server, client = pair.server, pair.client
        route = "route add local 2001:db8:5::1 from 2001:db8:7::/64 dev lo table local"
        pair.run(server, ["ip", "-6", *route.split()])
        ether = Ether(src=client.mac, dst=server.mac)
        udp = IPv6(src=client.addr6, dst="2001:db8:5::1") / UDP(dport=9) / Raw(b"hello")

        def act() -> bool:
            sysctl(pair, "net.ipv6.icmp.ratelimit=0")
            with pair.enter(client), socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58) as receiver:
                receiver.settimeout(seconds(0.5))
                pair.send_frames([bytes(ether / udp)])
                with contextlib.suppress(TimeoutError):
                    while True:
                        if receiver.recv(2000)[0] == 1:
                            return True
                return False

        assert same_with_program(pair, act) == (True, 0)


def test_a_device_with_another_broadcast_address() -> None:
    """To it ff:ff:ff:ff:ff:ff is a multicast address."""
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m pkttype --pkt-type broadcast -j DROP\nCOMMIT\n"
    with hosts(text) as pair:
        server, client = pair.server, pair.client
        ip(pair, server.ns, f"link set {server.ifname} broadcast 01:02:03:04:05:06")
        ether = Ether(src=client.mac, dst="ff:ff:ff:ff:ff:ff")
        packet = IP(src=client.addr4, dst=server.addr4) / UDP(sport=1, dport=5000) / Raw(b"hello")

        def act() -> bool:
            return got_udp(
                pair, server.ns, server.addr4, 5000, lambda: pair.send_frames([bytes(ether / packet)])
            )

        assert act()
        load(prepare(Request(server.ifname, netns=server.ns, disregard=("unscanned-namespaces",))))
        try:
            assert act()
        finally:
            unload_program(server.ifname, netns=server.ns)


def test_a_flow_whose_translation_ends_with_its_entry() -> None:
    """A RST that mangle drops deletes the entry of the SYN before it; the next SYN is a new flow to nat."""
    text = (
        "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --sport 2000 -j DROP\nCOMMIT\n"
        "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -p tcp -j MASQUERADE --random-fully\nCOMMIT\n"
    )
    with NetnsPair() as pair:
        server, client = pair.server, pair.client
        pair.run(server, ["iptables-nft-restore"], input=text)

        def act() -> int:
            """From how many ports a SYN and the one sent again come."""
            with pair.enter(client):
                line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
            with pair.enter(server):
                own = socket.socket()
            with line, own:
                line.bind((client.ifname, 0x0800))
                own.setblocking(False)
                own.connect_ex((client.addr4, 2000))
                line.settimeout(0.1)
                ports, until = [], time.monotonic() + seconds(1.5)
                while len(ports) < 2 and time.monotonic() < until:
                    with contextlib.suppress(TimeoutError):
                        frame, whence = line.recvfrom(2000)
                        if whence[2] != socket.PACKET_OUTGOING and frame[23] == 6 and frame[47] == 2:
                            ports.append(frame[34:36])
                assert len(ports) == 2
                return len(set(ports))

        assert same_with_program(pair, act) == (2, 0)
