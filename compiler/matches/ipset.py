"""What an ipset holds, as sets on packet fields: one row for each combination that matches.

Sources: net/netfilter/ipset/ip_set_hash_gen.h (mtype_test_cidrs), ip_set_hash_*.c and ip_set_bitmap_*.c
(kadt), ip_set_getport.c.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..fields import Family
from ..host.ipsets import IpSet
from ..intervals import Interval, IntervalSet
from ..rules import names

#: Those whose every answer was compared with a kernel's. bitmap:ip,mac is not one: a test can write to it.
KINDS = {
    "hash:ip": ("ip",),
    "hash:net": ("net",),
    "hash:ip,port": ("ip", "port"),
    "hash:net,port": ("net", "port"),
    "hash:ip,port,ip": ("ip", "port", "ip"),
    "hash:ip,port,net": ("ip", "port", "net"),
    "hash:net,iface": ("net", "iface"),
    "bitmap:ip": ("ip",),
    "bitmap:port": ("number",),
    "list:set": ("set",),
}
#: Options of `create` that say nothing of what a test answers; with how many words.
_IDLE = {"hashsize": 1, "maxelem": 1, "bucketsize": 1, "initval": 1, "size": 1, "comment": 0, "skbinfo": 0,
         "forceadd": 0, "range": 1}  # fmt: skip
_ENTRY_IDLE = {"packets": 1, "bytes": 1, "comment": 1, "skbmark": 1, "skbprio": 1, "skbqueue": 1}
_MASKED = ("hash:ip", "hash:ip,port", "bitmap:ip")


@dataclass(frozen=True, slots=True)
class Element:
    """A value for each dimension: (lo, hi) of addresses, (protocol, port), a number, or a name."""

    values: tuple[tuple[int, int] | int | str, ...]
    nomatch: bool = False
    wildcard: bool = False
    permanent: bool = True


@dataclass(frozen=True, slots=True)
class Contents:
    """`family` None: of both. `expires`: entries come and go by themselves. `unread`: why it can't be
    told what the set matches; then nothing else counts but `counts`."""

    dimensions: tuple[str, ...] = ()
    family: Family | None = None
    counts: bool = False
    expires: bool = False
    elements: tuple[Element, ...] = ()
    unread: str = ""


class _Unread(Exception):
    pass


@lru_cache(maxsize=512)
def contents(ipset: IpSet) -> Contents:
    options = list(ipset.options)
    counts = "counters" in options
    if ipset.kind not in KINDS:
        return Contents(counts=True, unread=f"sets of type {ipset.kind} are not read")
    dimensions = KINDS[ipset.kind]
    try:
        family, masked, expires = _options(ipset.kind, options)
        bits = 32 if family is not Family.IPV6 else 128
        elements = tuple(_element(e, ipset.kind, dimensions, bits, masked) for e in ipset.entries)
    except (_Unread, ValueError, LookupError, OSError) as e:
        return Contents(dimensions, None, counts, unread=f"the set {ipset.name} can't be read: {e}")
    if any(e.nomatch for e in elements) and "iface" in dimensions:
        return Contents(dimensions, family, counts, unread=f"the set {ipset.name} has nomatch entries")
    return Contents(dimensions, family, counts, expires, elements)


def _options(kind: str, words: list[str]) -> tuple[Family | None, int | None, bool]:
    """Family, prefix length that addresses are cut to, and whether entries expire."""
    family = None if kind in ("bitmap:port", "list:set") else Family.IPV4
    masked, expires = None, False
    at = 0
    while at < len(words):
        word = words[at]
        argument = words[at + 1] if at + 1 < len(words) else ""
        if word == "family" and kind.startswith("hash:"):
            family = Family.IPV6 if argument == "inet6" else Family.IPV4
            at += 2
        elif word == "timeout":
            expires, at = True, at + 2
        elif word == "netmask" and kind in _MASKED:
            masked, at = int(argument), at + 2
        elif word == "counters":
            at += 1
        elif word in _IDLE:
            at += 1 + _IDLE[word]
        else:
            raise _Unread(f"option {word}")
    return family, masked, expires


def _element(text: str, kind: str, dimensions: tuple[str, ...], bits: int, masked: int | None) -> Element:
    words = _words(text)
    nomatch = wildcard = False
    permanent = True
    at = 1
    while at < len(words):
        word = words[at]
        if word == "timeout":
            permanent, at = words[at + 1] == "0", at + 2
        elif word == "nomatch":
            nomatch, at = True, at + 1
        elif word == "wildcard":
            wildcard, at = True, at + 1
        elif word in _ENTRY_IDLE:
            at += 1 + _ENTRY_IDLE[word]
        else:
            raise _Unread(f"entry {text}")
    parts = words[0].split(",") if len(dimensions) > 1 else [words[0]]
    if len(parts) != len(dimensions):
        raise _Unread(f"entry {text}")
    values: list[tuple[int, int] | int | str] = []
    for dimension, part in zip(dimensions, parts, strict=True):
        if dimension in ("ip", "net"):
            pair = _addresses(part, bits, masked if dimension == "ip" else None)
            if dimension == "ip" and pair[0] == 0 and kind.startswith("hash:"):
                raise _Unread("kernels differ on the address 0")  # hash:ip refuses to look it up
            values.append(pair)
        elif dimension == "port":
            values.append(_port(part))
        elif dimension == "number":
            values.append(int(part))
        else:
            if part.startswith("physdev:"):
                raise _Unread("bridge ports")
            values.append(part)
    return Element(tuple(values), nomatch, wildcard, permanent)


def _words(text: str) -> list[str]:
    if '"' not in text:
        return text.split()
    before, _, rest = text.partition('"')
    comment, _, after = rest.partition('"')  # ipset allows no quote inside
    return [*before.split(), comment, *after.split()]


def _addresses(text: str, bits: int, masked: int | None) -> Interval:
    base, slash, length = text.partition("/")
    value = int.from_bytes(socket.inet_pton(socket.AF_INET if bits == 32 else socket.AF_INET6, base), "big")
    prefix = int(length) if slash else bits if masked is None else masked
    if not 0 <= prefix <= bits or (slash and masked is not None):
        raise _Unread(f"entry {text}")
    host = (1 << (bits - prefix)) - 1
    return value & ~host, value | host


def _port(text: str) -> tuple[int, int]:
    """protocol:port, protocol:icmp-name; TCP where no protocol stands."""
    protocol, colon, port = text.partition(":")
    if not colon:
        return 6, int(protocol)
    number = names.protocol_number(protocol)
    codes = _ICMP if number == 1 else _ICMP6 if number == 58 else {}
    if port in codes:
        return number, codes[port]
    kind, slash, code = port.partition("/")
    return number, int(kind) << 8 | int(code) if slash else int(kind)


# lib/icmp.c and lib/icmpv6.c of ipset: other names, and other meanings, than iptables has.
_ICMP = {
    name: kind << 8 | code
    for kind, listed in {
        0: ("echo-reply",),
        3: ("network-unreachable", "host-unreachable", "protocol-unreachable", "port-unreachable",
            "fragmentation-needed", "source-route-failed", "network-unknown", "host-unknown", "",
            "network-prohibited", "host-prohibited", "TOS-network-unreachable", "TOS-host-unreachable",
            "communication-prohibited", "host-precedence-violation", "precedence-cutoff"),
        4: ("source-quench",),
        5: ("network-redirect", "host-redirect", "TOS-network-redirect", "TOS-host-redirect"),
        8: ("echo-request",), 9: ("router-advertisement",), 10: ("router-solicitation",),
        11: ("ttl-zero-during-transit", "ttl-zero-during-reassembly"),
        12: ("ip-header-bad", "required-option-missing"),
        13: ("timestamp-request",), 14: ("timestamp-reply",),
        17: ("address-mask-request",), 18: ("address-mask-reply",),
    }.items()
    for code, name in enumerate(listed) if name
}  # fmt: skip
_ICMP6 = {
    name: kind << 8 | code
    for kind, listed in {
        1: ("no-route", "communication-prohibited", "", "address-unreachable", "port-unreachable"),
        2: ("packet-too-big",), 3: ("ttl-zero-during-transit", "ttl-zero-during-reassembly"),
        4: ("bad-header", "unknown-header-type", "unknown-option"),
        128: ("echo-request",), 129: ("echo-reply",), 133: ("router-solicitation",),
        134: ("router-advertisement",), 135: ("neighbour-solicitation",), 136: ("neighbour-advertisement",),
        137: ("redirect",),
    }.items()
    for code, name in enumerate(listed) if name
}  # fmt: skip


# -- rows -------------------------------------------------------------------------------------------

#: For each dimension the values that go together; of a port (protocol, ports).
Cell = IntervalSet | tuple[int, IntervalSet]
Row = tuple[Cell, ...]


def rows(dimensions: Sequence[str], elements: Sequence[Element]) -> list[Row]:
    """As few as possible that match what `elements` match together, nomatch and prefix lengths obeyed.
    `dimensions`: of addresses, ports and numbers; `elements` have a value for each."""
    found: list[Row] = [tuple(map(_cell, dimensions, e.values)) for e in elements]
    if any(e.nomatch for e in elements):
        net = dimensions.index("net")
        found = list(_longest_first(found, [e.nomatch for e in elements], net))
    for at in range(len(dimensions)):
        found = _joined(found, at)
    return found


def _cell(dimension: str, value: tuple[int, int] | int | str) -> Cell:
    if dimension == "port":
        assert isinstance(value, tuple)
        return value[0], IntervalSet.of(value[1])
    if dimension == "number":
        assert isinstance(value, int)
        return IntervalSet.of(value)
    assert isinstance(value, tuple)
    return IntervalSet((value,))


def _joined(found: Sequence[Row], at: int) -> list[Row]:
    """Rows that differ in one dimension only become one."""
    groups: dict[tuple[Row, int | None, Row], list[Interval]] = {}
    for row in found:
        cell = row[at]
        protocol, values = cell if isinstance(cell, tuple) else (None, cell)
        groups.setdefault((row[:at], protocol, row[at + 1 :]), []).extend(values.pairs)
    made: list[Row] = []
    for (before, protocol, after), pairs in groups.items():
        values = IntervalSet.union_of(pairs)
        made.append((*before, values if protocol is None else (protocol, values), *after))
    return made


def _longest_first(found: Sequence[Row], nomatch: Sequence[bool], net: int) -> Iterator[Row]:
    """mtype_test_cidrs: the longest prefix that holds the address decides."""
    groups: dict[Row, dict[int, tuple[list[Interval], list[Interval]]]] = {}
    for row, not_this in zip(found, nomatch, strict=True):
        cell = row[net]
        assert isinstance(cell, IntervalSet)
        (pair,) = cell.pairs
        by_size = groups.setdefault((*row[:net], *row[net + 1 :]), {})
        by_size.setdefault(pair[1] - pair[0], ([], []))[not_this].append(pair)
    for others, by_size in groups.items():
        taken = matched = IntervalSet()
        for size in sorted(by_size):
            here, not_here = map(IntervalSet.union_of, by_size[size])
            matched |= here - taken
            taken |= here | not_here
        if matched:
            yield (*others[:net], matched, *others[net:])
