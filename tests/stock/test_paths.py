"""Packets that reach conntrack or a socket by devices and modules which only distributions have."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from judge.test_delivery import hosts, same_with_program
from judge.test_odd_paths import syn_and_rst
from judge.test_ports import bridged, ip
from judge.test_state_race import RULES
from judge.traffic import DROPPED, flood, verdicts
from netns import NetnsPair
from pace import seconds
from xdptables.host.observe import observe
from xdptables.kernel.load import unload_program
from xdptables.loading import Request, load, prepare

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


def test_a_rst_on_another_port_than_its_syn() -> None:
    """A bond whose other end sends the packets of a flow over all its ports in turn."""
    with bonded() as (pair, senders):
        server = pair.server
        devices = (server.ifname, "side1")
        for device in devices:
            load(prepare(Request(device, netns=server.ns, port_of="bond0")))
        pair.send_frames(flood(pair, 4))
        time.sleep(0.15)
        flooded = verdicts(pair)[DROPPED]
        for frames in syn_and_rst(pair, 30000):
            for line, frame in zip(senders, frames, strict=True):
                line.send(frame)
        time.sleep(0.3)
        dropped = verdicts(pair)[DROPPED] - flooded
        for device in devices:
            unload_program(device, netns=server.ns)
        assert dropped == 0


@contextlib.contextmanager
def bonded() -> Iterator[tuple[NetnsPair, tuple[socket.socket, socket.socket]]]:
    """Two ports, and a socket for each at the other end; packets change the CPU behind XDP."""
    with NetnsPair() as pair:
        server, client = pair.server, pair.client
        ip(pair, server.ns, "link add bond0 type bond mode balance-rr miimon 100")
        ip(pair, server.ns, f"link add side1 type veth peer name side0 netns {client.ns}")
        for device in (server.ifname, "side1"):
            for line in (
                f"addr flush dev {device}",
                f"link set {device} down",
                f"link set {device} master bond0",
            ):
                ip(pair, server.ns, line)
            rps = f"echo 3 > /sys/class/net/{device}/queues/rx-0/rps_cpus"
            subprocess.run(["ip", "netns", "exec", server.ns, "sh", "-c", rps], check=True)
        for line in (f"link set bond0 address {server.mac}", "link set bond0 up"):
            ip(pair, server.ns, line)
        ip(pair, server.ns, f"addr add {server.addr4}/24 dev bond0")
        ip(pair, client.ns, "link set side0 up")
        hide = "-A INPUT -p tcp --tcp-flags SYN,ACK SYN,ACK -j DROP"
        pair.run(client, ["iptables-nft", *hide.split()])
        pair.run(server, ["iptables-nft-restore"], input=RULES)
        with pair.enter(client):
            lines = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW) for _ in range(2)]
        time.sleep(seconds(1))
        with lines[0], lines[1], pair.enter(server), socket.create_server((server.addr4, 8080), backlog=4096):
            for line, device in zip(lines, ("side0", client.ifname), strict=True):
                line.bind((device, 0))
            yield pair, (lines[0], lines[1])


def test_esp_that_gro_decrypts_passes_no_rule() -> None:
    """esp4_offload takes it before netfilter, so that rules which drop ESP do not stop it."""
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p esp -j DROP\nCOMMIT\n"
    subprocess.run(["modprobe", "-a", "esp4", "esp4_offload"], capture_output=True, check=False)
    with hosts(text) as pair:
        secure(pair)
        server, client = pair.server, pair.client
        pair.run(server, ["ethtool", "-K", server.ifname, "gro", "on"])

        def act() -> bool:
            with pair.enter(client), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.bind((client.addr4, 0))
                with pair.enter(server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
                    receiver.bind((server.addr4, 5000))
                    receiver.settimeout(seconds(0.5))
                    asking.sendto(b"hello", (server.addr4, 5000))
                    with contextlib.suppress(TimeoutError):
                        return receiver.recv(100) == b"hello"
                    return False

        assert same_with_program(pair, act) == (True, 0)
        generic = prepare(Request(server.ifname, netns=server.ns, mode="generic"))
        assert "gro-rules" in [f.id for f in generic.stops]
        hidden = "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 9 mode transport"
        crypt = f"aead rfc4106(gcm(aes)) 0x{'11' * 20} 128 encap espinudp 4501 4502 0.0.0.0"
        pair.run(server, [*hidden.split(), *crypt.split()])
        with pair.enter(server):
            assert observe(server.ifname).esp_ports == (4501, 4502)


def secure(pair: NetnsPair) -> None:
    """ESP in transport mode between the two, for what the client sends."""
    server, client = pair.server, pair.client
    ends = f"src {client.addr4} dst {server.addr4}"
    crypt = f"aead rfc4106(gcm(aes)) 0x{'11' * 20} 128"
    for where, direction in ((client, "out"), (server, "in")):
        state = f"ip xfrm state add {ends} proto esp spi 4096 reqid 1 mode transport {crypt}"
        pair.run(where, state.split())
        policy = f"ip xfrm policy add {ends} dir {direction} tmpl {ends} proto esp reqid 1 mode transport"
        pair.run(where, policy.split())


def test_legacy_ebtables_come_first_on_a_bridge() -> None:
    """With broute a packet comes in by the port's own name; their rules are not read."""
    for module, found in (("-r", False), ("-a", True)):
        subprocess.run(["modprobe", module, "ebtable_broute"], capture_output=True, check=False)
        with bridged() as (pair, _):
            prepared = prepare(Request(pair.server.ifname, netns=pair.server.ns, port_of="br0"))
            assert prepared.host.interface.ebtables_legacy is found
