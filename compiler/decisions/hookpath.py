"""The chains that a packet for this host crosses, in order, and what holds on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..host.facts import HostFacts
from ..matches.table import MATCHES, TARGETS
from ..matches.view import Kind, View
from ..rules.model import Chain, Rule, Ruleset

#: nf_ip_hook_priorities; nat is crossed by the first packet of a flow only.
PATH = (
    ("raw", "PREROUTING"),
    ("mangle", "PREROUTING"),
    ("nat", "PREROUTING"),
    ("mangle", "INPUT"),
    ("filter", "INPUT"),
    ("security", "INPUT"),
)
OUTBOUND = frozenset({"OUTPUT", "FORWARD", "POSTROUTING"})


@dataclass(frozen=True, slots=True)
class Stop:
    """One base chain on the path, with what can be seen while it is crossed."""

    table: str
    chain: Chain
    view: View
    input: bool
    after_conntrack: bool
    no_drops: str = ""  # why a drop here decides nothing


def rule_uses_conntrack(rule: Rule) -> bool:
    target = TARGETS.get(rule.target.name) if rule.target else None
    return bool(target and target.uses_conntrack) or rule_reads_state(rule)


def rule_reads_state(rule: Rule) -> bool:
    """An unknown match counts: it might."""
    return any(m.name not in MATCHES or MATCHES[m.name].reads_conntrack for m in rule.matches)


def tracks_connections(rulesets: tuple[Ruleset, ...], host: HostFacts) -> bool:
    """Whether conntrack is in use in the namespace. A nat table registers its hooks even when empty.

    IPv4 and IPv6 are counted together: more conntrack only means fewer drops.
    """
    by_rules = any(
        t.name == "nat" or any(rule_uses_conntrack(r) for r in t.rules()) for s in rulesets for t in s.tables
    )
    return by_rules or host.conntrack_entries or any(t.uses_conntrack for t in host.native_tables)


def _reads_state_outbound(rulesets: tuple[Ruleset, ...], host: HostFacts) -> bool:
    """User chains are counted as outbound when the table has an outbound base chain with rules."""
    for ruleset in rulesets:
        for table in ruleset.tables:
            if not any(c.name in OUTBOUND and c.rules for c in table.chains):
                continue
            if any(rule_reads_state(r) for r in table.rules() if r.chain not in ("PREROUTING", "INPUT")):
                return True
    return any(t.reads_state_outbound for t in host.native_tables)


def hook_path(
    ruleset: Ruleset, rulesets: tuple[Ruleset, ...], host: HostFacts, kind: Kind
) -> tuple[Stop, ...]:
    """`ruleset` is the one of the kind's family; `rulesets` are all of the namespace."""
    tracked = tracks_connections(rulesets, host)
    base = View(
        kind=kind,
        variant=ruleset.variant,
        interface=host.interface.name or None,
        one_interface=not host.other_interfaces,
        gro=host.interface.gro is not False,
        conntrack=tracked,
    )
    nat = host.nat_entries or any(t.has_nat for t in host.native_tables)
    nat = nat or any(s.table("nat") for s in rulesets)
    after = ""
    if tracked and _reads_state_outbound(rulesets, host):
        after = "an outbound chain reads connection state, which a dropped packet would have changed"
    helper = next((_helper_line(r) for s in rulesets for r in s.rules() if _helper_line(r)), "")
    if tracked and (host.helpers or helper):
        after = "a connection helper may expect this packet"
    stops = []
    for table_name, chain_name in PATH:
        table = ruleset.table(table_name)
        chain = table.chain(chain_name) if table else None
        if chain is None:
            continue
        raw, is_input = table_name == "raw", chain_name == "INPUT"
        view = replace(base, hook=chain_name, flow_only=tracked and not raw)
        why = "" if raw else after
        if not why and is_input and nat:
            why = "NAT is in use: a reply to a translated flow looks like a packet for this host"
        stops.append(Stop(table_name, chain, view, is_input, not raw, why))
    return tuple(stops)


def _helper_line(rule: Rule) -> str:
    if rule.target and rule.target.name == "CT":
        return next((o.name for o in rule.target.options if o.name == "--helper"), "")
    return ""
