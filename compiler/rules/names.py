"""Names that iptables resolves: protocols, services, ICMP types, DSCP classes, TOS, TCP flags.

The well-known ones are built in, so that a result does not depend on /etc/protocols or /etc/services
being installed; other service names are asked of the system.
"""

from __future__ import annotations

import socket
from functools import lru_cache

from ..fields import Family
from ..intervals import IntervalSet

PROTOCOLS: dict[str, int] = {
    "all": 0, "ip": 0, "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "tcp": 6, "egp": 8, "udp": 17,
    "dccp": 33, "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50,
    "ipv6-crypt": 50, "ah": 51, "ipv6-auth": 51, "ipv6-icmp": 58, "icmpv6": 58, "icmp6": 58,
    "ipv6-nonxt": 59, "ipv6-opts": 60, "eigrp": 88, "ospf": 89, "pim": 103, "ipcomp": 108, "vrrp": 112,
    "l2tp": 115, "sctp": 132, "ipv6-mh": 135, "mh": 135, "mobility-header": 135, "udplite": 136,
}  # fmt: skip


def is_number(text: str) -> bool:
    """Plain decimal digits; str.isdigit takes those of any script, and superscripts."""
    return text.isascii() and text.isdecimal()


@lru_cache(maxsize=4096)  # the octets of addresses, ports: mostly the same few
def c_number(text: str) -> int | None:
    """As strtoul with base 0, which iptables uses nearly everywhere: 010 is 8, 0x50 is 80; None for what
    is no number (08 is none)."""
    digits, base = text.lower(), 10
    if digits.startswith("0x"):
        digits, base = digits[2:], 16
    elif digits.startswith("0") and len(digits) > 1:
        base = 8
    alphabet = "0123456789abcdef"[:base]
    return int(digits, base) if digits and all(c in alphabet for c in digits) else None


def protocol_number(text: str) -> int:
    """Raises ValueError for an unknown name or a number over 255."""
    number = c_number(text)
    if number is not None:
        if number > 255:
            raise ValueError(f"protocol {text} is over 255")
        return number
    if text.lower() in PROTOCOLS:
        return PROTOCOLS[text.lower()]
    try:
        return socket.getprotobyname(text.lower())
    except OSError:
        raise ValueError(f"unknown protocol {text!r}") from None


SERVICES: dict[str, int] = {
    "ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67,
    "bootpc": 68, "tftp": 69, "http": 80, "www": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "ntp": 123,
    "netbios-ns": 137, "netbios-dgm": 138, "netbios-ssn": 139, "imap2": 143, "imap": 143, "snmp": 161,
    "snmp-trap": 162, "bgp": 179, "ldap": 389, "https": 443, "microsoft-ds": 445, "isakmp": 500,
    "syslog": 514, "submission": 587, "ldaps": 636, "rsync": 873, "imaps": 993, "pop3s": 995,
    "openvpn": 1194, "mysql": 3306, "postgresql": 5432, "mdns": 5353,
}  # fmt: skip


def service_port(text: str) -> int:
    """Raises ValueError for a number out of range, LookupError for an unknown name."""
    number = c_number(text)
    if (number if number is not None else 65536 * is_number(text.lstrip("-+"))) > 65535:
        raise ValueError(f"port {text} is not between 0 and 65535")
    if number is not None:
        return number
    if text in SERVICES:
        return SERVICES[text]
    try:
        return socket.getservbyname(text)
    except OSError:
        raise LookupError(f"unknown service {text!r}") from None


