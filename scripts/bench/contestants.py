"""Who takes part, in which workloads, and how each is set up. The rules are the same; nothing else is tuned.

A contestant without an XDP program of its own receives through a program of two instructions (XDP_PASS)
with GRO off: measured to be the fastest way for it, some 8 % faster than GRO on without a program. Only in
"all accepted", where "no program" is itself what is asked, GRO is on for all.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xdptables.fields import Family
from xdptables.kernel import syscall
from xdptables.kernel.maps import possible_cpus
from xdptables.source import UserError

from . import rules
from .cases import Case
from .frames import number
from .generator import Program, c_text, load
from .place import Place, command
from .rules import restore_text

LOAD_LIMIT = 30.0  # seconds; what takes longer to load is not run
BLOCKLISTS = ("blocklist", "blocklist6")
IPV4_FILTERS = ("blocklist", "mixed", "stateful", "accepted")
FILTERS = (*IPV4_FILTERS, "blocklist6", "mixed6")
XDPTABLES, LIMIT, DROP, IPTABLES, XDP_FILTER = (
    "xdptables", "limit", "drop", "iptables", "xdp-filter",
)  # fmt: skip

_SETS = """table {family} bench {{
    set blocked {{ type {kind}; size {size}; elements = {{ {elements} }} }}
    chain blocked {{ type filter hook {hook} priority {priority}; {match} saddr @blocked drop; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """`prepare` puts rules and programs into the place, and may have something to note. `xdp`: it has a
    program of its own, whose cost BPF_PROG_TEST_RUN can tell. `drops_all`: it is not asked to accept."""

    key: str
    label: str
    workloads: tuple[str, ...]
    prepare: Callable[[Place, Case], str | None]
    xdp: bool = False
    drops_all: bool = False
    sizes: tuple[int, ...] = ()  # () means all

    def takes(self, case: Case) -> bool:
        return case.workload in self.workloads and (not self.sizes or case.size in self.sizes)


@functools.cache
def verdict(name: str) -> Program:
    """A program that only answers `name`, such as XDP_PASS; loaded once."""
    return load(c_text("verdict", VERDICT=name))


@functools.cache
def limit() -> Program:
    return load(c_text("limit"))


def preload() -> None:
    """What is the bench's own, so that it counts for nobody's setting up."""
    for program in (verdict("XDP_PASS"), verdict("XDP_DROP"), limit()):
        assert program.fd


def restore(place: Place, text: str, variant: str = "legacy") -> None:
    word = "iptables" if place.family is Family.IPV4 else "ip6tables"
    place.run(f"{word}-{variant}-restore", text=text)


def input_rules(place: Place, case: Case, variant: str = "legacy") -> None:
    restore(place, restore_text("filter", "INPUT", case.lines, case.policy), variant)
    for flow in case.connections:
        source, to = (rules.address(value, case.family) for value in (flow.source, flow.destination))
        of = f"-p tcp -s {source} -d {to} --sport {flow.sport} --dport {flow.dport}"
        place.run(*f"conntrack -I {of} --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 3600".split())


def raw_rules(place: Place, case: Case) -> None:
    lines = [line.replace("-A INPUT", "-A PREROUTING", 1) for line in case.lines]
    restore(place, restore_text("raw", "PREROUTING", lines))


def receive(place: Place, case: Case) -> None:
    """For those without a program of their own."""
    if case.workload == "accepted":
        place.gro("on")
    else:
        place.attach(verdict("XDP_PASS").fd)
        place.gro("off")


def _iptables(place: Place, case: Case) -> None:
    input_rules(place, case)
    receive(place, case)


def _iptables_nft(place: Place, case: Case) -> None:
    input_rules(place, case, "nft")
    receive(place, case)


def _iptables_raw(place: Place, case: Case) -> None:
    raw_rules(place, case)
    receive(place, case)


def _ipset(place: Place, case: Case) -> None:
    family = "inet" if place.family is Family.IPV4 else "inet6"
    create = f"create blocked hash:ip family {family} maxelem {max(65536, len(case.blocked))}\n"
    place.run("ipset", "restore", text=create + "".join(f"add blocked {a}\n" for a in case.blocked))
    restore(
        place, restore_text("raw", "PREROUTING", ["-A PREROUTING -m set --match-set blocked src -j DROP"])
    )
    receive(place, case)


def _nft_set(place: Place, case: Case) -> None:
    _nft(place, case, "ip" if place.family is Family.IPV4 else "ip6", "prerouting", -300)


def _nft_ingress(place: Place, case: Case) -> None:
    _nft(place, case, "netdev", f"ingress device {place.dev}", 0)


def _nft(place: Place, case: Case, family: str, hook: str, priority: int) -> None:
    match, kind = ("ip", "ipv4_addr") if place.family is Family.IPV4 else ("ip6", "ipv6_addr")
    text = _SETS.format(
        family=family,
        kind=kind,
        size=len(case.blocked),  # with a size, nft takes its fastest kind of set
        elements=", ".join(case.blocked),
        hook=hook,
        priority=priority,
        match=match,
    )
    place.run("nft", "-f", "-", text=text)
    receive(place, case)


def _xdp_filter(place: Place, case: Case) -> None:
    """Debian's xdp-filter. One by one, the addresses would take minutes: the first goes in by its command,
    the others straight into its map, with the value that the command wrote."""
    family = "ipv4" if place.family is Family.IPV4 else "ipv6"
    pins = Path(f"/run/bench/{place.netns}")
    pins.mkdir(parents=True)
    command("mount", "-t", "bpf", "bpf", str(pins))
    with _as_bpffs(pins):  # its maps are pinned under one name for all devices
        place.run("xdp-filter", "load", "--mode", "native", "--features", family, place.dev)
        place.run("xdp-filter", "ip", "--mode", "src", case.blocked[0])
        fd = syscall.obj_get(Path(f"/sys/fs/bpf/xdp-filter/filter_{family}"))
    try:
        info = syscall.map_info(fd)
        (first,) = syscall.map_keys(fd, info.key_size)
        value = syscall.map_lookup(fd, first, info.value_size * possible_cpus())  # a per-CPU map
        assert value is not None
        for address in case.blocked[1:]:
            syscall.map_update(fd, number(address).to_bytes(info.key_size, "big"), value)
    finally:
        os.close(fd)
    place.gro("off")


@contextlib.contextmanager
def _as_bpffs(folder: Path) -> Iterator[None]:
    command("mount", "--bind", str(folder), "/sys/fs/bpf")
    try:
        yield
    finally:
        command("umount", "/sys/fs/bpf")


def _xdptables(place: Place, case: Case) -> str:
    """The command as its users run it, from the live rules, which netfilter holds as well."""
    input_rules(place, case)
    return _load(place, case)


def _xdptables_raw(place: Place, case: Case) -> str:
    raw_rules(place, case)
    return _load(place, case)


def _load(place: Place, case: Case) -> str:
    """Returns how many of the rules are in the program, where not all are."""
    words = ("-m", "xdptables", "load", place.dev, "--netns", place.netns, "--mode", "native", "--no-watch")
    said = command(sys.executable, *words, timeout=LOAD_LIMIT)
    place.gro("on" if case.workload == "accepted" else "off")
    counted = re.search(r"(\d+) of (\d+) dropping rules run in XDP", said)
    return counted[0] if counted and counted[1] != counted[2] else ""


def _limit(place: Place, case: Case) -> None:
    """Netfilter holds the same rules, for the packets that are not dropped."""
    input_rules(place, case)
    place.attach(limit().fd)
    place.gro("on" if case.workload == "accepted" else "off")


def _drop(place: Place, case: Case) -> None:
    place.attach(verdict("XDP_DROP").fd)
    place.gro("off")


CONTESTANTS = (
    Contestant(
        DROP, "XDP_DROP and nothing else", ("blocklist",), _drop, xdp=True, drops_all=True, sizes=(10,)
    ),
    Contestant(LIMIT, "parse and drop", FILTERS, _limit, xdp=True),
    Contestant(XDPTABLES, "xdptables", FILTERS, _xdptables, xdp=True),
    Contestant("xdptables-raw", "xdptables, rules in raw", ("blocklist",), _xdptables_raw, xdp=True),
    Contestant(XDP_FILTER, "xdp-filter", BLOCKLISTS, _xdp_filter, xdp=True),
    Contestant("nft-ingress", "nft set, netdev ingress", ("blocklist",), _nft_ingress),
    Contestant("nft-set", "nft set, prerouting", BLOCKLISTS, _nft_set),
    Contestant("ipset", "ipset, iptables raw", ("blocklist",), _ipset),
    Contestant("iptables-raw", "iptables-legacy raw", ("blocklist",), _iptables_raw),
    Contestant(IPTABLES, "iptables-legacy INPUT", FILTERS, _iptables),
    Contestant("iptables-nft", "iptables-nft INPUT", IPV4_FILTERS, _iptables_nft),
)


def check(contestant: Contestant, place: Place) -> None:
    """Native XDP where it is claimed. Raises UserError."""
    if contestant.xdp and place.xdp() is None:
        raise UserError(f"{contestant.label}: no native XDP program is on {place.dev}")
