"""How matches on IPv6 extension headers become conditions."""

from __future__ import annotations

from ..intervals import IntervalSet
from ..rules.model import Match
from .condition import NO, NOTHING, Condition
from .lower import ESP
from .view import View

#: Bits of the field `exthdr`: what the program walks.
HOP, ROUTE, DST = 1, 2, 4


def exthdr_present(bit: int, view: View) -> Condition:
    return view.test("exthdr", IntervalSet.of(*(v for v in range(8) if v & bit)))


def _presence(bit: int):  # type: ignore[no-untyped-def]
    def lower(match: Match, view: View) -> Condition:
        present = exthdr_present(bit, view)
        if match.options:  # lengths, types, options: not read
            return Condition(NOTHING, present.may, ("details of extension headers are not read",))
        return present

    return lower


hbh, rt, dst = _presence(HOP), _presence(ROUTE), _presence(DST)


#: ip6t_ipv6header.h: by name, and by bit of `exthdr`.
_HEADER_FLAGS = {
    **dict.fromkeys(("hop", "hop-by-hop", "0"), 0x80),
    **dict.fromkeys(("dst", "ipv6-opts", "60"), 0x40),
    **dict.fromkeys(("route", "ipv6-route", "43"), 0x20),
    **dict.fromkeys(("frag", "ipv6-frag", "44"), 0x10),
    **dict.fromkeys(("auth", "ah", "51"), 0x08),
    **dict.fromkeys(("esp", "50"), 0x04),
    **dict.fromkeys(("none", "ipv6-nonxt", "59"), 0x02),
    **dict.fromkeys(("prot", "proto", "protocol", "255"), 0x01),
}
_WALKED_FLAGS = {HOP: 0x80, ROUTE: 0x20, DST: 0x40}
NO_NEXT_HEADER = 59


def ipv6header(match: Match, view: View) -> Condition:
    """ipv6header_mt6: what was walked, and what ended the walk: ESP, no next header, or a protocol."""
    option = match.option("--header")
    listed = ",".join(w.text for w in option.words).split(",") if option else []
    if option is None or view.kind.is_fragment or any(name not in _HEADER_FLAGS for name in listed):
        return Condition.maybe("the set of extension headers is not known")
    wanted = sum({_HEADER_FLAGS[name] for name in listed})  # one header may be listed by two names
    inverted = 0xFF if option.negated else 0
    soft = match.option("--soft") is not None
    ends = {0x04: IntervalSet.of(ESP), 0x02: IntervalSet.of(NO_NEXT_HEADER)}
    ends[0x01] = IntervalSet.of(ESP, NO_NEXT_HEADER).complement(8)
    yes, may = NOTHING, NOTHING
    why: tuple[str, ...] = ()
    for end_flag, protocols in ends.items():
        values = []
        for value in range(8):
            found = end_flag | sum(flag for bit, flag in _WALKED_FLAGS.items() if value & bit)
            hit = not (found ^ wanted ^ inverted) & wanted if soft else (found == wanted) != option.negated
            values += [value] if hit else []
        part = view.test("exthdr", IntervalSet.of(*values)) & view.test("proto", protocols)
        yes, may, why = yes + part.yes, may + part.may, why + part.why
    return Condition(yes, may, tuple(dict.fromkeys(why)))


def frag(match: Match, view: View) -> Condition:
    if not view.kind.is_fragment:
        # An atomic fragment (offset 0, no more) counts as a fragment here, so there is none.
        return NO
    return Condition.maybe("a fragment is judged by source, destination and protocol only")
