"""Budgets: how many packets pass for the sake of a reply or a log line that the kernel limits itself.

In a flood most rejected packets get no ICMP error already, and a LOG behind `limit` logs few of them. So
such packets are passed only up to several times what the kernel would use, for each source, and dropped
beyond. Statistically, not exactly, equivalent: off unless asked for (docs/semantics.md, budgets).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..fields import Family
from ..host.facts import HostFacts
from ..matches.silence import by_icmp
from ..matches.spec import Effect
from ..matches.table import MATCHES
from ..matches.view import Kind
from ..rules.model import Rule, Target
from .model import Allowance

SECOND = 1_000_000_000
#: Times the kernel's own rate and burst: what else it limits (inet_peer_xrlim_allow) must stay the scarcer.
RATE, BURST = 10, 2
PEER_BURST = 6  # XRLIM_BURST_FACTOR
#: icmpv6_xrlim_allow divides its interval by up to 16 for wide routes, and in jiffies: below this many ms
#: nothing may be left of it. Above, rounding down may have halved it.
LEAST_MS6, SHARE6 = 160, 32
REPLY_FACTS = frozenset(
    {
        "icmp_ratelimit4",
        "icmp_limited4",
        "icmp_ratelimit6",
        "icmp_limited6",
        "icmp_msgs_per_sec",
        "icmp_msgs_burst",
    }
)
LOGS = frozenset({"LOG", "NFLOG", "ULOG"})
#: Limited log rules that one packet may meet. Every subset is a state of the walk.
MOST_LOGS = 2


@dataclass(frozen=True, slots=True)
class Budgets:
    """What was asked for: packets a second for each source, at least; 0: as the kernel's limits say;
    None: no budget."""

    reject: int | None = None
    log: int | None = None

    @property
    def effects(self) -> frozenset[str]:
        """What is limited, in the judge's words (reference/interpret.py)."""
        asked = (("replies", self.reject), ("logs", self.log))
        return frozenset(word for word, budget in asked if budget is not None)

    @property
    def facts(self) -> frozenset[str]:
        """The host facts that a program with these budgets rests on."""
        return REPLY_FACTS if self.reject is not None else frozenset()


NO_BUDGETS = Budgets()


def parse_budget(text: str) -> int | None:
    """ "" (off), "auto" or packets a second. Raises ValueError with a message for the user."""
    if not text:
        return None
    if text == "auto":
        return 0
    if text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000:
        return int(text)
    raise ValueError(f"{text!r} is neither auto nor a number of packets a second, 1 to 1000000")


@dataclass(frozen=True, slots=True)
class Allowances:
    """The budgets as they hold for one kind of packet."""

    family: Family = Family.IPV4
    reply: Allowance | None = None
    log: int | None = None

    def of_reply(self, target: Target) -> Allowance | None:
        """A TCP reset is not limited by the kernel, so nothing can be said of one."""
        return self.reply if by_icmp(target, self.family) else None

    def of_log(self, rule: Rule, met: tuple[Allowance, ...]) -> Allowance | None:
        """Where `limit` leads to nothing but a line in the log."""
        if self.log is None or rule.target is None or rule.target.name not in LOGS or not rule.target.known:
            return None
        limits = [m for m in rule.matches if m.name == "limit"]
        others = [m for m in rule.matches if m.name != "limit"]
        if not limits or not all(m.known for m in limits) or any(_remembers(m.name, m.known) for m in others):
            return None
        rates = [m.option("--limit") for m in limits]
        bursts = [m.option("--limit-burst") for m in limits]
        if any(o is not None and not o.value for o in (*rates, *bursts)):
            return None
        # xt_limit: 3/hour and 5, unless given.
        interval = min(r.value if r else 1200 * SECOND for r in rates)
        burst = max(b.value if b else 5 for b in bursts)
        name = f"log {rule.table} {rule.chain} {rule.number} {self.family}"
        line = _at_least(self.log, Allowance(name, interval // RATE, burst * BURST))
        logs = {a for a in met if a.name.startswith("log ")} | {line}
        return line if len(logs) <= MOST_LOGS else None


def _remembers(name: str, known: bool) -> bool:
    spec = MATCHES.get(name)
    return not known or spec is None or spec.effect is Effect.REMEMBERS or spec.trace is not None


NO_ALLOWANCES = Allowances()


def allowances(budgets: Budgets, host: HostFacts, kind: Kind) -> Allowances:
    """Fragments have none: their checksum, without which nobody is charged, is that of the whole."""
    if kind.is_fragment:
        return NO_ALLOWANCES
    return Allowances(kind.family, reply_allowance(budgets, host, kind.family), budgets.log)


def reply_allowance(budgets: Budgets, host: HostFacts, family: Family) -> Allowance | None:
    """None where not asked for, or where the kernel limits nothing, so that every reply counts."""
    if budgets.reject is None:
        return None
    name, limits = f"reply {family}", []
    if family is Family.IPV4:
        limited, interval = host.icmp_limited4, host.icmp_ratelimit4
    else:
        limited, interval = (
            host.icmp_limited6,
            host.icmp_ratelimit6 if host.icmp_ratelimit6 >= LEAST_MS6 else 0,
        )
    if not limited:
        return None
    share = RATE if family is Family.IPV4 else RATE * SHARE6
    if interval:
        limits.append(Allowance(name, interval * 1_000_000 // share, PEER_BURST * BURST))
    elif host.icmp_msgs_per_sec:  # for all destinations together
        rate = host.icmp_msgs_per_sec * RATE
        limits.append(Allowance(name, SECOND // rate, max(host.icmp_msgs_burst, PEER_BURST) * BURST))
    return _at_least(budgets.reject, limits[0]) if limits else None


def _at_least(rate: int, least: Allowance) -> Allowance:
    """What the user asked for, where that is more."""
    return least._replace(interval_ns=min(least.interval_ns, SECOND // rate)) if rate else least
