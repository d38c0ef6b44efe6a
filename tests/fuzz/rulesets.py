"""Rulesets from a seed, as values that a failure can be shrunk in: the same seed, the same rules."""

from __future__ import annotations

import random
from dataclasses import dataclass

from fuzz import sets
from fuzz.listed import listed
from judge.parts import parts
from xdptables.fields import Family

TABLES = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
_OUTWARD = ("FORWARD", "OUTPUT", "POSTROUTING")

STATE = (
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack --ctstate ESTABLISHED",
    "-m conntrack --ctstate RELATED",
    "-m conntrack --ctstate INVALID",
    "-m conntrack --ctstate NEW",
    "-m conntrack --ctstate NEW,INVALID",
    "-m conntrack --ctstate NEW,UNTRACKED",
    "-m conntrack --ctstate UNTRACKED",
    "-m conntrack ! --ctstate ESTABLISHED",
    "-m conntrack ! --ctstate RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate NEW",
    "-m conntrack ! --ctstate INVALID",
    "-m conntrack ! --ctstate INVALID,NEW",
    "-m conntrack --ctstate DNAT",
    "-m conntrack --ctstate SNAT,ESTABLISHED",
    "-m conntrack --ctstatus SEEN_REPLY",
    "-m conntrack ! --ctstatus ASSURED",
    "-m conntrack --ctdir REPLY",
    "-m conntrack --ctstate NEW --ctproto 6",
    "-m state --state RELATED,ESTABLISHED",
    "-m state --state NEW",
    "-m state --state INVALID",
    "-m state --state INVALID,NEW",
    "-m state ! --state ESTABLISHED",
    "-m connmark --mark 0x1",
    "-m connbytes --connbytes 3: --connbytes-dir both --connbytes-mode packets",
)  # fmt: skip
#: What counts or remembers. No rate refills while a trial lasts.
EFFECTS = (
    "-m limit --limit 1/day --limit-burst 3",
    "-m limit --limit 1/day --limit-burst 20",
    "-m recent --set --name {name} --rsource",
    "-m recent --rcheck --name {name} --rsource",
    "-m recent --update --hitcount 3 --name {name} --rsource",
    "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 4 --hashlimit-mode srcip --hashlimit-name {name}",
    "-m statistic --mode nth --every 3 --packet 0",
    "-m quota --quota 2000",
    # Small limits depend on the moment: what has ended is cleared away by the clock.
    "-m connlimit --connlimit-above 100000 --connlimit-mask 32 --connlimit-saddr",
    "-m connlimit --connlimit-upto 100000 --connlimit-mask 32 --connlimit-saddr",
)
UNKNOWN = (
    "-m u32 --u32 0x0>>0x18&0xff=0x45",
    "-m u32 --u32 0x4>>0x10&0x1=0x1",
    "-m string --string ddd --algo bm",
    "-m cpu --cpu 0",
    "-m cpu ! --cpu 0",
    "-m mark --mark 0x1",
    "-m mark ! --mark 0x1/0x1",
    "-m rpfilter",
    "-m time --datestart 2001-01-01T00:00:00 --kerneltz",
)
_INWARD = ("-i", "! -i", "-m mac", "-m policy", "-m eui64")
_IN_FIRST = ("-m rpfilter",)  # only in raw and mangle PREROUTING

REJECTS = {
    Family.IPV4: ("icmp-port-unreachable", "icmp-proto-unreachable", "icmp-admin-prohibited"),
    Family.IPV6: ("icmp6-port-unreachable", "icmp6-adm-prohibited", "icmp6-policy-fail"),
}


@dataclass(frozen=True)
class Rule:
    chain: str
    parts: tuple[str, ...]
    target: str

    @property
    def text(self) -> str:
        return " ".join(w for w in (f"-A {self.chain}", *self.parts, self.target) if w)


