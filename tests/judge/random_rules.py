"""Rulesets from a seed: the same seed, the same text."""

from __future__ import annotations

import random

from judge.parts import parts
from xdptables.fields import Family

_UNKNOWN = "-m u32 --u32 0x0>>0x18&0xff=0x45"
_STATES = (
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack --ctstate INVALID",
    "-m conntrack --ctstate NEW",
    "-m conntrack ! --ctstate NEW",
    "-m state --state NEW,UNTRACKED",
    "-m state --state INVALID,UNTRACKED",
)
_TABLES = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}


def random_rules(seed: int, family: Family) -> str:
    """A dump for iptables-restore, of one to four tables, with user chains."""
    rng = random.Random(f"{seed} {family}")
    tables = ["filter", *(t for t in ("raw", "mangle", "security") if rng.random() < 0.3)]
    state = rng.random() < 0.4
    return "".join(_table(rng, name, family, state) for name in tables)


def _table(rng: random.Random, name: str, family: Family, state: bool) -> str:
    bases = [c for c in _TABLES[name] if c in ("PREROUTING", "INPUT")]
    chains = [f"c{n}" for n in range(rng.randrange(4))]
    policies = {base: rng.choice(("ACCEPT", "ACCEPT", "DROP")) for base in bases}
    lines = [f"*{name}"]
    lines += [f":{chain} {policies.get(chain, 'ACCEPT')}" for chain in _TABLES[name]]
    lines += [f":{chain} -" for chain in chains]
    for place, chain in enumerate([*bases, *chains]):
        later = chains[max(0, place - len(bases) + 1) :]  # jumps go forward, so there are no loops
        for _ in range(rng.randrange(1, 7)):
            test = _test(rng, family, state)
            lines.append(f"-A {chain} {test}{_target(rng, name, later, state)}")
    return "\n".join([*lines, "COMMIT"]) + "\n"


def _test(rng: random.Random, family: Family, state: bool) -> str:
    chosen: list[str] = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        part = rng.choice(parts(family))
        taken = {w for p in chosen for w in _slots(p)}
        if not taken & set(_slots(part)):
            chosen.append(part)
    chosen.sort(key=lambda p: "-p" not in p.split())
    if rng.random() < 0.06:
        chosen.append(_UNKNOWN)
    if state and rng.random() < 0.2:
        chosen.append(rng.choice(_STATES))
    return "".join(f"{part} " for part in chosen if part)


def _slots(part: str) -> list[str]:
    """What may be said only once in a rule."""
    words = part.split()
    return [w for i, w in enumerate(words) if w.startswith("-") or (i and words[i - 1] == "-m")]


def _target(rng: random.Random, table: str, chains: list[str], state: bool) -> str:
    kinds = ["ACCEPT", "DROP", "DROP", "RETURN", ""]
    if chains:
        kinds += ["jump", "jump", "jump", "goto"]
    if table == "mangle":
        kinds += ["DSCP", "MARK"]
    if table == "raw" and state:
        kinds += ["NOTRACK"]
    kind = rng.choice(kinds)
    match kind:
        case "":
            return "-m comment --comment counts"
        case "jump" | "goto":
            return f"-{kind[0]} {rng.choice(chains)}"
        case "NOTRACK":
            return "-j CT --notrack"
        case "MARK":
            return "-j MARK --set-xmark 0x1/0xffffffff"
        case "DSCP":
            return "-j DSCP --set-dscp 0x0a"
    if rng.random() < 0.03:
        return "-j LOG"
    return f"-j {kind}"
