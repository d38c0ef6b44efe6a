"""How long a packet may be under way between XDP and conntrack: what the window has to outlast.

A SYN and, `gap` later, a RST of the same flow, which only a connection that conntrack knows may send here.
Counted: the RSTs of 40 that the program dropped, with no window at all.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from rich.console import Console
from rich.table import Table
from scapy.all import IP, TCP, Ether

from netns import NetnsPair
from xdptables.emit import csource
from xdptables.kernel.load import unload_program
from xdptables.kernel.status import status
from xdptables.loading import Request, load, prepare

RULES = (
    "*filter\n:INPUT ACCEPT [0:0]\n"
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    "-A INPUT -p tcp -m tcp --dport 8080 -m conntrack --ctstate NEW -j ACCEPT\n"
    "-A INPUT -j DROP\nCOMMIT\n"
)
GAPS = (0, 0.001, 0.01, 0.03, 0.1)
FLOWS = 40
DROPPED = 0


def _spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def hogs(count: int) -> Iterator[None]:
    """Processes that take every CPU."""
    made = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for p in made:
        p.start()
    try:
        yield
    finally:
        for p in made:
            p.kill()
            p.join()


def in_sys(pair: NetnsPair, name: str, value: str) -> None:
    path = f"/sys/class/net/{pair.server.ifname}/{name}"
    os.system(f"ip netns exec {pair.server.ns} sh -c 'echo {value} > {path}'")


def lost(pair: NetnsPair, sender: socket.socket, first: int, gap: float) -> int:
    ether, ip = (
        Ether(src=pair.client.mac, dst=pair.server.mac),
        IP(src=pair.client.addr4, dst=pair.server.addr4),
    )
    pairs = [
        [
            bytes(ether / ip / TCP(sport=port, dport=8080, flags=f, seq=s))
            for f, s in (("S", 1000), ("R", 1001))
        ]
        for port in range(first, first + FLOWS)
    ]
    before = dropped(pair)
    for syn, rst in pairs:
        sender.send(syn)
        if gap:
            time.sleep(gap)
        sender.send(rst)
    time.sleep(0.3)
    return dropped(pair) - before


def dropped(pair: NetnsPair) -> int:
    return status(pair.server.ifname, netns_name=pair.server.ns)[0].counters.verdicts[DROPPED]


def main() -> None:
    cpus = f"{(1 << (os.cpu_count() or 1)) - 1:x}"
    table = Table(
        "steering", "hogs", *(f"{gap * 1000:g} ms" for gap in GAPS), title="RSTs lost of 40, by gap"
    )
    for steering in ("none", "RPS", "threaded NAPI", "both"):
        for load_ in (0, 2 * (os.cpu_count() or 1)):
            with NetnsPair() as pair:
                pair.run(pair.server, ["iptables-nft-restore"], input=RULES)
                if steering in ("RPS", "both"):
                    in_sys(pair, "queues/rx-0/rps_cpus", cpus)
                with mock.patch.object(csource, "RECENT_NS", 0):
                    load(prepare(Request(pair.server.ifname, netns=pair.server.ns)))
                if steering in ("threaded NAPI", "both"):
                    in_sys(pair, "threaded", "1")
                try:
                    with pair.enter(pair.client):
                        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
                    silent = "-A INPUT -p tcp --tcp-flags SYN,ACK SYN,ACK -j DROP"
                    pair.run(pair.client, ["iptables-nft", *silent.split()])
                    with pair.enter(pair.server):
                        listener = socket.create_server((pair.server.addr4, 8080), backlog=1000)
                    with listener, sender, hogs(load_):
                        sender.bind((pair.client.ifname, 0))
                        rows = [lost(pair, sender, 20000 + n * FLOWS, gap) for n, gap in enumerate(GAPS)]
                finally:
                    unload_program(pair.server.ifname, netns=pair.server.ns)
                table.add_row(steering, str(load_), *map(str, rows))
    Console().print(table)


if __name__ == "__main__":
    main()
