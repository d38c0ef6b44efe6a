"""Packets that an INPUT drop must not touch, and replies that must still come: real traffic, with and
without the program, which has to make no difference."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from scapy.all import IP, UDP, Ether, IPOption, IPv6, Raw

from netns import NetnsPair
from pace import seconds
from xdptables.kernel.load import unload_program
from xdptables.kernel.status import status
from xdptables.loading import Request, load, prepare

pytestmark = pytest.mark.kernel

UDP_DROP = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -j DROP\nCOMMIT\n"


@contextlib.contextmanager
def hosts(rules: str, rules6: str = "") -> Iterator[NetnsPair]:
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-nft-restore"], input=rules)
        pair.run(pair.server, ["ip6tables-nft-restore"], input=rules6 or rules)
        yield pair


def same_with_program(pair: NetnsPair, act: Callable[[], object]) -> tuple[object, int]:
    """What `act` sees, and how many packets XDP dropped meanwhile."""
    before = act()
    server = pair.server
    load(prepare(Request(server.ifname, netns=server.ns)))
    try:
        after = act()
        dropped = status(server.ifname, netns_name=server.ns)[0].counters.verdicts[0]
    finally:
        unload_program(server.ifname, netns=server.ns)
    assert after == before
    return after, dropped


@contextlib.contextmanager
def third(pair: NetnsPair) -> Iterator[str]:
    """A namespace behind the server, 192.0.2.0/24 and 2001:db8::/64; the server has .1, it has .2."""
    name = f"xt{secrets.token_hex(3)}t"
    try:
        subprocess.run(["ip", "netns", "add", name], check=True)
        pair.run(pair.server, f"ip link add in0 type veth peer name out0 netns {name}".split())
        for where, dev, last in ((pair.server.ns, "in0", 1), (name, "out0", 2)):
            for line in (
                f"addr add 192.0.2.{last}/24 dev {dev}",
                f"addr add 2001:db8::{last}/64 dev {dev} nodad",
                f"link set {dev} up",
            ):
                pair.run(where, ["ip", *line.split()])
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def got_udp(pair: NetnsPair, where: str, address: str, port: int, send: Callable[[], None]) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pair.enter(where), socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.bind((address, port))
        receiver.settimeout(seconds(0.5))
        send()
        try:
            return receiver.recv(100) == b"hello"
        except TimeoutError:
            return False


def sender(pair: NetnsPair, address: str, port: int) -> Callable[[], None]:
    """Frames straight to the server's MAC, so that no route or neighbour of the client matters."""
    client, server = pair.client, pair.server
    ether = Ether(src=client.mac, dst=server.mac)
    ip = IPv6(src=client.addr6, dst=address) if ":" in address else IP(src=client.addr4, dst=address)
    frame = bytes(ether / ip / UDP(sport=40000, dport=port) / Raw(b"hello"))
    return lambda: pair.send_frames([frame])


def sysctl(pair: NetnsPair, *settings: str) -> None:
    pair.run(pair.server, ["sysctl", "-qw", *settings])


def test_forwarded_ipv4_passes_and_local_is_dropped() -> None:
    with hosts(UDP_DROP) as pair, third(pair) as behind:
        sysctl(pair, "net.ipv4.ip_forward=1")
        forwarded, _ = same_with_program(
            pair, lambda: got_udp(pair, behind, "192.0.2.2", 5000, sender(pair, "192.0.2.2", 5000))
        )
        assert forwarded
        for own in (pair.server.addr4, "192.0.2.1"):  # weak host model: the other interface's is local too
            act = sender(pair, own, 5001)
            local, dropped = same_with_program(
                pair, lambda a=act, o=own: got_udp(pair, pair.server.ns, o, 5001, a)
            )
            assert not local and dropped == 1


def test_forwarded_ipv6_where_only_other_interfaces_forward() -> None:
    with hosts(UDP_DROP) as pair, third(pair) as behind:
        dev = pair.server.ifname
        sysctl(pair, "net.ipv6.conf.all.forwarding=1", f"net.ipv6.conf.{dev}.forwarding=0")
        pair.run(behind, ["ip", "-6", "route", "add", "default", "via", "2001:db8::1"])
        forwarded, _ = same_with_program(
            pair, lambda: got_udp(pair, behind, "2001:db8::2", 5000, sender(pair, "2001:db8::2", 5000))
        )
        assert forwarded
        act = sender(pair, pair.server.addr6, 5001)
        local, dropped = same_with_program(
            pair, lambda: got_udp(pair, pair.server.ns, pair.server.addr6, 5001, act)
        )
        assert not local and dropped == 1


