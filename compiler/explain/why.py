"""Why a match on a packet that is there says maybe, in words."""

from __future__ import annotations

from ..matches.table import MATCHES
from ..reference.answers import Sight
from ..reference.matches import remembers
from ..rules.model import UNKNOWN, Match

#: What earlier targets may change of what a match reads.
_CHANGED = {
    "ttl": "ttl", "hl": "ttl", "tos": "tos", "dscp": "tos", "ecn": "tos", "length": "length", "tcp": "tcp",
    "mark": "mark",
}  # fmt: skip


def why_maybe(match: Match, sight: Sight) -> str:
    spec = MATCHES.get(match.name)
    if match.name == UNKNOWN:
        return "no match on this rule has it"
    if spec is None or not match.known:
        return f"the match {match.name!r} is not known"
    named = match.option("--match-set") if match.name == "set" else None
    if named is not None and named.words and not _known_set(named.words[0].text, sight):
        return f"the set {named.words[0].text} is not known (--ipset)"
    if remembers(match, sight):
        return f"it {spec.maybe_because}" if spec.maybe_because else "it counts or remembers what it meets"
    if match.name in ("state", "conntrack") and match.options:
        if match.options[0].name in ("--state", "--ctstate"):
            return "the connection's state is not given (`state new`)"
        return "it asks for more than the state of the connection"
    changed = _CHANGED.get(match.name)
    if changed in sight.changed:
        return f"an earlier target may have changed the {changed}"
    if sight.packet.fragment and (match.name != "ip" or match.option("-p") is not None):
        return "a fragment is joined with its datagram first"
    if match.name == "ip" and any(o.name == "-i" for o in match.options) and sight.interface is None:
        return "the interface is not given (-i)"
    if match.name in ("length", "tcp") and sight.host.interface.gro is not False:
        return "GRO may have merged it with others"
    return spec.maybe_because or "the packet alone does not tell"


def _known_set(name: str, sight: Sight) -> bool:
    return any(s.name == name for s in sight.host.ipsets or ())
