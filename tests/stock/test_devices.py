"""Devices that are modules: made for real, seen, and what their packets become."""

from __future__ import annotations

import socket

import pytest
from scapy.all import IP, UDP, Ether, Raw

from judge.traffic import DROPPED, verdicts
from netns import NetnsPair
from pace import seconds
from xdptables.host.facts import InterfaceFacts
from xdptables.host.findings import findings
from xdptables.host.observe import observe
from xdptables.kernel.load import unload_program
from xdptables.loading import Request, load, prepare
from xdptables.source import UserError

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


def ip(pair: NetnsPair, *commands: str) -> None:
    text = "".join(f"{c.format(dev=pair.server.ifname, other=pair.client.ns)}\n" for c in commands)
    pair.run(pair.server, ["ip", "-batch", "-"], input=text)


def look(pair: NetnsPair, seen_as: str = "") -> tuple[InterfaceFacts, set[str]]:
    with pair.enter(pair.server):
        host = observe(pair.server.ifname, seen_as=seen_as)
    assert not host.unknown
    return host.interface, {f.id for f in findings(host)} - {"gro"}


@pytest.mark.parametrize(
    ("commands", "field", "value", "found"),
    [
        (["link add link {dev} name v5 type vlan id 5"], "vlan_children", "v5", "vlan-offload"),
        (
            ["link add link {dev} name v5 netns {other} type vlan id 5"],
            "vlan_children", "v5@{other}", "vlan-offload",
        ),
        (["link add link {dev} name i0 type ipvlan mode l3s"], "mac_children", "ipvlan:i0", "ipvlan"),
        (
            ["link add link {dev} name i0 netns {other} type ipvlan"],
            "mac_children", "ipvlan:i0@{other}", "ipvlan",
        ),
        (["link add link {dev} name m0 type macvtap mode bridge"], "mac_children", "macvtap:m0", "macvtap"),
        (
            ["link add link {dev} name m0 type macvlan mode source"],
            "mac_children", "macvlan/source:m0", "macvlan-source",
        ),
        (["link add link {dev} name s0 type macsec"], "mac_children", "macsec:s0", "macsec"),
        (
            ["link add red type vrf table 10", "link set {dev} master red"],
            "uppers", "vrf:red", "upper:vrf:red",
        ),
        (
            ["link add bond0 type bond", "link set {dev} down", "link set {dev} master bond0"],
            "uppers", "bond:bond0", "upper:bond:bond0",
        ),
        (
            ["link add team0 type team", "link set {dev} down", "link set {dev} master team0"],
            "uppers", "team:team0", "upper:team:team0",
        ),
    ],
)  # fmt: skip
def test_it_is_seen(commands: list[str], field: str, value: str, found: str) -> None:
    with NetnsPair() as pair:
        ip(pair, *commands)
        facts, ids = look(pair)
        assert getattr(facts, field) == (value.format(other=pair.client.ns),)
        assert ids == {found}


