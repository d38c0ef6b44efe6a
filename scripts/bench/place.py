"""Where it happens: one sending namespace, and for each contestant a namespace of its own behind a veth pair.

Everything lives in a mount namespace of this process, with a /run and a /sys/fs/bpf of its own, so that
nothing is left behind however the process ends, and other programs on this host see nothing of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from xdptables.fields import Family
from xdptables.kernel import netlink
from xdptables.kernel.netns import in_netns
from xdptables.source import UserError

from .frames import SERVER_MAC
from .rules import SERVER

_CLONE_NEWNS = 0x00020000
_PATIENCE = 0.5  # seconds
_SYSCTLS = (
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv6.conf.default.accept_ra=0",
)
#: Behind all other chains of INPUT: what gets here was accepted. It is counted and goes no further, so that
#: no socket and no reply is measured.
_SINK = """table inet bench_sink {
    counter accepted { }
    chain input { type filter hook input priority 300; iifname != "lo" counter name accepted drop; }
}
"""


def isolate() -> None:
    """Give this process its own mounts; not to be undone, so it is for the program's main() alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        raise UserError(
            f"no mount namespace of its own: {os.strerror(ctypes.get_errno())}", "run this as root"
        )
    command("mount", "--make-rprivate", "/")
    command("mount", "-t", "tmpfs", "bench", "/run")
    command("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")


