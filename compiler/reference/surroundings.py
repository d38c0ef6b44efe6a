"""What rules and host together say about conntrack, NAT and others in the way, for one family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..fields import Family
from ..host.facts import HostFacts
from ..rules.model import Ruleset, Table
from . import sets
from .matches import READS_STATE
from .targets import NAT, USES_CONNTRACK

NAT_IN_USE = "NAT may send it elsewhere"
_BOTH_WAYS = "PREROUTING reads connection state, and a forwarded flow crosses it both ways"
_OUTBOUND = ("OUTPUT", "FORWARD", "POSTROUTING")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Why no drop is certain: none at all (`nothing`), none after conntrack, none in INPUT.

    `flow`, `flow_prerouting`, `flow_input`: the same, for packets that may belong to a flow."""

    conntrack: bool
    nothing: str
    after_conntrack: str
    input: str
    flow: str = ""
    flow_prerouting: str = ""
    flow_input: str = ""
    filled: frozenset[str] = frozenset()  # ipsets that rules change


def look_around(rulesets: Sequence[Ruleset], host: HostFacts, family: Family) -> Surroundings:
    natives = [t for t in host.native_tables if t.family not in ("arp", "bridge")]
    conntrack = (
        host.conntrack_entries
        or host.nat_entries
        or any(t.uses_conntrack or t.has_nat for t in natives)
        or any(_uses_conntrack(r) for r in rulesets)
    )
    return Surroundings(
        conntrack,
        _nothing(host, family),
        _after_conntrack(rulesets, host) if conntrack else "",
        _input(host, family),
        _flow(rulesets, host) if conntrack else "",
        _BOTH_WAYS if _state_in_prerouting(rulesets, host, family) else _nat(rulesets, host),
        NAT_IN_USE if host.nat_entries or any(r.table("nat") for r in rulesets) else "",
        sets.filled(rulesets),
    )


def _nothing(host: HostFacts, family: Family) -> str:
    if host.interface.tc_ingress:
        return "a tc ingress program comes first"
    if host.interface.uppers:
        return "the interface is part of another one"
    if host.interface.vlan_children and host.interface.rxvlan is not False:
        return "a VLAN tag may travel beside the frame"
    if host.bpf_netfilter:
        return "a BPF netfilter program is attached"
    bridge = [t for t in host.native_tables if t.family == "bridge" and not t.harmless]
    if bridge and host.interface.seen_as:
        return f"native table {bridge[0].name} of the bridge comes first"
    return _native_in_the_way(host, family, "ingress", "prerouting")


def _input(host: HostFacts, family: Family) -> str:
    if any(t.has_nat for t in host.native_tables):
        return NAT_IN_USE
    return _native_in_the_way(host, family, "input")


def _after_conntrack(rulesets: Sequence[Ruleset], host: HostFacts) -> str:
    if host.conntrack_log_invalid:
        return "conntrack logs invalid packets"
    if host.helpers or any(_has_helper(r) for r in rulesets):
        return "a conntrack helper may expect it"
    return ""


def _flow(rulesets: Sequence[Ruleset], host: HostFacts) -> str:
    """A dropped packet moves its flow's state all the same, which then shows on the way out."""
    if any(t.reads_state_outbound for t in host.native_tables):
        return "a native chain reads connection state on the way out"
    for ruleset in rulesets:
        for table in ruleset.tables:
            if _reads_state_outbound(table):
                return f"table {table.name} reads connection state on the way out"
    return ""


def _native_in_the_way(host: HostFacts, family: Family, *hooks: str) -> str:
    families = ("inet", "netdev", "ip" if family is Family.IPV4 else "ip6")
    for table in host.native_tables:
        here = table.family in families and any(h.lower() in hooks for h in table.hooks)
        if here and not table.harmless:
            return f"native table {table.name} comes first"
    return ""


def _nat(rulesets: Sequence[Ruleset], host: HostFacts) -> str:
    """Its rules see the first packet of a flow, and what that is hangs on the flow's state."""
    tables = [t for r in rulesets for t in r.tables if t.name == "nat"]
    rules = any(c.rules or c.policy not in ("ACCEPT", None) for t in tables for c in t.chains)
    translated = host.nat_entries or any(t.has_nat for t in host.native_tables)
    return NAT_IN_USE if rules or translated else ""


def _uses_conntrack(ruleset: Ruleset) -> bool:
    return ruleset.table("nat") is not None or any(
        (r.target is not None and (r.target.name in USES_CONNTRACK or r.target.name in NAT))
        or any(m.name in READS_STATE for m in r.matches)
        for r in ruleset.rules()
    )


def _has_helper(ruleset: Ruleset) -> bool:
    return any(r.target is not None and r.target.option("--helper") for r in ruleset.rules())


def _state_in_prerouting(rulesets: Sequence[Ruleset], host: HostFacts, family: Family) -> bool:
    here = (r for r in rulesets if r.family is family)
    native = any(t.reads_state_prerouting for t in host.native_tables)
    return native or any(_reads_state_in_prerouting(r) for r in here)


def _reads_state_in_prerouting(ruleset: Ruleset) -> bool:
    tables = (ruleset.table(name) for name in ("mangle", "nat"))
    return any(_reads_state(t, ("PREROUTING",)) for t in tables if t is not None)


def _reads_state_outbound(table: Table) -> bool:
    return _reads_state(table, _OUTBOUND)


def _reads_state(table: Table, bases: Sequence[str]) -> bool:
    todo = [c.name for c in table.chains if c.name in bases]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        chain = table.chain(name)
        if chain is None or name in seen:
            continue
        seen.add(name)
        for rule in chain.rules:
            if any(m.name in READS_STATE or not m.known for m in rule.matches):
                return True
            if rule.target is not None:
                if rule.target.name in ("CONNSECMARK", "SYNPROXY") or rule.target.option("--restore-mark"):
                    return True
                todo.append(rule.target.name)
    return False
