"""Parsers of option arguments: words -> typed value.

ValueError: iptables refuses it too, the message is shown at the words. LookupError: it can't be
resolved here (a host name, say); the option is kept and the test is maybe.
"""

from __future__ import annotations

import ipaddress

from ..fields import Family
from ..intervals import IntervalSet, TooManyIntervals
from ..rules import names

Words = tuple[str, ...]


def integer(text: str, most: int) -> int:
    """Decimal, octal (0..) or hexadecimal (0x..), as xtables_strtoui reads it."""
    try:
        base = 16 if text.lower().startswith("0x") else 8 if text.startswith("0") and len(text) > 1 else 10
        value = int(text, base)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if not 0 <= value <= most or text.startswith(("-", "+")):
        raise ValueError(f"{text} is not between 0 and {most}")
    return value


def number_to(most: int):  # type: ignore[no-untyped-def]
    return lambda words, family: integer(words[0], most)


def number_range(most: int):  # type: ignore[no-untyped-def]
    """N, N:M, N:, :M"""

    def parse(words: Words, family: Family) -> IntervalSet:
        lo, colon, hi = words[0].partition(":")
        first = integer(lo, most) if lo else 0
        last = first if not colon else integer(hi, most) if hi else most
        if first > last:
            raise ValueError(f"the range {words[0]} is empty")
        return IntervalSet.range(first, last)

    return parse


def _ports(text: str) -> IntervalSet:
    lo, colon, hi = text.partition(":")
    first = names.service_port(lo) if lo else 0
    last = first if not colon else names.service_port(hi) if hi else 65535
    if first > last:
        raise ValueError(f"the port range {text} is empty")
    return IntervalSet.range(first, last)


def port_range(words: Words, family: Family) -> IntervalSet:
    if not words[0]:
        raise ValueError("a port or a range of ports is expected")
    return _ports(words[0])


def port_list(words: Words, family: Family) -> IntervalSet:
    return IntervalSet.union_of(p for part in words[0].split(",") for p in _ports(part))


def protocol(words: Words, family: Family) -> int:
    return names.protocol_number(words[0])


def address(words: Words, family: Family) -> IntervalSet:
    """A list of address[/length or /mask]; masks need not be prefixes."""
    return IntervalSet.union_of(p for part in words[0].split(",") for p in _address(part, family))


def _address(text: str, family: Family) -> IntervalSet:
    bits = 32 if family is Family.IPV4 else 128
    base, slash, mask_text = text.partition("/")
    value = _plain_address(base, bits)
    mask = (1 << bits) - 1
    if slash:
        mask = _mask(mask_text, bits)
    try:
        return IntervalSet.masked(value & mask, mask, bits)
    except TooManyIntervals as e:
        raise LookupError(f"the mask of {text} leaves too many ranges ({e})") from None


def _mask(text: str, bits: int) -> int:
    length = names.c_number(text)
    if length is None:
        return _plain_address(text, bits)
    if length > bits:
        raise ValueError(f"the prefix length {text} is over {bits}")
    return ((1 << bits) - 1) & ~((1 << (bits - length)) - 1)


def _plain_address(text: str, bits: int) -> int:
    try:
        if bits == 32:
            parts = text.split(".")  # 10.8 is 10.8.0.0 to iptables
            numbers = [n for n in map(names.c_number, parts) if n is not None]
            if len(numbers) == len(parts) <= 4:
                octets = numbers + [0] * (4 - len(parts))
                if max(octets) > 255:
                    raise ValueError(f"{text} is no IPv4 address")
                return int.from_bytes(bytes(octets), "big")
            if not any(c.isalpha() for c in text):
                raise ValueError(f"{text!r} is no IPv4 address")
        elif ":" in text:
            return int(ipaddress.IPv6Address(text))
    except ipaddress.AddressValueError as e:
        raise ValueError(f"{text!r} is no IPv6 address: {e}") from None
    if ":" in text or not text or (names.is_number(text[0]) and bits == 128):
        raise ValueError(f"{text!r} is no address of this family")
    raise LookupError(f"the host name {text!r} is not resolved: names may change their address")


