"""Ordinary stateful firewalls with real sockets: what they accept goes on, floods end in XDP."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
import time

import pytest
from scapy.all import ICMP, IP, UDP, Ether, IPerror, Raw, UDPerror

from judge.traffic import (
    DROPPED,
    KNOWN,
    LOOKUPS,
    RECENT,
    SERVER,
    ask_and_answer,
    connected,
    echoes,
    firewall,
    flood,
    frame_from_client,
    ping,
    program,
    reached_prerouting,
    serve,
    verdicts,
)
from netns import NetnsPair
from pace import SLOW, seconds

pytestmark = pytest.mark.kernel


@pytest.mark.stock
@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_a_server_goes_on_serving_while_floods_end_in_xdp(variant: str) -> None:
    with firewall(SERVER, variant) as pair:
        seen = "table inet seen { chain early { type filter hook prerouting priority -450; counter; }; }\n"
        pair.run(pair.server, ["nft", "-f", "-"], input=seen)
        many = 4000 if SLOW == 1 else 400  # each frame of it, and each connection, takes its time
        frames = flood(pair, many)
        with (
            serve(pair, pair.server, pair.server.addr4, 8080),
            serve(pair, pair.server, pair.server.addr6, 8080),
            contextlib.ExitStack() as open_,
        ):
            old = [connected(pair, pair.client, pair.server.addr4, 8080) for _ in range(many // 80)]
            with program(pair):
                before = reached_prerouting(pair)
                sender = threading.Thread(target=pair.send_frames, args=(frames,))
                sender.start()
                new = [
                    open_.enter_context(connected(pair, pair.client, a, 8080))
                    for a in [pair.server.addr4, pair.server.addr6] * (many // 80)
                ]
                assert all(echoes(open_.enter_context(c)) for c in old)
                assert all(echoes(c) for c in new)
                sender.join()
                counted = verdicts(pair)
                through = reached_prerouting(pair) - before
                # What passes needs no look-up: only what was about to be dropped asked conntrack.
                assert counted[LOOKUPS] == counted[DROPPED] + counted[KNOWN] + counted[RECENT]
                assert counted[DROPPED] >= many - 10
                assert through < many  # the connections' packets and their repetitions, no flood


@pytest.mark.stock
def test_what_the_server_itself_starts() -> None:
    with firewall(SERVER) as pair, program(pair):
        with (
            serve(pair, pair.client, pair.client.addr4, 2000),
            connected(pair, pair.server, pair.client.addr4, 2000) as out,
        ):
            assert all(echoes(out, bytes([n]) * 500) for n in range(20))
        ask_and_answer(pair, pair.server)
        assert ping(pair, pair.server, pair.client.addr4)
        assert not ping(pair, pair.client, pair.server.addr4)  # the rules say so


@pytest.mark.stock
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


@pytest.mark.stock
def test_icmp_errors_about_its_own_packets_arrive() -> None:
    """Port unreachable, as traceroute needs it, and a smaller path MTU: RELATED, by ICMP."""
    with firewall(SERVER) as pair, program(pair), pair.enter(pair.server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((pair.client.addr4, 33434))
            probe.settimeout(seconds(3))
            probe.send(b"probe")
            with pytest.raises(ConnectionRefusedError):
                probe.recv(10)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wide:
            wide.bind((pair.server.addr4, 5555))
            wide.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
            wide.connect((pair.client.addr4, 4444))
            wide.send(bytes(1400))
            error = ICMP(type=3, code=4, nexthopmtu=700) / (
                IPerror(src=pair.server.addr4, dst=pair.client.addr4, len=1428, flags="DF")
                / UDPerror(sport=5555, dport=4444, len=1408)
            )
            pair.send_frames([frame_from_client(pair, error)])
            deadline = time.monotonic() + seconds(3)
            while wide.getsockopt(socket.IPPROTO_IP, 14) != 700:  # IP_MTU
                assert time.monotonic() < deadline
                time.sleep(0.02)


def test_a_full_table_drops_no_flow_that_it_holds() -> None:
    drop = "-A INPUT -j DROP"
    rules = SERVER.replace(drop, f"-A INPUT -p udp -m udp --dport 9000 -j ACCEPT\n{drop}")
    with (
        firewall(rules) as pair,
        serve(pair, pair.server, pair.server.addr4, 8080),
        connected(pair, pair.client, pair.server.addr4, 8080) as c,
        program(pair),
    ):
        assert echoes(c)
        _fill_the_table(pair)
        assert all(echoes(c) for _ in range(5))
        dropped = verdicts(pair)[DROPPED]
        time.sleep(0.15)
        pair.send_frames(flood(pair, 200))
        assert verdicts(pair)[DROPPED] >= dropped + 150
        assert echoes(c)


def _fill_the_table(pair: NetnsPair) -> None:
    """Accepted UDP packets from ever new ports and addresses, until conntrack has no room."""
    frame = bytearray(frame_from_client(pair, UDP(sport=1, dport=9000, chksum=0) / Raw(b"x")))
    frame[40:42] = b"\0\0"
    limit = int(pair.run(pair.server, ["sysctl", "-n", "net.netfilter.nf_conntrack_max"]).stdout)
    with pair.enter(pair.client):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with sender:
        sender.bind((pair.client.ifname, 0))
        for n in range(limit + 2000):
            frame[34:36] = struct.pack("!H", 1024 + n % 60000)
            frame[29] = 3 + n // 60000
            frame[24:26] = _ip_checksum(frame[14:34])
            _send(sender, frame)
    count = int(pair.run(pair.server, ["sysctl", "-n", "net.netfilter.nf_conntrack_count"]).stdout)
    assert count >= limit - 1000


def _send(sender: socket.socket, frame: bytes) -> None:
    """Once there is room: on a busy machine the receiver's backlog fills up."""
    deadline = time.monotonic() + seconds(10)
    while True:
        try:
            sender.send(frame)
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _ip_checksum(header: bytearray) -> bytes:
    header[10:12] = b"\0\0"
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


