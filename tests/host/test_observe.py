"""Each fact is made true in a network namespace of its own, and must be seen."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from dataclasses import replace

import pytest
from looking import ids, look, quiet, run

from netns import NetnsPair
from pace import seconds
from xdptables.host import links
from xdptables.host.facts import HostFacts
from xdptables.host.observe import observe
from xdptables.kernel.errors import KernelError
from xdptables.source import UserError

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


def test_devices_that_are_no_ethernet(pair: NetnsPair) -> None:
    """On lo a packet has the mark and the connection that OUTPUT gave it, and rules on them are not NO."""
    with contextlib.suppress(KernelError):  # a kernel without tunnels
        run(pair, "ip link add tun0 type ipip local 192.0.2.1 remote 192.0.2.2")
    with pair.enter(pair.server):
        here = [k.name for k in links.links() if k.name in ("lo", "tun0")]
        assert "lo" in here
        for name in here:
            assert "not-ethernet" in ids(observe(name))


def test_a_clean_pair(pair: NetnsPair) -> None:
    quiet(pair)
    host, end = look(pair), pair.server
    assert ids(host) == set()
    assert (host.interface.name, host.interface.ifindex, host.interface.mac) == (
        end.ifname,
        end.ifindex,
        end.mac,
    )
    assert (host.interface.kind, host.interface.gro, host.interface.rxvlan) == ("veth", False, True)
    assert not host.assumed and not host.unknown and not host.backends
    with pair.enter(end):  # a kernel that has loaded tunnels puts tunl0 into each namespace
        others = {link.name for link in links.links()} - {"lo", end.ifname}
    assert host.other_interfaces == bool(others) and others <= {"tunl0"}
    net = end.addr4.rsplit(".", 1)[0]
    assert set(host.local4) == {f"{end.addr4}/32", "127.0.0.0/8", "127.0.0.1/32"}
    assert set(host.broadcast4) == {f"{net}.255/32", "127.255.255.255/32"}
    assert {f"{end.addr6}/128", "::1/128"} <= set(host.local6)
    assert HostFacts.from_json(host.to_json()) == host


def test_the_calling_thread_stays_where_it_is(pair: NetnsPair) -> None:
    with pair.enter(pair.server):
        observe(pair.server.ifname)
        assert socket.if_nametoindex(pair.server.ifname) == pair.server.ifindex


def test_gro_and_rxvlan(pair: NetnsPair) -> None:
    run(pair, "ethtool -K {dev} gro on rxvlan off")
    assert look(pair).interface.rxvlan  # of S-VLANs: another switch
    run(pair, "ethtool -K {dev} rx-vlan-stag-hw-parse off")
    host = look(pair)
    assert (host.interface.gro, host.interface.rxvlan) == (True, False)
    assert ids(host) == {"gro"}


def test_no_such_interface(pair: NetnsPair) -> None:
    with pair.enter(pair.server), pytest.raises(UserError) as e:
        observe(pair.server.ifname[:-1])
    assert f"did you mean {pair.server.ifname}" in e.value.hint
    assert "lo" in e.value.hint


def test_an_alternative_name_is_resolved(pair: NetnsPair) -> None:
    run(pair, "ip link property add dev {dev} altname uplink")
    with pair.enter(pair.server):
        assert observe("uplink").interface.name == pair.server.ifname


def test_other_interfaces_count_even_when_down(pair: NetnsPair) -> None:
    run(pair, "ip link add br7 type bridge")
    assert look(pair).other_interfaces


def test_any_local_address_and_anycast(pair: NetnsPair) -> None:
    run(pair, "ip route add local 192.0.2.0/24 dev lo")
    run(pair, "ip route add local 203.0.113.0/24 dev lo table 77")  # for some packets, if any
    run(pair, "ip -6 route add local 2001:db8::/32 dev lo")
    run(pair, "sysctl -qw net.ipv6.conf.{dev}.forwarding=1")
    run(pair, "ip route add broadcast 198.51.100.9 dev {dev} table local")
    host = look(pair)
    assert "192.0.2.0/24" in host.local4 and "2001:db8::/32" in host.local6
    assert "203.0.113.0/24" not in host.local4
    assert "198.51.100.9/32" in host.broadcast4
    assert any(p.endswith("::/128") and p != "::/128" for p in host.local6)  # the subnet-router anycast
    assert host.forwards6
    assert host.unclear4 == ("203.0.113.0/24",)
    assert any(p.endswith("::/128") and p != "::/128" for p in host.unclear6)


def test_ipsec(pair: NetnsPair) -> None:
    assert not look(pair).ipsec
    run(pair, "ip xfrm policy add dir in src 192.0.2.0/24 dst 198.51.100.0/24 tmpl proto esp mode tunnel")
    assert look(pair).ipsec


def test_routes_that_hide_the_type_of_an_address(pair: NetnsPair) -> None:
    run(pair, "ip route add blackhole 192.0.2.5/32 table local")
    run(pair, "ip route add local 192.0.2.6/32 dev lo tos 0x10 table local")
    run(pair, "ip -6 route add local 2001:db8::/64 dev lo table 77")
    run(pair, "ip link add vx9 type veth peer name vx8")
    run(pair, "ip addr add 192.0.2.129/25 brd + dev vx9")
    run(pair, "ip link set vx9 up")  # no carrier: its broadcast route is down, a moment later
    until = time.monotonic() + seconds(2)
    while "192.0.2.255/32" not in (host := look(pair)).unclear4 and time.monotonic() < until:
        time.sleep(0.1)
    assert set(host.unclear4) >= {"192.0.2.5/32", "192.0.2.6/32", "192.0.2.255/32"}
    assert "192.0.2.129/32" in host.local4 and "192.0.2.129/32" not in host.unclear4
    assert "2001:db8::/64" in host.unclear6
    assert host.local_first6
    run(pair, "ip -6 rule add from all to 2001:db8::/32 pref 0 lookup local")
    run(pair, "ip -6 rule del pref 0")
    assert not look(pair).local_first6


@pytest.mark.parametrize(
    ("sysctl", "fact"),
    [
        ("net.ipv4.conf.{dev}.forwarding", "forwards4"),
        ("net.ipv4.ip_forward", "forwards4"),
        ("net.ipv6.conf.all.forwarding", "forwards6"),
        ("net.ipv4.conf.{dev}.bc_forwarding", "bc_forwarding"),
        ("net.ipv4.conf.{dev}.log_martians", "log_martians"),
        ("net.ipv4.conf.all.log_martians", "log_martians"),
        ("net.netfilter.nf_conntrack_log_invalid", "conntrack_log_invalid"),
    ],
)
def test_sysctls(pair: NetnsPair, sysctl: str, fact: str) -> None:
    if "netfilter" in sysctl:
        track(pair)  # where conntrack is a module, it has no switches before
    assert not getattr(look(pair), fact)
    run(pair, f"sysctl -qw {sysctl}=1")
    assert getattr(look(pair), fact)


def test_what_only_another_device_logs_does_not_matter(pair: NetnsPair) -> None:
    run(pair, "sysctl -qw net.ipv4.conf.lo.log_martians=1")
    assert not look(pair).log_martians


def track(pair: NetnsPair) -> None:
    run(pair, "iptables-nft -A INPUT -m conntrack --ctstate INVALID -j DROP")


def test_conntrack_switches(pair: NetnsPair) -> None:
    track(pair)
    run(pair, "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0 net.netfilter.nf_conntrack_checksum=0")
    host = look(pair)
    assert not host.tcp_loose and not host.conntrack_checksum


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("ip rule add fwmark 1 table 7", {"fwmark-rules:ipv4"}),
        ("ip -6 rule add fwmark 0x10/0xf0 table 7", {"fwmark-rules:ipv6"}),
        ("ip rule add tos 0x10 table 7", {"tos-rules:ipv4"}),
        ("ip -6 rule add tos 0x10 table 7", {"tos-rules:ipv6"}),
        ("ip rule add from 10.0.0.0/8 iif {dev} dport 5 ipproto tcp table 7", set()),
    ],
)
def test_routing_rules(pair: NetnsPair, rule: str, found: set[str]) -> None:
    quiet(pair)
    run(pair, rule)
    assert ids(look(pair)) == found


def test_bridge_port(pair: NetnsPair) -> None:
    quiet(pair)
    run(pair, "ip link add br7 type bridge")
    run(pair, "ip link set {dev} master br7")
    host = look(pair)
    assert host.interface.uppers == ("bridge:br7",)
    assert ids(host) == {"upper:bridge:br7"}
    assert host.other_interfaces


def test_a_tunnel_over_the_device_is_no_child(pair: NetnsPair) -> None:
    quiet(pair)
    run(pair, "ip link add vx type vxlan id 5 dev {dev} dstport 4789")
    assert ids(look(pair)) == set()


@pytest.mark.parametrize(("mode", "found"), [("bridge", "macvlan"), ("passthru", "macvlan-passthru")])
def test_macvlan_here(pair: NetnsPair, mode: str, found: str) -> None:
    quiet(pair)
    run(pair, f"ip link add link {{dev}} name mv type macvlan mode {mode}")
    assert ids(look(pair)) == {found}


def test_children_in_another_namespace(pair: NetnsPair) -> None:
    quiet(pair)
    run(pair, f"ip link add link {{dev}} name kid netns {pair.client.ns} type macvlan")
    host = look(pair)
    assert host.interface.mac_children == (f"macvlan:kid@{pair.client.ns}",)
    assert ids(host) == {"macvlan"}
    assert look(pair, pair.client).interface.mac_children == ()  # not the client's own child


def test_children_in_a_namespace_that_only_a_process_holds(pair: NetnsPair) -> None:
    quiet(pair)
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout
        holder.stdout.readline()
        run(pair, "ip link add link {dev} name kid type macvlan")
        run(pair, f"ip link set kid netns {holder.pid}")
        assert look(pair).interface.mac_children == (f"macvlan:kid@pid{holder.pid}",)
    finally:
        holder.communicate(b"\n")


def test_packet_sockets(pair: NetnsPair) -> None:
    quiet(pair)

    def reader(protocol: int, ifname: str | None = None) -> socket.socket:
        with pair.enter(pair.server):
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol) if not ifname else 0)
            if ifname:
                s.bind((ifname, protocol))
            return s

    end = pair.server
    with reader(0), reader(0x88CC), reader(3, "lo"):
        host = look(pair)
        assert [(s.protocol, s.harmless) for s in host.packet_sockets] == [(0x88CC, True)]
        assert ids(host) == set()
    for sniffer in (lambda: reader(3), lambda: reader(0x0800, end.ifname), lambda: reader(0x86DD)):
        with sniffer():
            host = look(pair)
            assert [s.harmless for s in host.packet_sockets] == [False]
            assert host.packet_sockets[0].process
            assert ids(host) == {"packet-sockets"}


def test_a_reader_on_the_bridge_misses_it_too(pair: NetnsPair) -> None:
    run(pair, "ip link add br7 type bridge")
    run(pair, "ip link set {dev} master br7")
    with pair.enter(pair.server):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind(("br7", 3))
    with s:  # the bridge is still down: it will read once that is up
        assert len(look(pair).packet_sockets) == 1


def test_conntrack_entries_and_nat(pair: NetnsPair) -> None:
    quiet(pair)
    assert not look(pair).conntrack_entries
    track(pair)
    send_udp(pair, 7001)
    with pair.enter(pair.client), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
        s.sendto(bytes.fromhex("0800f7fd00010001"), (pair.server.addr4, 0))  # no ports, yet a mirror image
    host = look(pair)
    assert host.conntrack_entries and not host.nat_entries
    run(pair, "iptables-nft -t nat -A PREROUTING -p udp --dport 7002 -j REDIRECT --to-ports 7003")
    send_udp(pair, 7002)
    run(pair, "iptables-nft -t nat -F")
    host = look(pair)
    assert host.conntrack_entries and host.nat_entries


def send_udp(pair: NetnsPair, port: int) -> None:
    with pair.enter(pair.client), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", (pair.server.addr4, port))


def test_an_expectation_is_a_helper_at_work(pair: NetnsPair) -> None:
    quiet(pair)
    run(pair, "iptables-nft -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp")
    with pair.enter(pair.server):
        listener = socket.create_server((pair.server.addr4, 21))
    with pair.enter(pair.client), listener, socket.create_connection((pair.server.addr4, 21)) as control:
        accepted, _ = listener.accept()
        with accepted:
            port = pair.client.addr4.replace(".", ",")
            control.sendall(f"PORT {port},200,10\r\n".encode())
            accepted.settimeout(5)
            accepted.recv(100)
            # The rule may be gone: the expectation alone is reason enough.
            run(pair, "iptables-nft -t raw -F")
            assert "helpers" in ids(look(pair))


def test_both_back_ends(pair: NetnsPair) -> None:
    quiet(pair)
    run(pair, "iptables-nft -A INPUT -j ACCEPT")
    run(pair, "iptables-legacy -A INPUT -j ACCEPT")
    host = look(pair)
    assert host.backends == ("legacy/ipv4", "nft/ipv4")
    assert ids(host) == {"two-backends:ipv4"}


def test_nothing_that_was_observed_is_left_to_assumption(pair: NetnsPair) -> None:
    host = look(pair)
    assert replace(host, assumed=True) != host
    assert host.kernel and host.label.endswith(pair.server.ifname)
