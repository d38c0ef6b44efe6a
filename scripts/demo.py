"""Show it: two network namespaces, real rules, real packets, the counters, and nothing left behind.

The same traffic is sent twice, to netfilter alone and then with the program before it. What gets through
must be the same, and each rule must have counted exactly what was sent against it; else the status is 1.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from xdptables.kernel.netns import in_netns
from xdptables.kernel.preflight import check_privileges
from xdptables.source import UserError

RULES = "examples/blocklist.rules"
ROOT = Path(__file__).resolve().parents[1]
SERVER = "192.0.2.1"
CLIENT = ("192.0.2.10/24", "192.0.2.200/24", "198.51.100.7/24", "203.0.113.5/24")
DATAGRAMS = 20
SILENCE = 0.4  # seconds; a veth delivers in microseconds, and a lost SYN is sent again after one second


@dataclass(frozen=True)
class Traffic:
    """Packets of one kind. `line`: of the rule that forbids them; 0: allowed."""

    text: str
    proto: str
    source: str
    port: int
    line: int

    @property
    def packets(self) -> int:
        return DATAGRAMS if self.proto == "udp" else 1


TRAFFIC = (
    Traffic("a friend asks the DNS server", "udp", "192.0.2.10", 53, 0),
    Traffic("a friend opens the web page", "tcp", "192.0.2.10", 80, 0),
    Traffic("a friend opens ssh", "tcp", "192.0.2.10", 22, 0),
    Traffic("a blocked host asks the DNS server", "udp", "198.51.100.7", 53, 6),
    Traffic("a blocked host opens the web page", "tcp", "198.51.100.7", 80, 6),
    Traffic("a blocked network asks the DNS server", "udp", "203.0.113.5", 53, 7),
    Traffic("the lab opens the web page", "tcp", "192.0.2.200", 80, 0),
    Traffic("the lab opens ssh", "tcp", "192.0.2.200", 22, 8),
    Traffic("a friend floods memcached", "udp", "192.0.2.10", 11211, 9),
)


class Demo:
    def __init__(self, console: Console) -> None:
        self.console = console
        tag = secrets.token_hex(3)
        self.client, self.server = f"xdpt-{tag}-client", f"xdpt-{tag}-server"
        self.wrong: list[str] = []

    def run(self) -> None:
        self.heading("1. Two network namespaces, joined by a veth pair")
        self.build()
        self.say(f"server {SERVER}, a client with the addresses {', '.join(CLIENT)}")

        self.heading(f"2. The server's rules: iptables-restore < {RULES}")
        text = (ROOT / RULES).read_text()
        nsenter(self.server, ["iptables-restore"], text)
        self.say("\n".join(line for line in text.splitlines() if line.startswith("-A")))

        self.heading("3. The same traffic first with netfilter alone")
        alone = self.send_all()
        self.say(f"{sum(alone)} of {sum(t.packets for t in TRAFFIC)} packets and connections got through")

        self.heading(f"4. xdptables compile {RULES} -i eth0")
        self.say(xdptables("compile", RULES, "-i", "eth0"))
        c_text = xdptables("compile", RULES, "-i", "eth0", "--dry-run")
        lines = len(c_text.splitlines())
        self.heading(f"5. The same with --dry-run: of {lines} lines of C the part that the rules became")
        self.show_c(c_text)

        netns = ("--netns", self.server)
        self.heading(f"6. xdptables load eth0 {RULES} --netns {self.server}")
        self.say(xdptables("load", "eth0", RULES, *netns).splitlines()[-1])
        nsenter(self.server, ["iptables", "-Z"])
        with_xdp = self.send_all()

        self.heading("7. What got through")
        (status,) = json.loads(xdptables("status", "eth0", *netns, "--json"))
        self.compare(alone, with_xdp)
        self.heading("8. Who dropped it: the program's counters beside netfilter's own")
        self.check_counters(status)

        self.heading(f"9. xdptables unload eth0 --netns {self.server}")
        self.say(xdptables("unload", "eth0", *netns).rstrip())
        self.check_removed(status["watcher"])

    def build(self) -> None:
        for name in (self.client, self.server):
            ip("netns", "add", name)
            nsenter(name, ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"])
            nsenter(name, ["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"])
        pair = f"link add eth0 netns {self.client} type veth peer name eth0 netns {self.server}"
        ip(*pair.split())
        for address in CLIENT:
            ip("-n", self.client, "addr", "add", address, "dev", "eth0")
        ip("-n", self.server, "addr", "add", f"{SERVER}/24", "brd", "+", "dev", "eth0")
        for name in (self.client, self.server):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "up")
        for network in ("198.51.100.0/24", "203.0.113.0/24"):
            ip("-n", self.server, "route", "add", network, "dev", "eth0")

    def close(self) -> None:
        for name in (self.client, self.server):
            there = Path("/run/netns", name).exists()
            if there and name == self.server:
                words = [sys.executable, "-m", "xdptables", "unload", "eth0", "--netns", name]
                subprocess.run(words, capture_output=True, check=False)
            if there:
                ip("netns", "del", name)

    def send_all(self) -> list[int]:
        """What arrives of each kind: datagrams, or one connection."""
        return [self.udp(t) if t.proto == "udp" else self.tcp(t) for t in TRAFFIC]

    def udp(self, traffic: Traffic) -> int:
        with in_netns(self.server):
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with in_netns(self.client):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with server, client:
            server.bind((SERVER, traffic.port))
            client.bind((traffic.source, 0))
            for number in range(traffic.packets):
                client.sendto(bytes([number]), (SERVER, traffic.port))
            seen = set()
            while len(seen) < traffic.packets and select.select([server], [], [], SILENCE)[0]:
                seen.add(server.recv(16))
            return len(seen)

    def tcp(self, traffic: Traffic) -> int:
        with in_netns(self.server):
            server = socket.socket()
        with in_netns(self.client):
            client = socket.socket()
        with server, client:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((SERVER, traffic.port))
            server.listen()
            client.bind((traffic.source, 0))
            client.settimeout(SILENCE)
            try:
                client.connect((SERVER, traffic.port))
            except TimeoutError:
                return 0
            return 1

    def compare(self, alone: list[int], with_xdp: list[int]) -> None:
        table = Table(box=None, pad_edge=False)
        for name in ("traffic", "from", "to", "sent", "netfilter alone", "with XDP", ""):
            table.add_column(
                name, justify="right" if name in ("sent", "netfilter alone", "with XDP") else "left"
            )
        for t, before, after in zip(TRAFFIC, alone, with_xdp, strict=True):
            wanted = 0 if t.line else t.packets
            right = before == after == wanted
            word = "as allowed" if not t.line else f"dropped by line {t.line}"
            if not right:
                word = "WRONG"
                self.wrong.append(f"{t.text}: {before} alone and {after} with XDP got through, not {wanted}")
            style = "red" if not right else "green" if not t.line else "yellow"
            table.add_row(
                t.text,
                t.source,
                f"{t.proto} {t.port}",
                str(t.packets),
                str(before),
                str(after),
                f"[{style}]{word}",
            )
        self.console.print(table)

    def check_counters(self, status: dict) -> None:
        reached = self.netfilter_counters()
        table = Table(box=None, pad_edge=False)
        for name in ("sent", "XDP dropped", "netfilter dropped"):
            table.add_column(name, justify="right")
        table.add_column("rule")
        for number, rule in enumerate(status["rules"]):
            sent = sum(t.packets for t in TRAFFIC if t.line == rule["line"])
            dropped, left = rule["packets"], reached[number]
            if (dropped, left) != (sent, 0):
                self.wrong.append(
                    f"line {rule['line']}: {sent} sent, {dropped} dropped in XDP, {left} after it"
                )
            table.add_row(str(sent), str(dropped), str(left), f"line {rule['line']}: {rule['rule']}")
        self.console.print(table)
        sent = sum(t.packets for t in TRAFFIC if t.line)
        counted = status["verdicts"]["dropped"]
        self.say(f"in all {counted} packets dropped in XDP, of {sent} forbidden ones that were sent")
        if counted != sent:
            self.wrong.append(f"the program dropped {counted} packets, not {sent}")
        if len(reached) != len(status["rules"]):
            self.wrong.append("not every rule has a counter in the program")

    def netfilter_counters(self) -> list[int]:
        """What reached each rule of INPUT."""
        dump = nsenter(self.server, ["iptables-save", "-c", "-t", "filter"])
        return [int(m[1]) for m in re.finditer(r"^\[(\d+):\d+\] -A INPUT", dump, re.M)]

    def check_removed(self, watcher: int | None) -> None:
        link = json.loads(nsenter(self.server, ["ip", "-j", "link", "show", "eth0"]))[0]
        if "xdp" in link:
            self.wrong.append("the program is still attached")
        until = time.monotonic() + 5
        while watcher and Path(f"/proc/{watcher}").exists() and time.monotonic() < until:
            time.sleep(0.05)
        if watcher and Path(f"/proc/{watcher}").exists():
            self.wrong.append("the watcher is still running")

    def show_c(self, c_text: str) -> None:
        found = re.search(r"static __always_inline u32 xt_classify_ipv4\(.*?^}", c_text, re.S | re.M)
        code = found[0] if found else "(no rule became code)"
        if self.console.is_terminal:
            self.console.print(Syntax(code, "c", theme="ansi_light", background_color="default"))
        else:
            self.say(code)

    def heading(self, text: str) -> None:
        self.console.print(f"\n[bold cyan]{text}[/bold cyan]", soft_wrap=True)

    def say(self, text: str) -> None:
        self.console.print(text.rstrip(), markup=False, soft_wrap=True)


def xdptables(*words: str) -> str:
    return command([sys.executable, "-m", "xdptables", *words])


def ip(*words: str) -> str:
    return command(["ip", *words])


def nsenter(netns: str, words: list[str], text: str | None = None) -> str:
    return command(["nsenter", f"--net=/run/netns/{netns}", "--", *words], text)


def command(words: list[str], text: str | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, input=text, cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(words[:3])} ...: {(done.stderr or done.stdout).strip()}")
    return done.stdout


@contextlib.contextmanager
def demo(console: Console) -> Iterator[Demo]:
    """Whatever happens, both namespaces go, and the program with them."""
    made = Demo(console)
    try:
        yield made
    finally:
        made.close()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        check_privileges()
        with demo(console) as run:
            run.run()
    except UserError as e:
        console.print(f"\ndemo: {e}", markup=False, style="red", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    run.heading("Result")
    for line in run.wrong:
        console.print(f"WRONG: {line}", markup=False, style="red")
    if not run.wrong:
        run.say(
            "As promised: the same packets got through, and XDP dropped every one that netfilter would have."
        )
        run.say("Both namespaces are removed.")
    return 1 if run.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
