"""Long lists of sources, as blocklists and allowlists have them: what is merged and looked up in a hash."""

from __future__ import annotations

import ipaddress
import random

from judge.place import PLACE
from xdptables.fields import Family

_BESIDE = ("", "", "", "-p tcp", "-p udp -m udp --dport 53", "-i wan0")
_TARGETS = ("-j DROP", "-j DROP", "-j DROP", "-j ACCEPT", "-j RETURN")


def listed(rng: random.Random, family: Family) -> list[tuple[tuple[str, ...], str]]:
    """Tests and target of each rule: mostly single addresses, many of which the traffic comes from."""
    bits = 32 if family is Family.IPV4 else 128
    peer = int(ipaddress.ip_address(PLACE.peer4 if family is Family.IPV4 else PLACE.peer6))
    beside, target = rng.choice(_BESIDE), rng.choice(_TARGETS)
    rules = []
    for _ in range(rng.choice((9, 20, 60))):
        near = peer + rng.randrange(64) if rng.random() < 0.7 else rng.getrandbits(bits)
        length = bits if rng.random() < 0.9 else bits - rng.randrange(1, 8)
        network = ipaddress.ip_network((near >> bits - length << bits - length, length))
        tests = (f"-s {network}", beside) if beside else (f"-s {network}",)
        rules.append((tests, target if rng.random() < 0.95 else rng.choice(_TARGETS)))
    return rules