def address_range(words: Words, family: Family) -> IntervalSet:
    bits = 32 if family is Family.IPV4 else 128
    lo, dash, hi = words[0].partition("-")
    first = _plain_address(lo, bits)
    last = _plain_address(hi, bits) if dash else first
    if first > last:  # taken, and matches nothing (iprange_mt4)
        return IntervalSet()
    return IntervalSet.range(first, last)


def tcp_flags(words: Words, family: Family) -> tuple[int, int]:
    def bits(text: str) -> int:
        value = 0
        for name in text.split(","):
            if name.upper() not in names.TCP_FLAGS:
                raise ValueError(f"{name!r} is no TCP flag")
            value |= names.TCP_FLAGS[name.upper()]
        return value

    return bits(words[0]), bits(words[1])


def icmp(words: Words, family: Family) -> IntervalSet:
    return names.icmp_types(words[0], family)


def mac(words: Words, family: Family) -> int:
    parts = words[0].split(":")
    if len(parts) != 6 or any(not 0 < len(p) <= 2 for p in parts):
        raise ValueError(f"{words[0]!r} is no Ethernet address")
    try:
        return int.from_bytes(bytes(int(p, 16) for p in parts), "big")
    except ValueError:
        raise ValueError(f"{words[0]!r} is no Ethernet address") from None


def tos(words: Words, family: Family) -> tuple[int, int]:
    value, slash, mask = words[0].partition("/")
    by_name = {n.lower(): v for n, v in names.TOS_NAMES.items()}
    if value.lower() in by_name:
        return by_name[value.lower()], 0x3F
    return integer(value, 255), integer(mask, 255) if slash else 255


def mark(words: Words, family: Family) -> tuple[int, int]:
    """value[/mask], 32 bits each."""
    value, slash, mask = words[0].partition("/")
    return integer(value, 0xFFFFFFFF), integer(mask, 0xFFFFFFFF) if slash else 0xFFFFFFFF


def dscp(words: Words, family: Family) -> int:
    return integer(words[0], 63)


def dscp_class(words: Words, family: Family) -> int:
    if words[0].upper() not in names.DSCP_CLASSES:
        raise ValueError(f"{words[0]!r} is no DSCP class")
    return names.DSCP_CLASSES[words[0].upper()]


PKT_TYPES = {"unicast": 0, "host": 0, "broadcast": 1, "bcast": 1, "multicast": 2, "mcast": 2}


def pkt_type(words: Words, family: Family) -> int:
    if words[0].lower() not in PKT_TYPES:
        raise ValueError(f"{words[0]!r} is no packet type: unicast, broadcast or multicast")
    return PKT_TYPES[words[0].lower()]


CT_STATES = ("INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED", "SNAT", "DNAT")


def ct_states(words: Words, family: Family) -> frozenset[str]:
    """A list of states, SNAT and DNAT among them; iptables takes any case."""
    states = frozenset(part.upper() for part in words[0].split(","))
    for state in sorted(states):
        if state not in CT_STATES:
            raise ValueError(f"{state!r} is no connection state: {', '.join(CT_STATES)}")
    return states


_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def rate(words: Words, family: Family) -> int:
    """N/second, N/min ..., as nanoseconds between two (parse_rate in libxt_limit.c)."""
    number, slash, unit = words[0].partition("/")
    seconds = [s for name, s in _UNITS.items() if name.startswith(unit.lower() or "?")] if slash else [1]
    if not number.isdigit() or not int(number) or not seconds:
        raise LookupError(f"{words[0]!r} is no rate")
    return seconds[0] * 1_000_000_000 // int(number)


def text(words: Words, family: Family) -> str:
    return words[0]