@pytest.mark.stock
def test_notrack_and_a_late_rule() -> None:
    raw = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -m udp --dport 5000 -j CT --notrack\nCOMMIT\n"
    rules = SERVER.replace(
        "-A INPUT -j DROP", "-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT\n-A INPUT -j DROP"
    )
    with firewall(rules) as pair, pair.enter(pair.server):
        pair.run(pair.server, ["iptables-nft-restore", "--noflush"], input=raw)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, program(pair):
            receiver.bind((pair.server.addr4, 5000))
            receiver.settimeout(seconds(2))
            frame = (
                Ether(src=pair.client.mac, dst=pair.server.mac)
                / IP(src=pair.client.addr4, dst=pair.server.addr4)
                / UDP(sport=1, dport=5000)
                / Raw(b"untracked")
            )
            pair.send_frames([bytes(frame)])
            assert receiver.recv(100) == b"untracked"


@pytest.mark.stock
def test_a_zone() -> None:
    """Flows of a zone are not found by a look-up outside it, so packets that a rule may put there pass."""
    raw = (
        "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
        "-A PREROUTING -p tcp -m tcp --dport 7000:7999 -j CT --zone 5\n"
        "-A OUTPUT -p tcp -m tcp --sport 7000:7999 -j CT --zone 5\nCOMMIT\n"
    )
    rules = SERVER.replace("--dport 8080", "--dport 7000 --tcp-flags FIN,SYN,RST,ACK SYN")
    with firewall(rules) as pair:
        pair.run(pair.server, ["iptables-nft-restore", "--noflush"], input=raw)
        with (
            serve(pair, pair.server, pair.server.addr4, 7000),
            program(pair),
            connected(pair, pair.client, pair.server.addr4, 7000) as c,
        ):
            assert all(echoes(c, bytes([n]) * 300) for n in range(10))
            pair.send_frames(flood(pair, 100))
            assert verdicts(pair)[DROPPED] >= 80


@pytest.mark.stock
def test_a_helper_keeps_every_drop_after_conntrack_in_netfilter() -> None:
    raw = (
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp\nCOMMIT\n"
    )
    rules = SERVER.replace("--dport 8080", "--dport 21")
    with firewall(rules) as pair:
        pair.run(pair.server, ["iptables-nft-restore", "--noflush"], input=raw)
        with pair.enter(pair.server):
            control = socket.create_server((pair.server.addr4, 21))
            data = socket.create_server((pair.server.addr4, 0))
        with control, data, program(pair):
            data.settimeout(seconds(3))
            with connected(pair, pair.client, pair.server.addr4, 21) as client:
                server, _ = control.accept()
                port = data.getsockname()[1]
                where = ",".join([*pair.server.addr4.split("."), str(port >> 8), str(port & 255)])
                server.sendall(b"220 ready\r\n")  # the helper reads from the second line on
                assert client.recv(100).startswith(b"220")
                server.sendall(f"227 Entering Passive Mode ({where})\r\n".encode())
                assert client.recv(100).startswith(b"227")
                with connected(pair, pair.client, pair.server.addr4, port):  # RELATED
                    data.accept()[0].close()
                server.close()
            pair.send_frames(flood(pair, 50))
            assert verdicts(pair)[DROPPED] == 0


@pytest.mark.stock
def test_an_entry_that_has_expired_is_no_entry() -> None:
    """An answer that comes too late is dropped by netfilter too; the next question is answered."""
    with firewall(SERVER) as pair, program(pair):
        pair.run(pair.server, ["sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=1"])
        with pair.enter(pair.server):
            asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with pair.enter(pair.client):
            answering = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with asking, answering:
            answering.bind((pair.client.addr4, 53))
            asking.settimeout(0.5)
            asking.sendto(b"question", (pair.client.addr4, 53))
            _, whom = answering.recvfrom(100)
            answering.sendto(b"in time", whom)
            assert asking.recv(100) == b"in time"
            dropped = verdicts(pair)[DROPPED]
            pair.run(pair.server, ["sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout_stream=1"])
            time.sleep(3.5)
            answering.sendto(b"too late", whom)
            with pytest.raises(TimeoutError):
                asking.recv(100)
            assert verdicts(pair)[DROPPED] == dropped + 1
            asking.sendto(b"question", (pair.client.addr4, 53))
            answering.recvfrom(100)
            answering.sendto(b"in time", whom)
            assert asking.recv(100) == b"in time"
