"""Wrong drops that a hostile review found, each against the kernel or iptables itself."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable

import pytest
from scapy.all import IP, UDP, Ether, Raw

from judge.place import PLACE
from judge.test_delivery import UDP_DROP, hosts, same_with_program
from xdptables.fields import Family
from xdptables.kernel.load import load_program, unload_program
from xdptables.pipeline import compile_rules
from xdptables.rules.model import Ruleset, Variant
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.bench import IFNAME, Bench

pytestmark = pytest.mark.kernel

#: Numbers as strtoul with base 0 reads them: a leading zero is octal.
SPELLED = (
    "-p tcp -m tcp --dport 010",
    "-p tcp -m tcp --sport 0x10:020",
    "-p 017",
    "-p 0x11",
    "-p icmp -m icmp --icmp-type 010",
    "-p icmp -m icmp --icmp-type 3/012",
    "-p icmp -m icmp --icmp-type 255/3",
    "-s 010.0.0.1/32",
    "-d 10.0.0.010/32",
    "-s 10.0.0.0/024",
    "-s 0x0a.1.1.1",
    "-m iprange --src-range 10.0.0.010-10.0.0.9",
    "-p tcp -m multiport --dports 010,20,1:017",
    "-m length --length 010:0x20",
    "-m ttl --ttl-eq 010",
)


def _values(ruleset: Ruleset) -> list[list[tuple[str, object]]]:
    return [
        sorted((o.name, o.value) for m in rule.matches for o in m.options if o.name != "-p" or o.value)
        for rule in ruleset.rules()
    ]


@pytest.mark.parametrize("variant", [Variant.LEGACY, Variant.NFT], ids=str)
def test_numbers_mean_what_iptables_takes_them_for(variant: Variant) -> None:
    lines = "".join(f"-A INPUT {s} -j DROP\n" for s in SPELLED)
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{lines}COMMIT\n"
    with Bench() as bench:
        bench.load(text, variant, Family.IPV4)
        saved = bench.saved(variant, Family.IPV4)
    (given,) = read_rulesets(Source("given", text), Family.IPV4)
    (stored,) = read_rulesets(Source("saved", saved), Family.IPV4)
    for spelled, mine, theirs in zip(SPELLED, _values(given), _values(stored), strict=True):
        assert mine == theirs, spelled


def _run(
    rules: str, act: Callable[[Bench], object], programmed: bool, variant: Variant = Variant.LEGACY
) -> object:
    """What `act` sees under the rules, with the program that they make, or without."""
    with Bench() as bench:
        bench.load(rules, variant, Family.IPV4)
        host = bench.facts()
        compiled = compile_rules(read_rulesets(Source("saved", bench.saved(variant, Family.IPV4))), host)
        with bench.pair.enter(bench.pair.server):
            if programmed:
                load_program(compiled.c_text, IFNAME, host, values=compiled.plan.map_values, mode="native")
            try:
                return act(bench)
            finally:
                if programmed:
                    unload_program(IFNAME)


def test_a_policy_of_nat_is_for_first_packets_only() -> None:
    """Replies to this host's own flow cross no nat chain."""

    def ask(bench: Bench) -> bytes:
        with bench.pair.enter(bench.pair.client):
            peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            peer.bind((PLACE.peer4, 9999))
            own.sendto(b"question", (PLACE.peer4, 9999))
            peer.settimeout(2)
            own.settimeout(1)
            peer.sendto(b"answer", peer.recvfrom(100)[1])
            return own.recv(100)

    rules = "*nat\n:PREROUTING DROP [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
    assert _run(rules, ask, False) == b"answer"
    assert _run(rules, ask, True) == b"answer"


def test_ports_that_conntrack_does_not_know_are_not_constant_in_a_flow() -> None:
    """DCCP's since Linux 6.17: a dropped packet refreshes the entry of its neighbours."""

    def frame(port: int) -> bytes:
        head = struct.pack("!HHBBHI8x", 4000, port, 4, 0, 0, 0)
        ip = IP(src=PLACE.peer4, dst=PLACE.own4, proto=33)
        return bytes(Ether(src=PLACE.peer_mac, dst=PLACE.own_mac) / ip / Raw(head))

    def act(bench: Bench) -> set[int]:
        timeout = "net.netfilter.nf_conntrack_generic_timeout=3"
        bench.pair.run(bench.pair.server, ["sysctl", "-qw", timeout])
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, 33) as own:
            own.sendto(frame(9)[34:], (PLACE.peer4, 0))
        time.sleep(2)
        bench.survivors([frame(7)])
        time.sleep(2)
        return bench.survivors([frame(9)])

    rules = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p dccp -m dccp --dport 7 -j DROP
-A INPUT -p dccp -m state --state ESTABLISHED -j ACCEPT
-A INPUT -p dccp -j DROP
COMMIT
"""
    assert _run(rules, act, True) == _run(rules, act, False)


def test_addresses_of_net_0_are_unicast() -> None:
    rules = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -m addrtype --src-type BROADCAST -j DROP
COMMIT
"""
    ether = Ether(src=PLACE.peer_mac, dst=PLACE.own_mac)
    frames = [
        bytes(ether / IP(src=src, dst=PLACE.own4) / UDP(dport=5)) for src in ("0.1.2.3", "255.255.255.255")
    ]
    without = _run(rules, lambda bench: bench.survivors(frames), False)
    assert without == _run(rules, lambda bench: bench.survivors(frames), True)


def test_a_local_route_of_another_table_is_not_for_everyone() -> None:
    """Without a route in the tables that it is looked up in, a packet is owed an ICMP error."""
    with hosts(UDP_DROP) as pair:
        server, client = pair.server, pair.client
        pair.run(server, ["ip", "route", "add", "local", "198.51.100.1", "dev", "lo", "table", "10"])
        pair.run(server, ["ip", "rule", "add", "from", "203.0.113.0/24", "lookup", "10"])
        pair.run(server, ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0"])
        ether = Ether(src=client.mac, dst=server.mac)
        packet = IP(src=client.addr4, dst="198.51.100.1") / UDP(sport=7, dport=9) / Raw(b"hello")

        def act() -> bool:
            with pair.enter(client), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as line:
                line.bind((client.ifname, 0x0800))
                line.settimeout(1)
                pair.send_frames([bytes(ether / packet)])
                with contextlib.suppress(TimeoutError):
                    while True:
                        data = line.recv(2048)
                        if data[23] == 1 and data[34:36] == b"\x03\x00":
                            return True
                return False

        assert same_with_program(pair, act) == (True, 0)