class Sender:
    """The namespace that the generator works in. `cpu`: where it and all receivers run."""

    def __init__(self, cpu: int) -> None:
        self.cpu = cpu
        self.tag = secrets.token_hex(2)
        self.netns = f"bench{self.tag}"
        self._places: list[Place] = []
        command("ip", "netns", "add", self.netns)

    def place(self, family: Family) -> Place:
        place = Place(self, len(self._places), family)
        self._places.append(place)
        return place

    @contextlib.contextmanager
    def pinned(self) -> Iterator[None]:
        """This thread runs on the bench's CPU, as the receivers do: the frames stay in its caches."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.cpu})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def close(self) -> None:
        for netns in (*(p.netns for p in self._places), self.netns):
            subprocess.run(["ip", "netns", "del", netns], capture_output=True, check=False)


@contextlib.contextmanager
def sender(cpu: int) -> Iterator[Sender]:
    made = Sender(cpu)
    try:
        yield made
    finally:
        made.close()


class Place:
    """A contestant's namespace, with the server's addresses and one device.

    Call `ready` when the rules and programs are in: frames are then received by a kernel thread (threaded
    NAPI), whose CPU time the scheduler accounts apart from the sender's.
    """

    def __init__(self, sender: Sender, number: int, family: Family) -> None:
        self.family = family
        self.netns = f"{sender.netns}-{number}"
        # The kernel thread is named after the device, and cut at 15 characters.
        self.dev, self._peer = f"b{sender.tag}{number:03}", f"p{sender.tag}{number:03}"
        self._cpu = sender.cpu
        self._thread = 0
        command("ip", "netns", "add", self.netns)
        pair = f"link add {self._peer} netns {sender.netns} type veth peer name {self.dev} netns {self.netns}"
        command("ip", *pair.split())
        with in_netns(self.netns):
            command("sysctl", "-qw", *_SYSCTLS)
            ones, words = (24, ()) if family is Family.IPV4 else (64, ("nodad",))
            command("ip", "link", "set", self.dev, "address", SERVER_MAC.hex(":"), "addrgenmode", "none")
            for address in SERVER[family]:
                command("ip", "addr", "add", f"{address}/{ones}", "dev", self.dev, *words)
            for dev in ("lo", self.dev):
                command("ip", "link", "set", dev, "up")
            command("ip", "-6" if family is Family.IPV6 else "-4", "route", "add", "default", "dev", self.dev)
            self.ifindex = socket.if_nametoindex(self.dev)
        with in_netns(sender.netns):
            command("ip", "link", "set", self._peer, "addrgenmode", "none", "up")
            self.peer_ifindex = socket.if_nametoindex(self._peer)

    def run(self, *words: str, text: str | None = None, timeout: float | None = None) -> str:
        with in_netns(self.netns):
            return command(*words, text=text, timeout=timeout)

    def attach(self, prog_fd: int) -> None:
        with in_netns(self.netns):
            netlink.set_xdp(self.ifindex, prog_fd, netlink.DRV_MODE)

    def xdp(self) -> int | None:
        """The id of the program that is attached natively."""
        with in_netns(self.netns):
            links = netlink.links(self.ifindex)
        return links[0].xdp.get("native") if links else None

    def gro(self, state: str) -> None:
        """ "on" or "off". On a veth without an XDP program, frames are received only with GRO on."""
        self.run("ethtool", "-K", self.dev, "gro", state)

    def ready(self) -> None:
        self.run("nft", "-f", "-", text=_SINK)
        switch = f"echo 1 > /sys/class/net/{self.dev}/threaded"
        command(
            "ip", "netns", "exec", self.netns, "sh", "-c", switch
        )  # which mounts a /sys for the namespace
        self._thread = self._find_thread()
        try:
            os.sched_setaffinity(self._thread, {self._cpu})
            # It goes before the sender, so that it takes a whole batch before the next one fills the ring.
            os.sched_setscheduler(self._thread, os.SCHED_FIFO, os.sched_param(1))
        except OSError as e:
            what = f"the thread that receives for {self.dev} can't be bound and made real-time: {e.strerror}"
            raise UserError(what, "CAP_SYS_NICE is needed, on the host itself") from e

    def received(self) -> int:
        """Frames that the device has taken from its ring so far, whatever became of them."""
        with in_netns(self.netns):
            table = Path("/proc/thread-self/net/dev").read_text()
        return int(table.split(f"{self.dev}:")[1].split()[1])

    def accepted(self) -> int:
        """Packets that came through all rules so far."""
        listed = self.run("nft", "list", "counter", "inet", "bench_sink", "accepted")
        return int(listed.split("packets")[1].split()[0])

    def dropped_in_xdp(self) -> int:
        counters = self.run("ethtool", "-S", self.dev)
        return sum(int(line.split(":")[1]) for line in counters.splitlines() if "_xdp_drops:" in line)

    def busy(self) -> int:
        """CPU time of the receiving thread so far, in nanoseconds. Exact while the thread sleeps."""
        return int(Path(f"/proc/{self._thread}/schedstat").read_text().split()[0])

    def settled(self, wanted: int) -> int:
        """What was received in all, once that is `wanted` or nothing came for a while: the thread sleeps.

        A real-time thread that is long at work is held up now and then, some 50 ms, in favour of others.
        """
        received = self.received()
        until = time.monotonic() + _PATIENCE
        while received < wanted and time.monotonic() < until:
            time.sleep(0.0002)
            now = self.received()
            if now > received:
                received, until = now, time.monotonic() + _PATIENCE
        busy = -1
        while (spent := self.busy()) != busy:
            busy = spent
            time.sleep(0.0002)
        return received

    def _find_thread(self) -> int:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().startswith(f"napi/{self.dev}-"):
                        return int(pid)
            time.sleep(0.01)
        raise UserError(
            f"no kernel thread receives for {self.dev}",
            "threaded NAPI needs Linux 5.12 or later, and a /proc that shows kernel threads",
        )


def command(*words: str, text: str | None = None, timeout: float | None = None) -> str:
    """Run it and return its standard output. Raises UserError."""
    name = " ".join((Path(words[0]).name, *words[1:4]))
    try:
        done = subprocess.run(words, capture_output=True, text=True, input=text, check=False, timeout=timeout)
    except FileNotFoundError as e:
        raise UserError(f"no {words[0]} on this system", "`make setup` installs what is needed") from e
    except subprocess.TimeoutExpired as e:
        raise UserError(f"{name} took more than {timeout:.0f} s") from e
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        told = said[-1:] if said and said[0].startswith("Traceback") else said[:2]
        raise UserError(f"{name}: {' '.join(told) or 'failed without a word'}")
    return done.stdout
