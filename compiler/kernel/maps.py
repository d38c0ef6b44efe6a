"""What the program knows of the host, written to its maps; and its counters, read from them."""

from __future__ import annotations

import contextlib
import ipaddress
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..host.facts import HostFacts
from . import syscall
from .errors import KernelError

FLAG_FORWARDS4 = 1
FLAG_FORWARDS6 = 2
FLAG_MC_FORWARDING4 = 4
FLAG_MC_FORWARDING6 = 8
FLAG_BC_FORWARDING = 16
FLAG_PAUSED = 32
FLAG_LOCAL_TELLS4 = 64
FLAG_LOCAL_TELLS6 = 128
FLAG_RULES_FIRST4 = 256
FLAG_RULES_FIRST6 = 512

LOCAL = 1
BROADCAST = 2
_NONE = (1 << 64) - 1
_CONFIG = struct.Struct("=16Q")  # struct xt_config of templates/types.c.j2

CONFIG, LOCAL4, LOCAL6, RULES, VERDICTS = "xt_config", "xt_local4", "xt_local6", "xt_rules", "xt_verdicts"
HOST4, HOST6 = "xt_host4", "xt_host6"
ON_BUDGET, SOURCES = "xt_on_budget", "xt_sources"


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class RuleCounter:
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Counters:
    """`rules`: dropped, by slot; `on_budget`: passed, by slot. `verdicts`: by the number that the program
    gives each of its outcomes."""

    rules: tuple[RuleCounter, ...] = ()
    verdicts: tuple[int, ...] = ()
    on_budget: tuple[int, ...] = ()


def flags(host: HostFacts) -> int:
    pairs = (
        (host.forwards4, FLAG_FORWARDS4),
        (host.forwards6, FLAG_FORWARDS6),
        (host.mc_forwarding4, FLAG_MC_FORWARDING4),
        (host.mc_forwarding6, FLAG_MC_FORWARDING6),
        (host.bc_forwarding, FLAG_BC_FORWARDING),
        (host.local_first4 and not host.unclear4, FLAG_LOCAL_TELLS4),
        (host.local_first6 and not host.unclear6, FLAG_LOCAL_TELLS6),
        (not host.local_first4, FLAG_RULES_FIRST4),
        (not host.local_first6, FLAG_RULES_FIRST6),
    )
    return sum(bit for is_set, bit in pairs if is_set)


def fill(maps: Mapping[str, int], host: HostFacts, lease: float = 0) -> None:
    """Make the maps say what `host` says; on a running program too: what is gone is deleted first.

    `lease`: seconds from now after which the program drops nothing, unless it is renewed; 0: no end."""
    if CONFIG in maps:
        _configure(maps[CONFIG], host, flags(host), lease)
    # An address in both counts as broadcast, of which fewer packets are dropped.
    local4 = prefixes(host.local4, LOCAL) | prefixes(host.broadcast4, BROADCAST)
    _fill_local(maps, local4, LOCAL4, HOST4, 32)
    _fill_local(maps, prefixes(host.local6, LOCAL), LOCAL6, HOST6, 128)


def _configure(fd: int, host: HostFacts, flags: int, lease: float) -> None:
    """The whole of `struct xt_config` at once."""
    mac = int(host.interface.mac.replace(":", "") or "0", 16)
    syscall.map_update(fd, bytes(4), _CONFIG.pack(mac, flags, *near(host), *_lease(lease)))


def _lease(seconds: float) -> tuple[int, int]:
    """until, over."""
    return (_kernel_clock() + int(seconds * 1e9), 0) if seconds else (0, 0)


def _kernel_clock() -> int:
    """What bpf_ktime_get_ns says: CLOCK_MONOTONIC, without the offset of a time namespace."""
    offset = 0
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/timens_offsets").read_text().splitlines():
            name, seconds, nanoseconds = line.split()
            if name in ("monotonic", str(time.CLOCK_MONOTONIC)):
                offset = int(seconds) * 10**9 + int(nanoseconds)
    return time.monotonic_ns() - offset


def renew(maps: Mapping[str, int], lease: float) -> None:
    """From now on. What is paused stays so: under the lock of the records, as all that write here."""
    *rest, _, _ = _CONFIG.unpack(syscall.map_lookup(maps[CONFIG], bytes(4), _CONFIG.size) or b"")
    syscall.map_update(maps[CONFIG], bytes(4), _CONFIG.pack(*rest, *_lease(lease)))


