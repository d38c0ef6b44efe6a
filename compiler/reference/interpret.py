"""Walk the rules for one frame as netfilter would, in every world that the maybes leave open.

This is the judge of the compiler, so it shares nothing with decisions/, passes/ and emit/, and is
written for being read, not for speed. docs/semantics.md says why each condition is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from ..fields import Family
from ..host.facts import HostFacts
from ..rules.model import Ruleset
from .connection import Entry, State, leaving_conntrack
from .outcome import Outcome, Verdict, undecided
from .packet import UDP, Packet, Unreadable, parse
from .surroundings import look_around
from .walk import Hook, Walk

__all__ = ["HOOKS", "Judge", "Outcome", "Verdict", "interpret"]

#: In the order that a packet for this host meets them.
HOOKS = (
    ("raw", "PREROUTING"),
    ("mangle", "PREROUTING"),
    ("nat", "PREROUTING"),
    ("mangle", "INPUT"),
    ("filter", "INPUT"),
    ("security", "INPUT"),
    ("nat", "INPUT"),
)


def interpret(
    rulesets: Sequence[Ruleset],
    frame: bytes,
    host: HostFacts,
    interface: str | None,
    *,
    entry: Entry = Entry.UNKNOWN,
    state: State | None = None,
) -> Outcome:
    """What netfilter does with `frame`, which arrives at `interface`, as far as it is certain.

    `entry`: what is known of conntrack's table. With Entry.NONE an outcome holds only for a packet of
    which it has no entry; for one that can't be looked up that says nothing. `state`: what the packet
    counts as once it has passed conntrack, if that is known."""
    return Judge(rulesets, host, interface).outcome(frame, entry=entry, state=state)


class Judge:
    """`interpret` for many frames under the same rules."""

    def __init__(
        self,
        rulesets: Sequence[Ruleset],
        host: HostFacts,
        interface: str | None,
        limited: frozenset[str] = frozenset(),
    ) -> None:
        """`limited`: effects that count as none, as the kernel limits them: "replies" by ICMP to REJECT,
        and "logs" behind `limit`."""
        self.host, self.interface, self.limited = host, interface, limited
        self.around = {f: look_around(rulesets, host, f) for f in Family}
        # Two back ends at one hook: neither order is sure.
        self.hooks = {
            f: [_hooks(order) for order in permutations([r for r in rulesets if r.family is f])]
            for f in Family
        }

    def outcome(self, frame: bytes, *, entry: Entry = Entry.UNKNOWN, state: State | None = None) -> Outcome:
        """As `interpret`."""
        try:
            packet = parse(frame)
        except Unreadable as e:
            return undecided(str(e))
        around = self.around[packet.family]
        why = _why_never(packet, self.host) or around.nothing
        if why:
            return undecided(why)
        leaving = leaving_conntrack(packet, self.host, entry, state)
        outcomes = [
            Walk(hooks, packet, self.host, self.interface, around, leaving, self.limited).run()
            for hooks in self.hooks[packet.family]
        ]
        verdicts = {o.verdict for o in outcomes}
        return outcomes[0] if len(verdicts) == 1 else undecided("the order of two back ends matters")


def _hooks(rulesets: Sequence[Ruleset]) -> list[Hook]:
    return [
        (table, chain)
        for name, chain in HOOKS
        for table in (r.table(name) for r in rulesets)
        if table is not None and table.chain(chain) is not None
    ]


def _why_never(packet: Packet, host: HostFacts) -> str:
    """Why no rule decides such a packet, in any hook."""
    own = int(host.interface.mac.replace(":", ""), 16) if host.interface.mac else None
    if packet.pkttype == 0:
        if own is None:
            return "the interface's MAC is not known"
        if packet.mac_dst != own:
            return "for another MAC"
    elif host.interface.mac_children or not host.interface.children_complete:
        return "children of the interface get a copy"
    if packet.hop_options:
        return "hop-by-hop options come before every hook"
    to_port = int.from_bytes(packet.l4[2:4]) if packet.protocol == UDP and not packet.later_fragment else 0
    return "DHCP" if to_port in (67, 68) else ""
