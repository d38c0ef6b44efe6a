"""What GRO makes of TCP flags before netfilter sees them: the facts behind `View._merged_flags`."""

from __future__ import annotations

import subprocess
import time

import pytest
from scapy.all import IP, TCP, Ether, Raw

from netns import NetnsPair
from xdptables.kernel.load import unload_program
from xdptables.loading import Request, load, prepare
from xdptables.verify import probe

pytestmark = pytest.mark.kernel

SIZE = 200
EARLY = "type filter hook prerouting priority -450; ip protocol tcp"
LOG = f"table inet seen {{ chain early {{ {EARLY} log group {probe.GROUP}; }}; }}"
#: Flags of three segments, then of three more; what netfilter sees: bytes of data and flags.
CASES = {
    ("A", "A"): [(1200, "A")],
    ("", "F"): [(800, "F"), (200, "F"), (200, "F")],
    ("A", "FA"): [(800, "FA"), (200, "FA"), (200, "FA")],
    ("A", "PA"): [(800, "PA"), (200, "PA"), (200, "PA")],
    ("S", "S"): [(200, "S")] * 6,
    ("SF", "SF"): [(200, "FS")] * 6,
    ("FPU", "FPU"): [(200, "FPU")] * 6,
    ("A", "UA"): [(600, "A"), (200, "AU"), (200, "AU"), (200, "AU")],
    ("A", "RA"): [(600, "A"), (200, "RA"), (200, "RA"), (200, "RA")],
    ("U", "FU"): [(200, "U")] * 3 + [(200, "FU")] * 3,
}


def test_segments_with_syn_rst_or_urg_are_never_merged() -> None:
    with NetnsPair() as pair:
        server = pair.server
        pair.run(server, ["iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "9", "-j", "DROP"])
        # Segments are held for a while, as they are in one batch of a busy device.
        hold = "echo 20000000 > gro_flush_timeout; echo 100 > napi_defer_hard_irqs"
        directory = f"/sys/class/net/{server.ifname}"
        pair.run(server, ["ethtool", "-K", server.ifname, "gro", "on"])
        subprocess.run(
            ["ip", "netns", "exec", server.ns, "sh", "-c", f"cd {directory} && {hold}"], check=True
        )
        load(prepare(Request(server.ifname, netns=server.ns)))
        try:
            pair.run(server, ["nft", "-f", "-"], input=LOG)
            with pair.enter(server):
                log = probe.SurvivorLog()
            seen = {flags: _seen(pair, log, flags) for flags in CASES}
            log.close()
        finally:
            unload_program(server.ifname, netns=server.ns)
    assert seen == CASES


def _seen(pair: NetnsPair, log: probe.SurvivorLog, flags: tuple[str, str]) -> list[tuple[int, str]]:
    ether = Ether(src=pair.client.mac, dst=pair.server.mac)
    ip = IP(src=pair.client.addr4, dst=pair.server.addr4, id=0, flags="DF")
    tcps = [
        TCP(sport=4000, dport=80, flags=flags[n // 3], seq=1000 + n * SIZE, ack=5) / Raw(b"x" * SIZE)
        for n in range(6)
    ]
    pair.send_frames([bytes(ether / ip / tcp) for tcp in tcps])
    packets: list[bytes] = []
    deadline = time.monotonic() + 2
    while sum(_data(p) for p in packets) < 6 * SIZE and time.monotonic() < deadline:
        time.sleep(0.02)
        packets += log.read()
    return [(_data(p), str(TCP(p[20:40]).flags)) for p in packets]


def _data(packet: bytes) -> int:
    return int.from_bytes(packet[2:4]) - 40
