"""Rules as data, made from a seed: the same for every contestant."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass

from xdptables.fields import Family

from .frames import TCP, UDP, number

#: Addresses of the server; rules of the mixed list name them as destinations.
SERVER = {
    Family.IPV4: ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"),
    Family.IPV6: ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"),
}
OPEN_PORTS = (22, 80, 443)
_SERVICES = (21, 22, 25, 53, 80, 110, 143, 443, 445, 993, 3306, 3389, 5432, 8080)
_WORDS = {TCP: "tcp", UDP: "udp"}
_ONES = {Family.IPV4: 32, Family.IPV6: 128}

Ports = tuple[tuple[int, int], ...]  # ranges, both ends included


@dataclass(frozen=True, slots=True)
class Rule:
    """None, 0 and () match anything. `length`: of the source's prefix. `syn`: the flag alone among FIN, SYN,
    RST, ACK."""

    accept: bool
    source: int | None = None
    length: int = 0
    not_source: bool = False
    destination: int | None = None
    protocol: int = 0
    sports: Ports = ()
    dports: Ports = ()
    syn: bool = False

    def text(self, chain: str, family: Family) -> str:
        words = [f"-A {chain}"]
        if self.source is not None:
            words.append(f"{'! ' if self.not_source else ''}-s {address(self.source, family)}/{self.length}")
        if self.destination is not None:
            words.append(f"-d {address(self.destination, family)}/{_ONES[family]}")
        if self.protocol:
            words.append(f"-p {_WORDS[self.protocol]}")
        if self.syn or (self.protocol and any(len(p) == 1 for p in (self.sports, self.dports))):
            words.append(f"-m {_WORDS[self.protocol]}")
        words += [w for w in (_single("sport", self.sports), _single("dport", self.dports)) if w]
        if self.syn:
            words.append("--tcp-flags FIN,SYN,RST,ACK SYN")
        if len(self.dports) > 1:
            ports = ",".join(f"{low}:{high}" if high > low else str(low) for low, high in self.dports)
            words.append(f"-m multiport --dports {ports}")
        return " ".join((*words, "-j", "ACCEPT" if self.accept else "DROP"))


def address(value: int, family: Family) -> str:
    return str(ipaddress.IPv4Address(value) if family is Family.IPV4 else ipaddress.IPv6Address(value))


def _single(option: str, ports: Ports) -> str:
    if len(ports) != 1:
        return ""
    ((low, high),) = ports
    return f"--{option} {low}:{high}" if high > low else f"--{option} {low}"


def restore_text(table: str, chain: str, lines: Sequence[str], policy: str = "ACCEPT") -> str:
    """A file for iptables-restore."""
    return "\n".join((f"*{table}", f":{chain} {policy} [0:0]", *lines, "COMMIT", ""))


def random_source(rng: random.Random, family: Family) -> int:
    """A public unicast address far from the server's own."""
    if family is Family.IPV4:
        return rng.randrange(11, 100) << 24 | rng.getrandbits(24)
    return 0x2A << 120 | rng.getrandbits(120)


def blocklist(size: int, family: Family, rng: random.Random) -> tuple[Rule, ...]:
    """`size` single sources, spread at random."""
    found: dict[int, None] = {}
    while len(found) < size:
        found[random_source(rng, family)] = None
    return tuple(Rule(False, source=s, length=_ONES[family]) for s in found)


def mixed(size: int, family: Family, rng: random.Random) -> tuple[Rule, ...]:
    """An access list as people write them: prefixes, ports, ranges, lists, flags, negations, in any order."""
    picked = rng.choices([kind for kind, _ in _KINDS], [weight for _, weight in _KINDS], k=size)
    return tuple(kind(family, rng) for kind in picked)


def _prefix(family: Family, rng: random.Random) -> tuple[int, int]:
    if family is Family.IPV4:
        length = rng.choices((32, 24, rng.randrange(16, 24), rng.randrange(25, 32)), (40, 30, 20, 10))[0]
    else:
        length = rng.choices((128, 64, 48, rng.randrange(32, 64)), (40, 30, 15, 15))[0]
    host = _ONES[family] - length
    return random_source(rng, family) >> host << host, length


def _ports(rng: random.Random) -> Ports:
    kind = rng.random()
    if kind < 0.6:
        port = rng.choice((*_SERVICES, rng.randrange(1024, 50000)))
        return ((port, port),)
    if kind < 0.85:
        low = rng.randrange(1024, 60000)
        return ((low, low + rng.randrange(1, 4000)),)
    return tuple(sorted((p, p) for p in rng.sample(range(20, 10000), rng.randrange(2, 6))))


def _only_source(family: Family, rng: random.Random) -> Rule:
    source, length = _prefix(family, rng)
    return Rule(rng.random() < 0.3, source=source, length=length)


def _service_for(family: Family, rng: random.Random) -> Rule:
    source, length = _prefix(family, rng)
    return Rule(rng.random() < 0.6, source, length, protocol=rng.choice((TCP, TCP, UDP)), dports=_ports(rng))


def _new_connections(family: Family, rng: random.Random) -> Rule:
    source, length = _prefix(family, rng)
    return Rule(rng.random() < 0.5, source, length, protocol=TCP, dports=_ports(rng), syn=True)


def _reflected(family: Family, rng: random.Random) -> Rule:
    source, length = _prefix(family, rng)
    port = rng.choice((19, 53, 123, 389, 1900, 11211))
    return Rule(rng.random() < 0.3, source, length, protocol=UDP, sports=((port, port),))


def _service(family: Family, rng: random.Random) -> Rule:
    port = rng.randrange(1024, 65536)
    return Rule(
        rng.random() < 0.5,
        destination=number(rng.choice(SERVER[family])),
        protocol=rng.choice((TCP, UDP)),
        dports=((port, port),),
    )


def _all_but(family: Family, rng: random.Random) -> Rule:
    source, length = _prefix(family, rng)
    port = rng.randrange(1024, 65536)
    return Rule(False, source, length, True, protocol=TCP, dports=((port, port),))


_KINDS = (
    (_only_source, 30), (_service_for, 30), (_new_connections, 15), (_reflected, 10), (_service, 13),
    (_all_but, 2),
)  # fmt: skip


def default_deny() -> tuple[str, ...]:
    """The lines of a server's ordinary stateful firewall; its policy is DROP."""
    ports = ",".join(map(str, OPEN_PORTS))
    return (
        "-A INPUT -i lo -j ACCEPT",
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A INPUT -m conntrack --ctstate INVALID -j DROP",
        "-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT",
        f"-A INPUT -p tcp -m multiport --dports {ports} -m conntrack --ctstate NEW -j ACCEPT",
    )