@pytest.mark.parametrize("family", ["4", "6"])
def test_a_routing_rule_before_the_local_table_sends_some_elsewhere(family: str) -> None:
    """An address of which one port belongs to a host behind: the local routes alone can't tell."""
    with hosts(UDP_DROP) as pair, third(pair) as behind:
        own, via = (pair.server.addr4, "192.0.2.2") if family == "4" else (pair.server.addr6, "2001:db8::2")
        sysctl(pair, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        pair.run(behind, ["ip", "addr", "add", own, "dev", "lo"])
        for line in (
            "rule add pref 100 lookup local",
            f"rule add pref 50 to {own} ipproto udp dport 5000 lookup 77",
            "rule del pref 0",
            f"route add {own} via {via} table 77",
        ):
            pair.run(pair.server, ["ip", f"-{family}", *line.split()])
        act = sender(pair, own, 5000)
        elsewhere, _ = same_with_program(pair, lambda: got_udp(pair, behind, own, 5000, act))
        assert elsewhere
        act = sender(pair, own, 5001)
        here, dropped = same_with_program(pair, lambda: got_udp(pair, pair.server.ns, own, 5001, act))
        assert not here and dropped == 1


def test_every_address_of_a_host_with_many() -> None:
    """The first few are compared with directly, the rest looked up; a neighbour's is neither."""
    with hosts(UDP_DROP) as pair:
        server = pair.server
        more4, more6 = [f"192.0.2.{n}" for n in range(1, 7)], [f"2001:db8::{n}" for n in range(1, 7)]
        for address in (*more4, *more6):
            pair.run(server, ["ip", "addr", "add", address, "dev", server.ifname])
        load(prepare(Request(server.ifname, netns=server.ns)))
        try:
            for address in (server.addr4, server.addr6, *more4, *more6):
                sender(pair, address, 5000)()
            for address in ("192.0.2.7", "2001:db8::7", "127.0.0.2", "0.0.0.0", "::"):
                sender(pair, address, 5000)()
            counted = status(server.ifname, netns_name=server.ns)[0].counters.verdicts
            assert (counted[0], counted[5]) == (15, 4)  # 127.0.0.0/8 is local as well
        finally:
            unload_program(server.ifname, netns=server.ns)


def icmp_replies(pair: NetnsPair, frame: bytes) -> list[tuple[int, int]]:
    """Type and code of each ICMP packet that the client gets in half a second."""
    with pair.enter(pair.client), socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as receiver:
        receiver.settimeout(seconds(0.5))
        pair.send_frames([frame])
        found = []
        with contextlib.suppress(TimeoutError):
            while True:
                data = receiver.recv(2000)
                found.append((data[20], data[21]))
        return found


def frame_to(pair: NetnsPair, address: str, **ip: object) -> bytes:
    ether = Ether(src=pair.client.mac, dst=pair.server.mac)
    return bytes(ether / IP(src=pair.client.addr4, dst=address, **ip) / UDP(sport=1, dport=2) / Raw(b"x"))


def test_no_route_still_gets_its_unreachable() -> None:
    with hosts(UDP_DROP) as pair:
        sysctl(pair, "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0")
        frame = frame_to(pair, "203.0.113.1")
        replies, dropped = same_with_program(pair, lambda: icmp_replies(pair, frame))
        assert replies == [(3, 0)] and dropped == 0


def test_bad_ip_options_still_get_their_parameter_problem() -> None:
    with hosts(UDP_DROP) as pair:
        sysctl(pair, "net.ipv4.icmp_ratelimit=0")
        bad = frame_to(pair, pair.server.addr4, options=IPOption(b"\x07\x02\x00\x00"))
        replies, dropped = same_with_program(pair, lambda: icmp_replies(pair, bad))
        assert replies == [(12, 0)] and dropped == 0


def test_a_redirected_port_stays_reachable() -> None:
    rules = (
        "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 8080 -j REDIRECT --to-ports 22\n"
        "COMMIT\n"
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 8080 -j DROP\nCOMMIT\n"
    )
    with (
        hosts(rules, UDP_DROP) as pair,
        pair.enter(pair.server),
        socket.create_server((pair.server.addr4, 22)),
    ):

        def connects() -> bool:
            with pair.enter(pair.client), socket.socket() as s:
                s.settimeout(seconds(0.5))
                return s.connect_ex((pair.server.addr4, 8080)) == 0

        reached, dropped = same_with_program(pair, connects)
        assert reached and dropped == 0


@pytest.mark.parametrize(("sport", "dport"), [(67, 68), (68, 67)])
def test_dhcp_reaches_its_packet_socket(sport: int, dport: int) -> None:
    rules = UDP_DROP.replace("-p udp", "-p udp -m udp")
    with hosts(rules) as pair, pair.enter(pair.server):
        ether = Ether(src=pair.client.mac, dst="ff:ff:ff:ff:ff:ff")
        ip = IP(src=pair.client.addr4, dst="255.255.255.255")
        frame = bytes(ether / ip / UDP(sport=sport, dport=dport) / Raw(b"dhcp"))

        def seen() -> bool:
            # Made for each look, as the program is not loaded where a packet socket is open.
            with pair.enter(pair.server), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as reader:
                reader.bind((pair.server.ifname, 0x0800))
                reader.settimeout(seconds(0.5))
                pair.send_frames([frame])
                with contextlib.suppress(TimeoutError):
                    while True:
                        if reader.recv(2000).endswith(b"dhcp"):
                            return True
                return False

        reached, dropped = same_with_program(pair, seen)
        assert reached and dropped == 0


def test_a_packet_socket_stops_the_load() -> None:
    from xdptables.source import UserError

    with hosts(UDP_DROP) as pair:
        with pair.enter(pair.server):
            reader = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        with reader:
            prepared = prepare(Request(pair.server.ifname, netns=pair.server.ns))
            assert [f.id for f in prepared.stops] == ["packet-sockets"]
            with pytest.raises(UserError, match="packet-sockets"):
                load(prepared)
            lifted = Request(pair.server.ifname, netns=pair.server.ns, disregard=("packet-*",))
            assert not prepare(lifted).stops


def test_rules_on_length_stay_in_netfilter_under_gro() -> None:
    rules = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m length --length 0:200 -j DROP\nCOMMIT\n"
    with hosts(rules) as pair:
        ifname = pair.server.ifname
        for state, expected in (("on", 0), ("off", 1)):
            pair.run(pair.server, ["ethtool", "-K", ifname, "gro", state])
            report = prepare(Request(ifname, netns=pair.server.ns)).compiled.report
            assert len([e for e in report.offloaded if e.family == "ipv4"]) == expected
        pair.run(pair.server, ["ethtool", "-K", ifname, "gro", "on"])
        generic = prepare(Request(ifname, netns=pair.server.ns, mode="generic"))
        assert "gro-rules" in [f.id for f in generic.stops]


def test_a_file_that_is_not_live_stops_the_load() -> None:
    from xdptables.source import Source

    with hosts(UDP_DROP) as pair:
        text = UDP_DROP.replace("-p udp", "-p udp -m udp --dport 53")
        request = Request(pair.server.ifname, Source("x.v4", text), netns=pair.server.ns)
        assert [f.id for f in prepare(request).stops] == ["rules-not-live:ipv4"]
        same = Request(pair.server.ifname, Source("x.v4", UDP_DROP), netns=pair.server.ns)
        assert not prepare(same).stops


def test_vlan_tagged_frames_pass() -> None:
    with hosts(UDP_DROP) as pair:
        udp = frame_to(pair, pair.server.addr4)
        tagged = udp[:12] + struct.pack("!HH", 0x8100, 5) + udp[12:]
        load(prepare(Request(pair.server.ifname, netns=pair.server.ns)))
        try:
            pair.send_frames([udp, tagged])
            verdicts = status(pair.server.ifname, netns_name=pair.server.ns)[0].counters.verdicts
        finally:
            unload_program(pair.server.ifname, netns=pair.server.ns)
        assert verdicts[0] == 1  # the plain one


def test_facts_round_trip_through_json() -> None:
    from xdptables.host.facts import HostFacts
    from xdptables.host.observe import observe

    with hosts(UDP_DROP) as pair, pair.enter(pair.server):
        seen = observe(pair.server.ifname)
    assert HostFacts.from_json(seen.to_json()) == seen
    assert json.loads(seen.to_json())["interface"]["name"] == pair.server.ifname


def test_the_link_local_address_of_another_interface_is_not_local() -> None:
    """Such a packet is routed: a router sends a redirect, or asks for the neighbour."""
    with hosts(UDP_DROP) as pair, third(pair):
        server, client = pair.server, pair.client
        pair.run(server, ["ip", "addr", "add", "fe80::77/64", "dev", "in0", "nodad"])
        pair.run(server, ["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"])
        ether = Ether(src=client.mac, dst=server.mac)
        frames = [
            bytes(ether / IPv6(src=client.addr6, dst=dst) / UDP(dport=9) / Raw(b"hello"))
            for dst in ("fe80::77", server.addr6)
        ]

        def act() -> None:
            pair.send_frames(frames)
            time.sleep(0.2)

        assert same_with_program(pair, act) == (None, 1)