def hears(pair: NetnsPair, address: str, frame: bytes) -> bool:
    with pair.enter(pair.server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((address, 5000))
        receiver.settimeout(seconds(0.3))
        pair.send_frames([frame])
        try:
            return receiver.recv(100) == b"hello"
        except TimeoutError:
            return False


def datagram(pair: NetnsPair, address: str) -> bytes:
    head = Ether(src=pair.client.mac, dst=pair.server.mac) / IP(src=pair.client.addr4, dst=address)
    return bytes(head / UDP(sport=4000, dport=5000) / Raw(b"hello"))


def test_a_tag_beside_the_frame_is_what_the_finding_is_for() -> None:
    """The peer's VLAN device hands its tag over where XDP sees none: lifted, a wrong drop is what comes."""
    with NetnsPair() as pair:
        ip(
            pair,
            "link add link {dev} name v5 type vlan id 5",
            "link set v5 up",
            "addr add 192.0.2.1/24 dev v5",
        )
        commands = [
            f"link add link {pair.client.ifname} name v5 type vlan id 5",
            "link set v5 up",
            "addr add 192.0.2.2/24 dev v5",
            f"neigh replace 192.0.2.1 lladdr {pair.server.mac} dev v5",
        ]
        pair.run(pair.client, ["ip", "-batch", "-"], input="\n".join(commands) + "\n")
        rule = f"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i {pair.server.ifname} -p udp -j DROP\nCOMMIT\n"
        pair.run(pair.server, ["iptables-nft-restore"], input=rule)
        with pytest.raises(UserError, match="vlan-offload"):
            load(prepare(Request(pair.server.ifname, netns=pair.server.ns)))

        def arrives() -> bool:
            with pair.enter(pair.server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
                receiver.bind(("192.0.2.1", 5000))
                receiver.settimeout(seconds(0.3))
                with pair.enter(pair.client), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.sendto(b"hello", ("192.0.2.1", 5000))
                try:
                    return receiver.recv(100) == b"hello"
                except TimeoutError:
                    return False

        assert arrives()
        load(prepare(Request(pair.server.ifname, netns=pair.server.ns, disregard=("vlan-offload",))))
        try:
            assert not arrives()
        finally:
            unload_program(pair.server.ifname, netns=pair.server.ns)


@pytest.mark.parametrize("on", ["slave", "bond0"])
def test_a_bond_and_its_slave(on: str) -> None:
    with NetnsPair() as pair:
        server = pair.server
        ip(
            pair,
            "link add bond0 type bond mode active-backup miimon 100",
            "link set {dev} down",
            "link set {dev} master bond0",
            "link set bond0 up",
            "link set {dev} up",
            f"addr add {server.addr4}/24 dev bond0",
        )
        pair.run(
            server, ["ip", "neigh", "replace", pair.client.addr4, "lladdr", pair.client.mac, "dev", "bond0"]
        )
        mac = pair.run(server, ["ip", "-br", "link", "show", server.ifname]).stdout.split()[2]
        frame = datagram(pair, server.addr4).replace(
            bytes.fromhex(server.mac.replace(":", "")), bytes.fromhex(mac.replace(":", "")), 1
        )
        assert hears(pair, server.addr4, frame)
        rule = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i bond0 -p udp -j DROP\nCOMMIT\n"
        pair.run(server, ["iptables-nft-restore"], input=rule)
        name = server.ifname if on == "slave" else "bond0"
        load(prepare(Request(name, netns=server.ns, port_of="bond0" if on == "slave" else "")))
        try:
            assert not hears(pair, server.addr4, frame)
        finally:
            done = unload_program(name, netns=server.ns)
        assert done.counters.verdicts[DROPPED] == 1


def test_a_vrf_cannot_be_named() -> None:
    with NetnsPair() as pair:
        ip(pair, "link add red type vrf table 10", "link set red up", "link set {dev} master red")
        assert "upper:vrf:red" in look(pair, seen_as="red")[1]


def test_a_frame_with_its_tag_inside_passes() -> None:
    with NetnsPair() as pair:
        rule = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -j DROP\nCOMMIT\n"
        pair.run(pair.server, ["iptables-nft-restore"], input=rule)
        load(prepare(Request(pair.server.ifname, netns=pair.server.ns)))
        try:
            frame = datagram(pair, pair.server.addr4)
            pair.send_frames([frame[:12] + b"\x81\x00\x00\x05" + frame[12:], frame])
            assert verdicts(pair)[DROPPED] == 1
        finally:
            unload_program(pair.server.ifname, netns=pair.server.ns)


def test_a_bridge_that_tags_hands_up_to_its_vlan_devices() -> None:
    """Untagged frames of a port in VLAN 10 are br0.10's, and rules with -i see that name."""
    with NetnsPair() as pair:
        ip(
            pair,
            "link add br0 type bridge vlan_filtering 1",
            "link set {dev} master br0",
            "link add link br0 name br0.10 type vlan id 10",
        )
        interface, found = look(pair, "br0")
        assert "vlan:br0.10" in interface.uppers and "upper:vlan:br0.10" in found
        ip(pair, "link set br0 type bridge vlan_filtering 0")
        interface, found = look(pair, "br0")
        assert interface.uppers == ("bridge:br0",) and "upper:vlan:br0.10" not in found
