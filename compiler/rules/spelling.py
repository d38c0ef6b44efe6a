"""Typed values back to words, as iptables-save spells them.

An option whose value can be spelled keeps no words of its own, so that two spellings of one value are
equal; any other option keeps its words as they were written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from ..fields import Family
from ..intervals import IntervalSet, TooManyIntervals
from . import names

Speller = Callable[[Any, Family], tuple[str, ...] | None]


def canonical(option: str, value: Any) -> tuple[str, Any]:
    """The option that iptables-save prints, where it has two for the same test."""
    if option == "--syn":
        return "--tcp-flags", (0x17, 0x02)
    if option == "--dscp-class" and value is not None:
        return "--dscp", value
    return option, value


def spell(option: str, value: Any, family: Family) -> tuple[str, ...] | None:
    """The words for the value of an option, or None where only the words as written will do."""
    speller = _SPELLERS.get(option)
    if speller is None or value is None:
        return None
    try:
        return speller(value, family)
    except (TypeError, ValueError, AttributeError):
        return None  # a value of another shape than this file knows


def _addresses(value: IntervalSet, family: Family) -> tuple[str, ...] | None:
    bits = 32 if family is Family.IPV4 else 128
    make = ipaddress.IPv4Address if family is Family.IPV4 else ipaddress.IPv6Address
    if not value:
        return None
    first, last = value.pairs[0]
    host = first ^ last
    if len(value.pairs) == 1 and host & (host + 1) == 0 and first & host == 0:
        return (f"{make(first)}/{bits - host.bit_length()}",)
    free = 0
    for lo, hi in value:
        span = lo ^ hi
        free |= (lo ^ first) | ((1 << span.bit_length()) - 1)
    mask = ~free & ((1 << bits) - 1)
    try:
        if IntervalSet.masked(first & mask, mask, bits) == value:
            length = mask.bit_count()
            prefix = mask == ((1 << bits) - 1) & ~((1 << (bits - length)) - 1)
            return (f"{make(first)}/{length if prefix else make(mask)}",)
    except TooManyIntervals:
        return None
    networks = (n for lo, hi in value for n in ipaddress.summarize_address_range(make(lo), make(hi)))
    return (",".join(str(n) for n in networks),)


def _protocol(value: int, family: Family) -> tuple[str, ...]:
    preferred = {0: "all", 41: "ipv6", 50: "esp", 51: "ah", 58: "ipv6-icmp", 135: "mobility-header"}
    known = {number: name for name, number in reversed(names.PROTOCOLS.items())} | preferred
    return (known.get(value, str(int(value))),)


def _range(value: IntervalSet, family: Family) -> tuple[str, ...] | None:
    if len(value.pairs) != 1:
        return None
    return (_span(*value.pairs[0]),)


def _ranges(value: IntervalSet, family: Family) -> tuple[str, ...] | None:
    return (",".join(_span(lo, hi) for lo, hi in value),) if value else None


def _span(lo: int, hi: int) -> str:
    return str(lo) if lo == hi else f"{lo}:{hi}"


def _icmp(value: IntervalSet, family: Family) -> tuple[str, ...] | None:
    if value.is_full(16):
        return ("any",) if family is Family.IPV4 else None
    if len(value.pairs) != 1:
        return None
    (lo, hi) = value.pairs[0]
    if lo == hi:
        return (f"{lo >> 8}/{lo & 255}",)
    # 255 alone is "any" to iptables, so type 255 as a whole has no spelling.
    whole_type = lo & 255 == 0 and hi == lo + 255 and not (family is Family.IPV4 and lo >> 8 == 255)
    return (str(lo >> 8),) if whole_type else None


def _address_range(value: IntervalSet, family: Family) -> tuple[str, ...] | None:
    make = ipaddress.IPv4Address if family is Family.IPV4 else ipaddress.IPv6Address
    if len(value.pairs) != 1:
        return None
    (lo, hi) = value.pairs[0]
    return (f"{make(lo)}-{make(hi)}",)


def _tcp_flags(value: tuple[int, int], family: Family) -> tuple[str, ...]:
    def flags(bits: int) -> str:
        return ",".join(n for n, b in names.TCP_FLAGS.items() if b and bits & b == b and n != "ALL") or "NONE"

    mask, compared = value
    return flags(mask), flags(compared)


def _number(value: int, family: Family) -> tuple[str, ...]:
    return (str(int(value)),)


def _mac(value: int, family: Family) -> tuple[str, ...]:
    return (value.to_bytes(6, "big").hex(":"),)


def _tos(value: tuple[int, int], family: Family) -> tuple[str, ...]:
    return (f"0x{value[0]:02x}/0x{value[1]:02x}",)


def _dscp(value: int, family: Family) -> tuple[str, ...]:
    return (f"0x{value:02x}",)


def _dscp_class(value: int, family: Family) -> tuple[str, ...] | None:
    return next(((name,) for name, bits in names.DSCP_CLASSES.items() if bits == value), None)


def _pkt_type(value: int, family: Family) -> tuple[str, ...]:
    return ({0: "unicast", 1: "broadcast", 2: "multicast"}[value],)


def _text(value: str, family: Family) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else None


_SPELLERS: dict[str, Speller] = {
    "-s": _addresses, "-d": _addresses, "-p": _protocol, "-i": _text, "-o": _text,
    "--sport": _range, "--dport": _range, "--sports": _ranges, "--dports": _ranges, "--ports": _ranges,
    "--tcp-flags": _tcp_flags, "--tcp-option": _number, "--icmp-type": _icmp, "--icmpv6-type": _icmp,
    "--src-range": _address_range, "--dst-range": _address_range, "--mac-source": _mac,
    **{f"--{match}-{how}": _number for match in ("ttl", "hl") for how in ("eq", "lt", "gt")},
    "--tos": _tos, "--dscp": _dscp, "--dscp-class": _dscp_class, "--ecn-ip-ect": _number,
    "--length": _range, "--mss": _range, "--pkt-type": _pkt_type, "--ahspi": _range, "--espspi": _range,
}  # fmt: skip
