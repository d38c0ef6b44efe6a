"""Raw options to a typed rule: which match or target an option belongs to, by the match table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..fields import Family
from ..matches.spec import MatchSpec, OptionSpec, TargetSpec
from ..source import Diagnostic, Span
from .model import Match, Option, Rule, Target
from .syntax import RawLine, RawOption

#: -p NAME makes iptables look for the match of that name without a -m.
IMPLICIT = {
    6: "tcp", 17: "udp", 1: "icmp", 58: "icmp6", 132: "sctp", 33: "dccp", 136: "udplite",
    50: "esp", 51: "ah", 135: "mh",
}  # fmt: skip
MATCH_ALIASES = {"icmpv6": "icmp6", "ipv6-icmp": "icmp6"}
_PLACE = {"-m": "match", "--match": "match", "-j": "jump", "--jump": "jump", "-g": "goto", "--goto": "goto"}
#: iptables prints or accepts these about the rule itself; they test nothing.
_COUNTER_OPTIONS = ("-c", "--set-counters")


@dataclass
class _Open:
    """A match or target that later options may still belong to."""

    name: str
    known: bool
    span: Span
    options: list[Option] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tables:
    """The match and target table, with each option looked up once by every spelling."""

    matches: Mapping[str, MatchSpec]
    targets: Mapping[str, TargetSpec]
    by_match: Mapping[str, Mapping[str, OptionSpec]]
    by_target: Mapping[str, Mapping[str, OptionSpec]]

    @staticmethod
    def of(matches: Mapping[str, MatchSpec], targets: Mapping[str, TargetSpec]) -> Tables:
        def spellings(options: tuple[OptionSpec, ...]) -> dict[str, OptionSpec]:
            return {name: o for o in options for name in o.names}

        return Tables(
            matches,
            targets,
            {n: spellings(m.options) for n, m in matches.items()},
            {n: spellings(t.options) for n, t in targets.items()},
        )


class RuleBuilder:
    """Builds one rule after the other of one table; `errors` gathers what iptables would refuse too."""

    def __init__(self, tables: Tables, family: Family, errors: list[Diagnostic]) -> None:
        self.tables, self.family, self.errors = tables, family, errors

    def build(self, raw: RawLine, table: str, chain: str, number: int) -> Rule:
        self.header = _Open("ip", True, raw.span)
        self.open: list[_Open] = []
        self.target: _Open | None = None
        self.goto = False
        self.last: _Open | None = None
        counters = raw.counters
        for option in raw.options:
            place = _PLACE.get(option.name)
            if place == "match":
                self._match(option)
            elif place:
                self._jump(option, place == "goto")
            elif option.name in _COUNTER_OPTIONS and len(option.words) == 2:
                counters = self._counters(option)
            else:
                self._option(option)
        matches = (_match(self.header), *(_match(m) for m in self.open))
        target = None
        if self.target:
            t = self.target
            target = Target(t.name, tuple(t.options), self.goto, t.known, t.span)
        return Rule(table, chain, number, matches, target, counters, span=raw.span)

    def _counters(self, option: RawOption) -> tuple[int, int] | None:
        if all(w.text.isdigit() for w in option.words):
            return int(option.words[0].text), int(option.words[1].text)
        self._error(option.span, "packet and byte counters must be numbers")
        return None

    def _error(self, span: Span, message: str, hint: str = "") -> None:
        self.errors.append(Diagnostic(span, message, hint))

    def _match(self, option: RawOption) -> None:
        if not option.words:
            self._error(option.span, f"{option.name} needs the name of a match")
            return
        name = MATCH_ALIASES.get(option.words[0].text, option.words[0].text)
        spec = self.tables.matches.get(name)
        known = spec is not None and self.family in spec.families and name != "ip" and len(option.words) == 1
        # A second -m of one name is a second match, except where -p has already opened it.
        waiting = next((m for m in self.open if m.name == name and not m.options), None)
        self.last = waiting or _Open(name, known, option.span)
        if waiting is None:
            self.open.append(self.last)

    def _jump(self, option: RawOption, goto: bool) -> None:
        if not option.words:
            self._error(option.span, f"{option.name} needs a target or a chain")
            return
        name = option.words[0].text
        self.target = self.last = _Open(name, name in self.tables.targets, option.span)
        self.goto = goto
        for word in option.words[1:]:
            self._error(word.span, f"{word.text!r} belongs to no option")

    def _option(self, raw: RawOption) -> None:
        spec = self.tables.by_match["ip"].get(raw.name)
        if spec is not None and raw.name not in self._own(self.last):
            self.header.options.append(self._typed(raw, spec))
            return
        owner, spec = self._owner(raw)
        if owner is None:
            owner = _Open("?", False, raw.span)
            self.open.append(owner)
        owner.options.append(self._typed(raw, spec) if spec else _kept(raw))

    def _own(self, place: _Open | None) -> Mapping[str, OptionSpec]:
        if place is None:
            return {}
        table = self.tables.by_target if place is self.target else self.tables.by_match
        return table.get(place.name, {})

    def _owner(self, raw: RawOption) -> tuple[_Open | None, OptionSpec | None]:
        """The place whose table has the option: the last named first, then any, then by protocol."""
        places = [self.last, self.target, *reversed(self.open)]
        for place in places:
            spec = self._own(place).get(raw.name)
            if place is not None and spec is not None:
                return place, spec
        implicit = self._implicit()
        if implicit and raw.name in self.tables.by_match.get(implicit, {}):
            place = _Open(implicit, True, raw.span)
            self.open.append(place)
            return place, self.tables.by_match[implicit][raw.name]
        if self.last is None or (
            self.last is not self.target and self.last.known and self._has_options(self.last)
        ):
            return None, None  # a known match does not have it: keep it apart, as an unknown one
        return self.last, None

    def _has_options(self, place: _Open) -> bool:
        return bool(self.tables.by_match.get(place.name))

    def _implicit(self) -> str | None:
        option = next((o for o in self.header.options if o.name == "-p" and not o.negated), None)
        return IMPLICIT.get(option.value) if option and isinstance(option.value, int) else None

    def _typed(self, raw: RawOption, spec: OptionSpec) -> Option:
        least, most = spec.args
        if len(raw.words) < least or (most is not None and len(raw.words) > most):
            wanted = f"{least}" if least == most else f"at least {least}"
            hint = "words with blanks need quotes" if len(raw.words) > least else ""
            self._error(raw.span, f"{raw.name} takes {wanted} argument(s), not {len(raw.words)}", hint)
            return _kept(raw, spec.names[0])
        if spec.parse is None:
            return _kept(raw, spec.names[0])
        value = None
        try:
            value = spec.parse(tuple(w.text for w in raw.words), self.family)
        except ValueError as e:
            self._error(raw.words[0].span if raw.words else raw.span, f"{raw.name}: {e}")
        except LookupError:
            pass  # the words stay, and the test is maybe
        return Option(spec.names[0], raw.negated, value, raw.words if value is None else (), raw.span)


def _kept(raw: RawOption, name: str = "") -> Option:
    return Option(name or raw.name, raw.negated, None, raw.words, raw.span)


def _match(place: _Open) -> Match:
    return Match(place.name, tuple(place.options), place.known, place.span)
