"""Large rulesets from a seed: chains that are jumped to under wide conditions, so that a packet skips long
runs of rules, and values from small pools, so that it meets several rules."""

from __future__ import annotations

import ipaddress
import random

from xdptables.fields import Family

_CHAINS = 5


def large_rules(seed: int, family: Family, count: int) -> str:
    """`count` rules for INPUT and the chains that it jumps to."""
    r = random.Random(f"{seed} {family} {count}")
    make = _Maker(r, family, count // 6)
    chains = [f"c{n}" for n in range(_CHAINS)]
    lines = ["*filter", ":INPUT ACCEPT [0:0]", *(f":{c} - [0:0]" for c in chains)]
    for place, chain in enumerate(("INPUT", *chains)):
        later, size = chains[place:], count // (_CHAINS + 1)
        # Few: each stands for all the rules that it leads to.
        jumps = set(r.sample(range(size), 1 if place else 3)) if later else set()
        for number in range(size):
            rule = make.jump(r.choice(later)) if number in jumps else make.rule(chain != "INPUT")
            lines.append(f"-A {chain} {rule}")
    return "\n".join([*lines, "COMMIT"]) + "\n"


class _Maker:
    def __init__(self, r: random.Random, family: Family, pool: int) -> None:
        self.r = r
        bits, around = (32, 0xC6336400) if family is Family.IPV4 else (128, 0x20010DB8 << 96)
        base = ipaddress.IPv4Address if family is Family.IPV4 else ipaddress.IPv6Address
        spread = bits - 16
        self.sources = [
            f"{base(around ^ r.getrandbits(spread) >> short << short)}/{bits - short}"
            for short in r.choices((0, 0, 0, 8), k=pool)
        ]
        self.ports = [r.randrange(1, 65000) for _ in range(pool)]
        self.half = f"{base(0)}/1"

    def jump(self, to: str) -> str:
        """Under a condition that about half of all packets meet."""
        wide = self.r.choice((f"-s {self.half}", f"! -s {self.half}", "-p tcp", "-p udp"))
        return f"{wide} -{self.r.choice('jjg')} {to}"

    def rule(self, returns: bool) -> str:
        if returns and self.r.random() < 0.005:
            return f"{self._narrow()} -j RETURN"
        return f"{self._narrow()} -j {self.r.choice(('DROP', 'DROP', 'DROP', 'ACCEPT'))}"

    def _narrow(self) -> str:
        r = self.r
        source = f"-s {r.choice(self.sources)}"
        proto = r.choice(("tcp", "udp"))
        port = r.choice(self.ports)
        end = f":{port + r.randrange(1, 30)}" if r.random() < 0.2 else ""
        ports = f"-p {proto} -m {proto} --{r.choice(('d', 's'))}port {port}{end}"
        return r.choice((source, ports, f"{source} {ports}", f"{source} {ports}"))