@dataclass(frozen=True)
class Table:
    name: str
    policies: tuple[tuple[str, str], ...]
    chains: tuple[str, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Rules:
    """One family's tables."""

    family: Family
    tables: tuple[Table, ...]

    @property
    def uses_nat(self) -> bool:
        return any(t.name == "nat" for t in self.tables)

    def text(self, nat: bool) -> str:
        """For iptables-restore. Names every table, so that it replaces all that was there; that of `nat`
        only where asked for, since an empty one switches connection tracking on."""
        by_name = {t.name: t for t in self.tables}
        out = []
        for name, bases in TABLES.items():
            if name == "nat" and not nat:
                continue
            table = by_name.get(name, Table(name, (), (), ()))
            policies = dict(table.policies)
            lines = [f"*{name}", *(f":{b} {policies.get(b, 'ACCEPT')} [0:0]" for b in bases)]
            lines += [f":{chain} - [0:0]" for chain in table.chains]
            lines += [rule.text for rule in table.rules]
            out += [*lines, "COMMIT"]
        return "\n".join(out) + "\n"

    @property
    def short(self) -> str:
        """Without the tables that say nothing."""
        blocks = self.text(self.uses_nat).split("COMMIT\n")
        kept = [b for b in blocks if "-A " in b or " DROP [" in b]
        return "".join(b + "COMMIT\n" for b in kept) or "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"

    @property
    def count(self) -> int:
        return sum(len(t.rules) for t in self.tables)


@dataclass(frozen=True)
class Dump:
    """Rules as text, in place of `Rules`. Other tables are emptied."""

    family: Family
    short: str

    @property
    def uses_nat(self) -> bool:
        return "*nat" in self.short.split()

    def text(self, nat: bool) -> str:
        return self.short.lstrip() + "".join(
            block + "COMMIT\n"
            for block in Rules(self.family, ()).text(nat).split("COMMIT\n")
            if block and block.split()[0] not in self.short.split()
        )

    @property
    def count(self) -> int:
        return self.short.count("\n-A ")


def empty(family: Family) -> Rules:
    return Rules(family, ())


def random_rules(seed: int | str, family: Family) -> Rules:
    rng = random.Random(f"{seed} {family}")
    names = ["filter"]
    names += [n for n, p in (("raw", 0.35), ("mangle", 0.35), ("security", 0.15)) if rng.random() < p]
    style = _Style(
        family,
        state=rng.choice((0, 0, 0.15, 0.4)),
        effects=rng.choice((0, 0, 0.12)),
        unknown=rng.choice((0, 0.08)),
        sets=rng.choice((0, 0, 0, 0.3)),
        outward=rng.random() < 0.35,
        long=rng.random() < 0.1,
        lists=rng.choice((0, 0, 0, 0.3)),
    )
    if style.state and rng.random() < 0.25:
        names.append("nat")
    return Rules(family, tuple(_table(rng, name, style) for name in names))


@dataclass(frozen=True)
class _Style:
    family: Family
    state: float
    effects: float
    unknown: float
    sets: float
    outward: bool
    long: bool
    lists: float


def _table(rng: random.Random, name: str, style: _Style) -> Table:
    inward = [c for c in TABLES[name] if c not in _OUTWARD]
    chains = [f"c{n}" for n in range(rng.choice((0, 0, 1, 2, 4)))]
    # The way out has chains of its own: there are no -i, MAC and the like.
    out_chains = [f"o{n}" for n in range(rng.randrange(3))] if style.outward else []
    policies = tuple(
        (base, "DROP")
        for base in inward
        if name != "nat" and rng.random() < (0.4 if base == "INPUT" else 0.1)
    )
    bases = [*inward, *(c for c in TABLES[name] if c in _OUTWARD and style.outward)]
    rules: list[Rule] = []
    for chain in [*bases, *chains, *out_chains]:
        outward = chain in _OUTWARD or chain in out_chains
        among = out_chains if outward else chains
        later = among[among.index(chain) + 1 :] if chain in among else among  # forward, so there are no loops
        most = 30 if style.long and chain == "INPUT" else 7
        for _ in range(rng.randrange(1, most)):
            tests = _tests(rng, name, chain, style, outward)
            target = _target(rng, name, chain, later, style, tests)
            if target is not None:
                rules.append(Rule(chain, tests, target))
        if not outward and name != "nat" and rng.random() < style.lists:
            at = rng.randrange(len(rules) + 1)
            rules[at:at] = [Rule(chain, *rest) for rest in listed(rng, style.family)]
        if chain == "INPUT" and style.state and rng.random() < 0.5:
            rules.insert(rng.randrange(len(rules) + 1), Rule(chain, (rng.choice(STATE[:2]),), "-j ACCEPT"))
    return Table(name, policies, (*chains, *out_chains), tuple(rules))


def _tests(rng: random.Random, table: str, chain: str, style: _Style, outward: bool) -> tuple[str, ...]:
    chosen: list[str] = []
    vocabulary = parts(style.family)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        part = rng.choice(vocabulary)
        if outward and part.startswith(_INWARD):
            continue
        taken = {w for p in chosen for w in _slots(p)}
        if part and not taken & set(_slots(part)):
            chosen.append(part)
    chosen.sort(key=lambda p: "-p" not in p.split())
    extra: list[str] = []
    if table != "raw" and rng.random() < style.state:
        extra.append(rng.choice(STATE))
    if not outward and rng.random() < style.sets:
        extra.append(rng.choice(sets.parts(style.family)))
    # On the way out they would count the kernel's own packets, such as MLD reports, which come by the clock.
    if not outward and rng.random() < style.effects:
        extra.append(rng.choice(EFFECTS).format(name=f"n{rng.randrange(2)}"))
    if rng.random() < style.unknown:
        part = rng.choice(UNKNOWN)
        if part not in _IN_FIRST or (table in ("raw", "mangle") and chain == "PREROUTING"):
            extra.append(part)
    for part in extra:
        if table == "raw" and "connlimit" in part:
            continue
        # The stored order decides what is tested first.
        chosen.insert(rng.randrange(len(chosen) + 1) if chosen else 0, part)
    return tuple(chosen)


def _slots(part: str) -> list[str]:
    """What may be said only once in a rule."""
    words = part.split()
    return [w for i, w in enumerate(words) if w.startswith("-") or (i and words[i - 1] == "-m")]


def _target(
    rng: random.Random, table: str, chain: str, chains: list[str], style: _Style, tests: tuple[str, ...]
) -> str | None:
    if table == "nat":
        return _nat_target(rng, chain, tests)
    kinds = ["ACCEPT", "ACCEPT", "DROP", "DROP", "DROP", "RETURN", "", "LOG", "MARK"]
    if chains:
        kinds += ["jump", "jump", "jump", "goto", "goto"]
    if table == "mangle":
        kinds += ["DSCP", "MARK", "TTL", "CONNMARK", "TOS"]
    if style.sets and rng.random() < 0.1:
        return rng.choice(sets.TARGETS[style.family])
    if table == "raw" and chain == "PREROUTING":
        kinds += ["NOTRACK", "CT"]
    if table == "filter" and chain in ("INPUT", "FORWARD"):
        kinds += ["REJECT"]
    kind = rng.choice(kinds)
    match kind:
        case "":
            return "-m comment --comment counts"
        case "jump" | "goto":
            return f"-{kind[0]} {rng.choice(chains)}"
        case "LOG":
            return rng.choice(("-j LOG", "-j NFLOG --nflog-group 9")) if rng.random() < 0.4 else "-j DROP"
        case "MARK":
            if table != "mangle":
                return "-j ACCEPT"
            return "-j MARK --set-xmark 0x1/0xffffffff"
        case "DSCP":
            return "-j DSCP --set-dscp 0x0a"
        case "TOS":
            return "-j TOS --set-tos 0x10/0xff"
        case "TTL":
            return f"-j {'TTL --ttl' if style.family is Family.IPV4 else 'HL --hl'}-set 65"
        case "CONNMARK":
            return rng.choice(("-j CONNMARK --set-xmark 0x1/0xffffffff", "-j CONNMARK --save-mark"))
        case "NOTRACK" | "CT":
            return "-j CT --notrack"
        case "REJECT":
            if any(p.startswith("-p tcp") for p in tests) and rng.random() < 0.5:
                return "-j REJECT --reject-with tcp-reset"
            return f"-j REJECT --reject-with {rng.choice(REJECTS[style.family])}"
    return f"-j {kind}"


def _nat_target(rng: random.Random, chain: str, tests: tuple[str, ...]) -> str | None:
    has_ports = any(p.startswith(("-p tcp", "-p udp ")) for p in tests)
    match chain:
        case "PREROUTING" | "OUTPUT":
            if has_ports and rng.random() < 0.6:
                return "-j REDIRECT --to-ports 22"
        case "POSTROUTING":
            return "-j MASQUERADE"
    return "-j ACCEPT"
