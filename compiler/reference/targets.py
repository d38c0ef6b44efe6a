"""What each target means to the judge. What is not listed here leaves the packet to netfilter."""

from __future__ import annotations

from ..rules.model import Target

#: Targets that change only the packet, and what of it.
CHANGES: dict[str, frozenset[str]] = {
    "MARK": frozenset({"mark"}),
    "HMARK": frozenset({"mark"}),
    "CLASSIFY": frozenset(),
    "CHECKSUM": frozenset(),
    "DSCP": frozenset({"tos"}),
    "TOS": frozenset({"tos"}),
    "ECN": frozenset({"tos", "tcp"}),
    "TTL": frozenset({"ttl"}),
    "HL": frozenset({"ttl"}),
    "TCPMSS": frozenset({"tcp", "length"}),
    "TCPOPTSTRIP": frozenset({"tcp"}),
}
NAT = frozenset(("DNAT", "SNAT", "REDIRECT", "MASQUERADE", "NETMAP", "TPROXY"))
#: These write to the packet's connection: nothing is left of that where the packet started it and is dropped.
WRITES_CONNECTION = frozenset(("CONNMARK", "CONNSECMARK"))
#: These make conntrack active in a namespace.
USES_CONNTRACK = frozenset(("CT", "NOTRACK", "CONNMARK", "CONNSECMARK", "SYNPROXY"))


def changes(target: Target) -> frozenset[str] | None:
    """What the target may rewrite in the packet; None if it does more than that."""
    if target.name == "CONNMARK" and target.option("--restore-mark"):
        return frozenset({"mark"})
    if target.name == "NOTRACK" or (target.name == "CT" and _only_notrack(target)):
        return frozenset()
    return CHANGES.get(target.name)


def _only_notrack(target: Target) -> bool:
    return [o.name for o in target.options] == ["--notrack"]
