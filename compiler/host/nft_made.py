"""Is a table of iptables-nft really iptables' own?

`iptables-nft-save` prints rules that nft wrote into such a table as well as it can, and that may be
another rule, without a word: `tcp dport { 22, 23 } drop` as `-p tcp -j DROP`, `ip saddr @bad drop` as
`-j DROP` (1.8.9). So the expressions themselves are read, and a table that holds any that iptables
would not have written is not taken from iptables-nft-save at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from . import netlink

_GETRULE = 10 << 8 | 7
_TABLE, _CHAIN, _EXPRESSIONS, _NAME, _DATA = 1, 2, 4, 1, 2
_FAMILIES = {"ip": 2, "ip6": 10}

_ITS_OWN = frozenset(
    ["payload", "cmp", "range", "bitwise", "meta", "counter", "immediate", "match", "target", "limit", "log"]
)
_PAYLOAD_BASE, _PAYLOAD_OFFSET, _PAYLOAD_LENGTH, _PAYLOAD_SOURCE = 2, 3, 4, 5
_TRANSPORT = 2
_CMP_OPERATOR, _EQUAL, _UNEQUAL = 2, 0, 1
_META_KEY = 2


def foreign_rules(family: str) -> dict[str, str]:
    """Table name -> why not all of its rules are iptables'. Raises OSError."""
    found: dict[str, str] = {}
    body = netlink.nfgenmsg(_FAMILIES[family])
    for answer in netlink.dump(netlink.NETFILTER, _GETRULE, body):
        a = netlink.attribute_map(answer, 4)
        why = why_foreign(list(_expressions(a.get(_EXPRESSIONS, b""))))
        if why:
            text = f"a rule in chain {netlink.text(a[_CHAIN])} was not written by iptables: it {why}"
            found.setdefault(netlink.text(a[_TABLE]), text)
    return found


def why_foreign(expressions: list[tuple[str, dict[int, bytes]]]) -> str:
    """Empty where iptables-nft can have written the rule, so that it can print it too."""
    read: list[tuple[int, int, int]] = []  # what each load reads, since iptables-nft-save keeps the last
    base = -1
    for name, a in expressions:
        if name not in _ITS_OWN:
            return f"uses {name}"
        if name == "payload":
            if _PAYLOAD_SOURCE in a:
                return "rewrites a field"
            base = _number(a, _PAYLOAD_BASE)
            start = _number(a, _PAYLOAD_OFFSET)
            load = (base, start, start + _number(a, _PAYLOAD_LENGTH))
            if any(b == base and load[1] < end and first < load[2] for b, first, end in read):
                return "tests a field twice"
            read.append(load)
        elif name == "meta" and _META_KEY in a:
            base = -1
            load = (-1, _number(a, _META_KEY), _number(a, _META_KEY) + 1)
            if load in read:
                return "tests a field twice"
            read.append(load)
        elif base != _TRANSPORT and (
            name == "range" or (name == "cmp" and _number(a, _CMP_OPERATOR) not in (_EQUAL, _UNEQUAL))
        ):
            return "compares by order"  # of ranges, iptables writes those of ports
    return "" if any(name == "counter" for name, _ in expressions) else "has no counter"


def _expressions(data: bytes) -> Iterator[tuple[str, dict[int, bytes]]]:
    for _, element in netlink.attributes(data):
        a = netlink.attribute_map(element)
        yield netlink.text(a[_NAME]), netlink.attribute_map(a.get(_DATA, b""))


def _number(a: dict[int, bytes], kind: int) -> int:
    return int(struct.unpack(">I", a[kind])[0]) if kind in a else 0
