"""What can be seen of one kind of packet, at one hook, on one host.

A decision list is made for each kind: IPv4, IPv4 fragment, IPv6, IPv6 fragment. A field that the
view cannot read, or that does not bind there, turns a test on it into maybe; this is the one place
that says so (docs/semantics.md: fragments, GRO, connection state).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from ..fields import FIELDS, Family
from ..host.facts import PLAIN_HOST, HostFacts
from ..intervals import IntervalSet
from ..rules.model import Variant
from .condition import EVERYTHING, NOTHING, Condition, Cube

FIN_PSH = 0x09
NEVER_MERGED = 0x26  # SYN, RST, URG
HAS_DATA = 0x100


class Kind(StrEnum):
    """The packets that one decision list is for."""

    IPV4 = "ipv4"
    IPV4_FRAGMENT = "ipv4_fragment"
    IPV6 = "ipv6"
    IPV6_FRAGMENT = "ipv6_fragment"
    # Whole TCP and UDP packets of which conntrack has no entry: asked last, and checked by a look-up.
    IPV4_NO_ENTRY = "ipv4_no_entry"
    IPV6_NO_ENTRY = "ipv6_no_entry"

    family: Family
    is_fragment: bool
    no_entry: bool

    def __init__(self, value: str) -> None:
        self.family = Family.IPV4 if value.startswith("ipv4") else Family.IPV6
        self.is_fragment = value.endswith("_fragment")
        self.no_entry = value.endswith("_no_entry")


@dataclass(frozen=True, slots=True)
class View:
    """`interface`: the name that `-i` compares with, None when not known (then `-i` is maybe).

    `flow_only`: after conntrack on a host that tracks: only fields that are constant in a flow may
    decide, since a drop that treats packets of one flow differently changes the flow's state.
    `one_interface`: no other interface can bring the flow, so `-i` is constant in it too.
    `no_entry`: after conntrack, which has no entry for the packet: its state is NEW or INVALID, nothing
    that is done to it moves a flow, and so every field may decide.
    `tcp_loose`: nf_conntrack_tcp_loose, a lone ACK may start a connection.
    `before_conntrack`: in raw, where a packet has no connection yet.
    `ctstate`: the state of its connection where that is known: NEW, INVALID or UNTRACKED.
    `tainted`: fields that an earlier target may have changed ("mark" included).
    `changing_sets`: ipsets that rules fill or empty. `host`: for matches that ask about it.
    """

    kind: Kind
    variant: Variant = Variant.UNKNOWN
    interface: str | None = None
    hook: str = "INPUT"
    flow_only: bool = False
    one_interface: bool = True
    gro: bool = True
    no_entry: bool = False
    tcp_loose: bool = True
    before_conntrack: bool = False
    ctstate: str = ""
    tainted: frozenset[str] = field(default=frozenset())
    changing_sets: frozenset[str] = frozenset()
    host: HostFacts = field(default=PLAIN_HOST, compare=False, repr=False)

    @property
    def family(self) -> Family:
        return self.kind.family

    def without(self, fields: frozenset[str]) -> View:
        return self if fields <= self.tainted else replace(self, tainted=self.tainted | fields)

    def when(self, ctstate: str) -> View:
        """In a world where this is the state. What is not tracked is in no flow."""
        if ctstate == self.ctstate:
            return self
        return replace(self, ctstate=ctstate, flow_only=self.flow_only and ctstate != "UNTRACKED")

    def unreadable(self, name: str) -> str:
        """Why a test of this field is maybe here; "" when it is certain."""
        if self.kind is Kind.IPV6_FRAGMENT and name == "proto":
            return "a later IPv6 fragment does not say its protocol"
        if self.kind.is_fragment and not FIELDS[name].in_fragments:
            return "a fragment is judged by source, destination and protocol only"
        if name in self.tainted:
            return f"an earlier target may have changed {name}"
        if self.flow_only and not FIELDS[name].flow_constant:
            return f"connections are tracked, and {name} varies within one"
        if name == "length" and self.gro:
            return "GRO merges segments before netfilter sees their length"
        return ""

    def test(self, name: str, allowed: IntervalSet) -> Condition:
        """The field lies in `allowed`, as far as this view can tell."""
        bits = FIELDS[name].width(self.family)
        allowed = allowed & IntervalSet.full(bits)
        if allowed.is_full(bits):
            return Condition()
        if not allowed:
            return Condition(NOTHING, NOTHING)
        why = self.unreadable(name)
        if why:
            return Condition(NOTHING, EVERYTHING, (why,))
        if name == "tcp_flags" and self.gro:
            return _merged_flags(allowed)
        return Condition.certain([Cube(((name, allowed),))])


@lru_cache(maxsize=256)  # the same few tests come again and again, and it tries 512 values
def _merged_flags(allowed: IntervalSet) -> Condition:
    """GRO gives a merged segment the FIN and PSH of the last one: both are unknown on data."""
    yes, may = [], []
    for value in range(1 << FIELDS["tcp_flags"].bits):
        variants = {value}
        if value & HAS_DATA:
            variants = {value & ~FIN_PSH | x for x in (0, 1, 8, 9)}
        if all(v in allowed for v in variants):
            yes.append(value)
        if any(v in allowed for v in variants):
            may.append(value)
    why = () if yes == may else ("GRO merges data segments and with them FIN and PSH",)

    def region(values: list[int]) -> tuple[Cube, ...]:
        cube = Cube.of({"tcp_flags": IntervalSet.of(*values)})
        return (cube,) if cube else NOTHING

    return Condition(region(yes), region(may), why)
