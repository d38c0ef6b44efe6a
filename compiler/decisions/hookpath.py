"""The chains that a packet for this host crosses, in order, and what holds on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..fields import Family
from ..host.facts import HostFacts
from ..host.finding import Finding, Scope
from ..matches.condition import Region
from ..matches.lower_set import changing_sets
from ..matches.table import MATCHES, TARGETS
from ..matches.view import FIN_PSH, Kind, View
from ..rules.model import Chain, Rule, Ruleset
from .early import taken_early

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
_BOTH_WAYS = "PREROUTING reads connection state, and a forwarded flow crosses it both ways"
_TRANSLATES = (
    "NAT is in use: when its rules see a flow again hangs on what a dropped packet does to its state"
)
_NAT_FIRST = "only the first packet of a flow crosses nat, and XDP does not know which is"


@dataclass(frozen=True, slots=True)
class Stop:
    """One base chain on the path, with what can be seen while it is crossed."""

    table: str
    chain: Chain
    view: View
    input: bool
    after_conntrack: bool
    no_drops: str = ""  # why a drop here decides nothing
    taken: Region = ()  # packets that never get here, whatever the rules say


def rule_uses_conntrack(rule: Rule) -> bool:
    target = TARGETS.get(rule.target.name) if rule.target else None
    return bool(target and target.uses_conntrack) or rule_reads_state(rule)


_READING_TARGETS = ("CONNSECMARK", "SYNPROXY")


def rule_reads_state(rule: Rule) -> bool:
    """An unknown match counts: it might. So does the mark of a connection, once the packet has it."""
    target = rule.target
    if target is not None and (
        target.name in _READING_TARGETS
        or (target.name == "CONNMARK" and target.option("--restore-mark") is not None)
    ):
        return True
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
    ruleset: Ruleset,
    rulesets: tuple[Ruleset, ...],
    host: HostFacts,
    kind: Kind,
    kept: tuple[Finding, ...] = (),
) -> tuple[Stop, ...]:
    """`ruleset` is the one of the kind's family; `rulesets` are all of the namespace."""
    tracked = tracks_connections(rulesets, host)
    if kind.no_entry and (not tracked or host.no_conntrack_lookup):
        return ()
    base = View(
        kind=kind,
        variant=ruleset.variant,
        interface=host.interface.name or None,
        one_interface=not host.other_interfaces,
        gro=host.interface.gro is not False,
        tcp_loose=host.tcp_loose,
        changing_sets=changing_sets(rulesets, host.ipsets),
        host=host,
    )
    here = [f for f in kept if f.concerns(kind.family)]
    # What a drop would change in a flow does not concern a packet that belongs to none.
    in_flow = tracked and not kind.no_entry
    # Another port may have brought the packet ahead of this one, whose program has left no stamp here.
    spread = bool(host.interface.seen_as) and host.interface.kind in ("bond", "team")
    after = _expects(rulesets) if tracked else ""
    after = after or (_outbound(rulesets, host) if in_flow else "")
    inward = _input(ruleset, rulesets, host, kind)
    both_ways = _prerouting_reads_state(ruleset, host) or _translates(rulesets, host) if in_flow else ""
    stops = []
    for table_name, chain_name in PATH:
        table = ruleset.table(table_name)
        chain = table.chain(chain_name) if table else None
        if chain is None:
            continue
        raw, is_input = table_name == "raw", chain_name == "INPUT"
        scopes = {Scope.NO_DROPS}
        scopes |= set() if raw else {Scope.NO_DROPS_AFTER_CONNTRACK}
        scopes |= {Scope.NO_INPUT_DROPS} if is_input else set()
        reasons = [f"{f.id}: {f.text}" for f in here if f.scope in scopes]
        reasons += [] if raw else [after]
        reasons += [inward] if is_input else []
        reasons += [_NAT_FIRST] if table_name == "nat" else []
        reasons += [both_ways] if chain_name == "PREROUTING" and not raw else []
        flow = tracked and not raw
        no_entry = flow and kind.no_entry
        constant = flow and (in_flow or spread)
        view = replace(base, hook=chain_name, flow_only=constant, no_entry=no_entry, before_conntrack=raw)
        if no_entry:
            view = replace(view, one_interface=True)
        why = next((r for r in reasons if r), "")
        stops.append(Stop(table_name, chain, view, is_input, not raw, why, taken_early(view, host)))
    return tuple(stops)


def _expects(rulesets: tuple[Ruleset, ...]) -> str:
    """A dropped packet would have used the expectation up; an expected one is RELATED."""
    if any(_has_helper(r) for s in rulesets for r in s.rules()):
        return "a connection helper may expect this packet"
    return ""


def _outbound(rulesets: tuple[Ruleset, ...], host: HostFacts) -> str:
    """Why a drop in a flow is not certain: what netfilter drops still moves the flow's state."""
    if _reads_state_outbound(rulesets, host):
        return "an outbound chain reads connection state, which a dropped packet would have changed"
    return ""


def _prerouting_reads_state(ruleset: Ruleset, host: HostFacts) -> str:
    """A forwarded flow crosses PREROUTING in both directions: a drop in one changes the state that the
    other shows there. User chains count, whoever calls them."""
    for table in ruleset.tables:
        rules = (r for r in table.rules() if r.chain not in ("INPUT", *OUTBOUND))
        if table.name in ("mangle", "nat") and any(rule_reads_state(r) for r in rules):
            return _BOTH_WAYS
    return _BOTH_WAYS if any(t.reads_state_prerouting for t in host.native_tables) else ""


def _translates(rulesets: tuple[Ruleset, ...], host: HostFacts) -> str:
    """nat's rules are for the first packet of a flow, so they read state: an entry that lives on keeps a
    flow's translation, one that is gone gets another. Drops in INPUT have a reason of their own (_input)."""
    tables = [t for t in (s.table("nat") for s in rulesets) if t is not None]
    by_rules = any(c.rules or c.policy == "DROP" for t in tables for c in t.chains)
    return _TRANSLATES if by_rules or host.nat_entries or any(t.has_nat for t in host.native_tables) else ""


def _input(ruleset: Ruleset, rulesets: tuple[Ruleset, ...], host: HostFacts, kind: Kind) -> str:
    """Why no drop in INPUT is certain."""
    # A packet without an entry is no reply to a translated flow; what our rules would translate has passed.
    native = any(t.has_nat for t in host.native_tables)
    if native or (not kind.no_entry and (host.nat_entries or any(s.table("nat") for s in rulesets))):
        return "NAT is in use: a reply to a translated flow looks like a packet for this host"
    by_tos = host.tos_rules4 if kind.family is Family.IPV4 else host.tos_rules6
    if by_tos and any(_changes_tos(r) for t in ruleset.tables for r in t.rules()):
        return "packets are routed by tos, and a rule rewrites it"
    return ""


def _changes_tos(rule: Rule) -> bool:
    target = TARGETS.get(rule.target.name) if rule.target else None
    return target is not None and "tos" in target.changes


def _has_helper(rule: Rule) -> bool:
    return rule.target is not None and rule.target.name == "CT" and rule.target.option("--helper") is not None


def reads_merged_fields(ruleset: Ruleset) -> bool:
    """Whether a verdict can hang on what GRO changes: length, FIN, PSH (then switching GRO matters)."""
    for rule in ruleset.rules():
        for match in rule.matches:
            if match.name in ("length", "u32", "bpf", "connbytes") or not match.known:
                return True
            flags = match.option("--tcp-flags")
            if flags is not None and flags.value[0] & FIN_PSH:
                return True
    return False
