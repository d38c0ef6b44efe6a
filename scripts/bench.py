"""What the program costs a packet, by the kernel's own clock (BPF_PROG_TEST_RUN): make bench

Not in it: the driver, and what netfilter would have done. Each figure is the median of several runs.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import secrets
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from xdptables.host.observe import observe
from xdptables.kernel import kfuncs, maps, syscall
from xdptables.kernel.compile import compile_program
from xdptables.kernel.errors import KernelError
from xdptables.kernel.netns import in_netns
from xdptables.kernel.preflight import check_privileges
from xdptables.pipeline import compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source, UserError

RUNS, REPEAT = 7, 300_000
OWN, FRIEND = "192.0.2.1", "192.0.2.10"
SIZES = (1, 10, 100, 1000)
DROP = 1


def addresses(count: int) -> list[str]:
    """Spread over 198.18.0.0/15, none beside another, so that nothing merges to a prefix."""
    first = int(ipaddress.ip_address("198.18.0.0"))
    return [str(ipaddress.ip_address(first + 2 * i * (65536 // count) + 1)) for i in range(count)]


def rules(table: str, chain: str, blocked: Sequence[str]) -> str:
    lines = (f"-A {chain} -s {a}/32 -j DROP" for a in blocked)
    return "\n".join((f"*{table}", f":{chain} ACCEPT [0:0]", *lines, "COMMIT", ""))


def frame(mac: bytes, source: str) -> bytes:
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 46, 1, 0, 64, 17, 0)
    ip += socket.inet_aton(source) + socket.inet_aton(OWN)
    return (
        mac
        + bytes.fromhex("020000000001")
        + b"\x08\x00"
        + ip
        + struct.pack("!HHHH", 40000, 53, 26, 0)
        + bytes(18)
    )


def measure(table: Table, name: str, chain: str, count: int) -> None:
    blocked = addresses(count)
    host = dataclasses.replace(observe("eth0"), foreign_tables=())
    begin = time.perf_counter()
    compiled = compile_rules(read_rulesets(Source("bench", rules(name, chain, blocked))), host)
    program = compile_program(compiled.c_text)
    fd = kfuncs.load(program.instructions, program.license).fd
    took = time.perf_counter() - begin
    try:
        maps.fill(program.maps, host)
        mac = bytes.fromhex(host.interface.mac.replace(":", ""))
        cells = []
        for source, wanted in ((blocked[0], DROP), (blocked[count // 2], DROP), (FRIEND, 2)):
            data = frame(mac, source)
            ifindex = socket.if_nametoindex("eth0")
            runs = []
            for _ in range(RUNS):
                verdict, _, nanoseconds = syscall.test_run(fd, data, ifindex, REPEAT)
                if verdict != wanted:
                    raise UserError(f"{chain}, {count} rules: verdict {verdict} for {source}, not {wanted}")
                runs.append(nanoseconds)
            cells.append(f"{statistics.median(runs):.0f} ns")
    finally:
        os.close(fd)
    size = len(program.instructions) // 8
    table.add_row(f"{name} {chain}", str(count), *cells, str(size), f"{took:.2f} s")


def main() -> int:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    table = Table(box=None, pad_edge=False)
    for column in (
        "chain",
        "rules",
        "first dropped",
        "middle dropped",
        "passed",
        "instructions",
        "compile and load",
    ):
        table.add_column(column, justify="left" if column == "chain" else "right")
    netns = f"xdpt-{secrets.token_hex(3)}-bench"
    try:
        check_privileges()
        subprocess.run(["ip", "netns", "add", netns], check=True)
        try:
            with in_netns(netns):
                for words in (
                    "link add eth0 type veth peer name eth1",
                    f"addr add {OWN}/24 dev eth0",
                    "link set lo up",
                    "link set eth0 up",
                    "link set eth1 up",
                ):
                    subprocess.run(["ip", *words.split()], check=True)
                for name, chain in (("raw", "PREROUTING"), ("filter", "INPUT")):
                    for count in SIZES:
                        measure(table, name, chain, count)
        finally:
            subprocess.run(["ip", "netns", "del", netns], check=False)
    except (UserError, KernelError) as e:
        console.print(f"bench: {e}", style="red", markup=False)
        return 1
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