#: name -> (type, first code, last code); libipt_icmp.c
ICMP_TYPES: dict[str, tuple[int, int, int]] = {
    "echo-reply": (0, 0, 255), "pong": (0, 0, 255), "destination-unreachable": (3, 0, 255),
    "network-unreachable": (3, 0, 0), "host-unreachable": (3, 1, 1), "protocol-unreachable": (3, 2, 2),
    "port-unreachable": (3, 3, 3), "fragmentation-needed": (3, 4, 4), "source-route-failed": (3, 5, 5),
    "network-unknown": (3, 6, 6), "host-unknown": (3, 7, 7), "network-prohibited": (3, 9, 9),
    "host-prohibited": (3, 10, 10), "TOS-network-unreachable": (3, 11, 11),
    "TOS-host-unreachable": (3, 12, 12), "communication-prohibited": (3, 13, 13),
    "host-precedence-violation": (3, 14, 14), "precedence-cutoff": (3, 15, 15),
    "source-quench": (4, 0, 255), "redirect": (5, 0, 255), "network-redirect": (5, 0, 0),
    "host-redirect": (5, 1, 1), "TOS-network-redirect": (5, 2, 2), "TOS-host-redirect": (5, 3, 3),
    "echo-request": (8, 0, 255), "ping": (8, 0, 255), "router-advertisement": (9, 0, 255),
    "router-solicitation": (10, 0, 255), "time-exceeded": (11, 0, 255), "ttl-exceeded": (11, 0, 255),
    "ttl-zero-during-transit": (11, 0, 0), "ttl-zero-during-reassembly": (11, 1, 1),
    "parameter-problem": (12, 0, 255), "ip-header-bad": (12, 0, 0), "required-option-missing": (12, 1, 1),
    "timestamp-request": (13, 0, 255), "timestamp-reply": (14, 0, 255),
    "address-mask-request": (17, 0, 255), "address-mask-reply": (18, 0, 255),
}  # fmt: skip

#: libip6t_icmp6.c
ICMPV6_TYPES: dict[str, tuple[int, int, int]] = {
    "destination-unreachable": (1, 0, 255), "no-route": (1, 0, 0), "communication-prohibited": (1, 1, 1),
    "beyond-scope": (1, 2, 2), "address-unreachable": (1, 3, 3), "port-unreachable": (1, 4, 4),
    "failed-policy": (1, 5, 5), "reject-route": (1, 6, 6), "packet-too-big": (2, 0, 255),
    "time-exceeded": (3, 0, 255), "ttl-exceeded": (3, 0, 255), "ttl-zero-during-transit": (3, 0, 0),
    "ttl-zero-during-reassembly": (3, 1, 1), "parameter-problem": (4, 0, 255), "bad-header": (4, 0, 0),
    "unknown-header-type": (4, 1, 1), "unknown-option": (4, 2, 2), "echo-request": (128, 0, 255),
    "ping": (128, 0, 255), "echo-reply": (129, 0, 255), "pong": (129, 0, 255),
    "mld-listener-query": (130, 0, 255), "mld-listener-report": (131, 0, 255),
    "mld-listener-done": (132, 0, 255), "mld-listener-reduction": (132, 0, 255),
    "router-solicitation": (133, 0, 255), "router-advertisement": (134, 0, 255),
    "neighbour-solicitation": (135, 0, 255), "neighbor-solicitation": (135, 0, 255),
    "neighbour-advertisement": (136, 0, 255), "neighbor-advertisement": (136, 0, 255),
    "redirect": (137, 0, 255),
}  # fmt: skip


def icmp_types(text: str, family: Family) -> IntervalSet:
    """type, type/code, a name, or "any", as a set over type << 8 | code."""
    table = ICMP_TYPES if family is Family.IPV4 else ICMPV6_TYPES
    if text.lower() == "any" and family is Family.IPV4:
        return IntervalSet.full(16)
    number, slash, code_text = text.partition("/")
    number_of_type, code = c_number(number), c_number(code_text)
    if number_of_type is not None and (not slash or code is not None):
        kind = number_of_type
        if kind > 255 or (code or 0) > 255:
            raise ValueError(f"{text} is no ICMP type: numbers go to 255")
        if family is Family.IPV4 and kind == 255:
            return IntervalSet.full(16)  # the kernel's "any", whatever the code
        first, last = (0, 255) if code is None else (code, code)
        return IntervalSet.range(kind << 8 | first, kind << 8 | last)
    lowered = {name.lower(): value for name, value in table.items()}
    if text.lower() not in lowered:
        raise ValueError(f"unknown ICMP type {text!r}")
    kind, first, last = lowered[text.lower()]
    return IntervalSet.range(kind << 8 | first, kind << 8 | last)


TCP_FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ALL": 63, "NONE": 0}
TOS_NAMES = {
    "Minimize-Delay": 0x10,
    "Maximize-Throughput": 0x08,
    "Maximize-Reliability": 0x04,
    "Minimize-Cost": 0x02,
    "Normal-Service": 0x00,
}
DSCP_CLASSES = {
    **{f"CS{n}": n << 3 for n in range(8)},
    "BE": 0,
    **{f"AF{c}{d}": c << 3 | d << 1 for c in range(1, 5) for d in range(1, 4)},
    "EF": 0x2E,
}