def is_over(maps: Mapping[str, int]) -> bool:
    """The program drops nothing, as its lease was not renewed."""
    value = syscall.map_lookup(maps[CONFIG], bytes(4), _CONFIG.size) if CONFIG in maps else None
    return value is not None and bool(_CONFIG.unpack(value)[-1])


def near(host: HostFacts) -> list[int]:
    """Four addresses of each family that are asked for before any map is: what the program compares with."""
    broadcasts = _single(host.broadcast4, 32)
    four = [int(ipaddress.ip_address(a)) for a in _single(host.local4, 32) if a not in broadcasts]
    six = [int(ipaddress.ip_address(a)) for a in _single(host.local6, 128)]
    halves = [half for a in six[:4] for half in (a >> 64, a & _NONE)]
    return [*four[:4], *[_NONE] * (4 - len(four[:4])), *halves, *[_NONE] * (8 - len(halves))]


def _single(cidrs: tuple[str, ...], bits: int) -> list[str]:
    networks = (ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)
    return [str(n.network_address) for n in networks if n.prefixlen == bits and not n.is_loopback]


def _fill_local(maps: Mapping[str, int], local: dict[Network, int], trie: str, hash_: str, bits: int) -> None:
    """Single addresses into the hash, if the program has one; all else into the trie."""
    single = {n: v for n, v in local.items() if n.prefixlen == bits} if hash_ in maps else {}
    if hash_ in maps:
        # IPv4 as the program holds it, in host order; IPv6 as on the wire.
        wanted = {
            struct.pack("=I", int(n.network_address)) if bits == 32 else n.network_address.packed: v
            for n, v in single.items()
        }
        _sync(maps[hash_], hash_, {key: struct.pack("=I", v) for key, v in wanted.items()})
    if trie in maps:
        _sync(maps[trie], trie, trie_entries({n: v for n, v in local.items() if n not in single}))


def trie_entries(prefixes: Mapping[Network, int]) -> dict[bytes, bytes]:
    """Keys and values of an LPM trie."""
    return {
        struct.pack("=I", n.prefixlen) + n.network_address.packed: struct.pack("=I", value)
        for n, value in prefixes.items()
    }


def pause(maps: Mapping[str, int], host: HostFacts) -> None:
    """From now on nothing is dropped, until `fill` writes the flags anew."""
    _configure(maps[CONFIG], host, flags(host) | FLAG_PAUSED, 0)


def prefixes(cidrs: tuple[str, ...], value: int) -> dict[Network, int]:
    """Networks from CIDR text, all with that value."""
    return {ipaddress.ip_network(cidr, strict=False): value for cidr in cidrs}


def _sync(fd: int, name: str, wanted: dict[bytes, bytes]) -> None:
    info = syscall.map_info(fd)
    if len(wanted) > info.max_entries:
        raise KernelError(
            f"this host has {len(wanted)} local prefixes, and the map {name} holds {info.max_entries}",
            hint="this is a limit of the generated program",
        )
    for key in list(syscall.map_keys(fd, info.key_size)):
        if key not in wanted:
            syscall.map_delete(fd, key)
    for key, value in wanted.items():
        syscall.map_update(fd, key, value)


def read_counters(maps: Mapping[str, int]) -> Counters:
    """Summed over the CPUs. Not one instant: packets go on being counted while this reads."""
    rules = _sums(maps[RULES], 2) if RULES in maps else []
    verdicts = _sums(maps[VERDICTS], 1) if VERDICTS in maps else []
    passed = _sums(maps[ON_BUDGET], 1) if ON_BUDGET in maps else []
    return Counters(
        tuple(RuleCounter(p, b) for p, b in rules), tuple(v for (v,) in verdicts), tuple(n for (n,) in passed)
    )


def _sums(fd: int, words: int) -> list[tuple[int, ...]]:
    """Each entry of a per-CPU array of `words` u64, summed over the CPUs."""
    info = syscall.map_info(fd)
    if info.value_size != 8 * words:
        raise KernelError(f"the map {info.name} has values of {info.value_size} bytes, not {8 * words}")
    cpus = possible_cpus()
    sums = []
    for index in range(info.max_entries):
        raw = syscall.map_lookup(fd, struct.pack("=I", index), info.value_size * cpus) or b""
        values = struct.unpack(f"={len(raw) // 8}Q", raw)
        sums.append(tuple(sum(values[word::words]) for word in range(words)))
    return sums


def possible_cpus() -> int:
    """How many CPUs per-CPU maps hold values for: also those that are not plugged in."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    count = 0
    for part in text.split(","):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count
