"""The matches on IPv6 extension headers: ip6t_ipv6header.c, ip6t_frag.c, ip6t_hbh.c, ip6t_rt.c."""

from __future__ import annotations

from itertools import combinations

from ..rules.model import Match
from .answers import Answer, Sight, known
from .packet import DSTOPTS, ESP, FRAGMENT, HOPOPTS, NONE, ROUTING

# ip6t_ipv6header.h
_BITS = {HOPOPTS: 0x80, DSTOPTS: 0x40, ROUTING: 0x20, FRAGMENT: 0x10}
_ESP_BIT, _NONE_BIT, _PROTO_BIT = 0x04, 0x02, 0x01
_NAMES = {
    **dict.fromkeys(("hop", "hop-by-hop", "0"), 0x80),
    **dict.fromkeys(("dst", "ipv6-opts", "60"), 0x40),
    **dict.fromkeys(("route", "ipv6-route", "43"), 0x20),
    **dict.fromkeys(("frag", "ipv6-frag", "44"), 0x10),
    **dict.fromkeys(("auth", "ah", "51"), 0x08),
    **dict.fromkeys(("esp", "50"), 0x04),
    **dict.fromkeys(("none", "ipv6-nonxt", "59"), 0x02),
    **dict.fromkeys(("prot", "proto", "protocol", "255"), 0x01),
}


def ipv6header(match: Match, sight: Sight) -> Answer:
    option = match.option("--header")
    if option is None or not option.words:
        return Answer.MAYBE
    wanted = 0
    for name in ",".join(w.text for w in option.words).split(","):
        if name not in _NAMES:
            return Answer.MAYBE
        wanted |= _NAMES[name]
    if match.option("--soft") and wanted == _BITS[FRAGMENT] and not sight.packet.fragment:
        return known(option.negated)  # whole, and joined where connections are tracked
    last = {ESP: _ESP_BIT, NONE: _NONE_BIT}.get(sight.packet.protocol, _PROTO_BIT)
    if sight.reads("exthdr"):
        chains = [sum({_BITS[extension] for extension in sight.packet.extensions})]
    elif sight.packet.fragment:
        return Answer.MAYBE
    else:  # what is in front of that protocol is not known, and may still not matter
        chains = [sum(bits) for size in range(5) for bits in combinations((0x80, 0x40, 0x20, 0x08), size)]
    soft, inverted = match.option("--soft"), 0xFF if option.negated else 0
    answers = {
        not ((chain | last) ^ wanted ^ inverted) & wanted
        if soft
        else (chain | last == wanted) != option.negated
        for chain in chains
    }
    return known(answers.pop()) if len(answers) == 1 else Answer.MAYBE


def frag(match: Match, sight: Sight) -> Answer:
    """No header, no match, whatever the options say and whether they are inverted. The other packets of a
    flow have none either: where connections are tracked, fragments have been joined."""
    return Answer.MAYBE if sight.packet.fragment else Answer.NO


def header_present(match: Match, sight: Sight) -> Answer:
    wanted = {"hbh": HOPOPTS, "dst": DSTOPTS, "rt": ROUTING}[match.name]
    if not sight.reads("exthdr"):
        return Answer.MAYBE
    if wanted not in sight.packet.extensions:
        return Answer.NO
    return Answer.MAYBE if match.options else Answer.YES
