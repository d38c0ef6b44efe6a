"""The words of one rule line to a typed rule: commands, matches, target, each option with its owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..fields import Family
from ..matches.spec import OptionSpec
from ..source import Diagnostic, Span
from .arguments import Arguments, Typing
from .lookup import BASE, COMMAND_NAMES, FREE_TEXT, IMPLICIT, MATCH_ALIASES, Tables, by_beginning
from .model import UNKNOWN, UNSUPPORTED, Match, Option, Target
from .spelling import canonical
from .syntax import RawLine, RawWord

_UNSUPPORTED_WORDS = tuple(UNSUPPORTED.split())


@dataclass(slots=True)
class Draft:
    """A rule without its place in a chain."""

    matches: tuple[Match, ...]
    target: Target | None
    counters: tuple[int, int] | None
    span: Span


@dataclass(slots=True)
class Command:
    """`-A CHAIN`, `-P CHAIN POLICY`, ...: the short name of the command, its arguments, and the rule."""

    name: str
    args: tuple[str, ...]
    draft: Draft
    span: Span


@dataclass(slots=True)
class _Owner:
    """A loaded match or target, to which later options may belong."""

    name: str
    span: Span
    known: bool
    takes_all: bool  # options that are in no spec are kept as they are
    specs: Mapping[str, OptionSpec]
    options: list[Option] = field(default_factory=list)

    def has(self, spec: OptionSpec) -> bool:
        """It may be given once, and was."""
        name = canonical(spec.names[0], 0)[0]
        return spec.parse is not None and any(o.name == name for o in self.options)


class LineBuilder:
    """One rule line. `errors` gathers what iptables refuses too, and warnings."""

    def __init__(self, line: RawLine, tables: Tables, typing: Typing, errors: list[Diagnostic]) -> None:
        self.line, self.tables, self.typing, self.errors = line, tables, typing, errors
        self.args = Arguments(line.words)
        self.header = _Owner("ip", line.span, True, False, tables.header)
        self.matches: list[_Owner] = []
        self.target: _Owner | None = None
        self.loaded: list[_Owner] = []  # matches and target, in the order of the line
        self.goto = False
        self.counters = line.counters
        self.commands: list[tuple[str, RawWord, tuple[RawWord, ...]]] = []
        self.only: Family | None = None

    def build(self) -> Command | None:
        """None where the line is wrong (then `errors` says why), or is for the other family."""
        before = len(self.errors)
        while (found := self.args.next_option()) is not None:
            name, negations = found
            if negations > 1:
                self._error(self.args.current, "an option is negated twice", "leave one ! out")
            if not self.args.is_option:
                hint = "a comment must stand on a line of its own" if name == "#" else ""
                hint = hint or (f"say -j {name}" if name in ("ACCEPT", "DROP", "REJECT") else "leave it out")
                self._error(self.args.current, f"{name!r} is the argument of no option", hint)
            elif name in BASE:
                self._base(*BASE[name], negated=negations > 0)
            else:
                self._option(name, negations > 0)
        if self.only not in (None, self.typing.family):
            del self.errors[before:]  # iptables-restore does not look at it either
            return None
        refused = any(d.severity == "error" for d in self.errors[before:])
        if not refused and len(self.commands) != 1:
            where = self.commands[1][1] if self.commands else self.args.words[0]
            message = "a line holds one command" if self.commands else "there is no command such as -A CHAIN"
            hint = "make two lines of it" if self.commands else "begin the line with -A and a chain"
            self._error(where, message, hint)
            refused = True
        if refused:
            return None
        name, _, words = self.commands[0]
        return Command(name, tuple(w.text for w in words), self._draft(), self.line.span)

    def _draft(self) -> Draft:
        matches = (_match(self.header), *(_match(m) for m in self.matches))
        target = None
        if self.target is not None:
            t = self.target
            target = Target(t.name, tuple(t.options), self.goto, t.known, t.span)
        return Draft(matches, target, self.counters, self.line.span)

    def _error(self, word: RawWord, message: str, hint: str = "", last: RawWord | None = None) -> None:
        self.errors.append(Diagnostic(self.line.at(word, last), message, hint))

    def _base(self, short: str, least: int, most: int, negated: bool) -> None:
        option = self.args.current
        words = self.args.take(least, most)
        if negated:
            self._error(option, f"{option.text} can't be negated", "remove the ! in front of it")
        if len(words) < least:
            self._error(option, f"{option.text} needs {_count(least)}", "the line ends too early")
        elif short in COMMAND_NAMES:
            self.commands.append((short, option, words))
        elif short == "-m":
            self._load_match(option, words[0])
        elif short in ("-j", "-g"):
            self._load_target(option, words[0], goto=short == "-g")
        elif short == "-c":
            self._set_counters(option, words)
        elif short in ("-4", "-6"):
            self.only = Family.IPV4 if short == "-4" else Family.IPV6
        elif short == "-t":
            self._error(option, "-t can't be used inside a dump", "put the rule below *table", words[0])

    def _set_counters(self, option: RawWord, words: tuple[RawWord, ...]) -> None:
        numbers = words[0].text.split(",") if len(words) == 1 else [w.text for w in words]
        if len(numbers) == 2 and all(n.isdecimal() for n in numbers):
            self.counters = (int(numbers[0]), int(numbers[1]))
        else:
            self._error(
                option, f"{option.text} needs a packet and a byte count", "as in -c 12 340", words[-1]
            )

    def _unsupported(self) -> bool:
        """Whether the name just read is followed by "[unsupported revision]", which is then skipped."""
        return self.args.skip(_UNSUPPORTED_WORDS)

    def _load_match(self, option: RawWord, word: RawWord) -> None:
        name = MATCH_ALIASES.get(word.text, word.text)
        spec = self.tables.match_spec(name, self.typing.family)
        span = self.line.at(option, word)
        unsupported = self._unsupported()
        known = spec is not None and not unsupported
        takes_all = not known or self.tables.match_takes_all(name)
        owner = _Owner(name, span, known, takes_all, self.tables.of_match[name] if known else {})
        if unsupported:
            owner.options.append(Option(UNSUPPORTED, span=span))
        self.matches.append(owner)
        self.loaded.append(owner)

    def _load_target(self, option: RawWord, word: RawWord, goto: bool) -> None:
        if self.target is not None:
            self._error(option, "a rule has one target", "make a second rule of it", word)
        name = word.text
        span = self.line.at(option, word)
        unsupported = self._unsupported()
        spec = None if goto else self.tables.target_spec(name, self.typing.family)
        known = spec is not None and not unsupported
        takes_all = not known or self.tables.target_takes_all(name)
        owner = _Owner(name, span, known, takes_all, self.tables.of_target[name] if known else {})
        if unsupported:
            owner.options.append(Option(UNSUPPORTED, span=span))
        self.target, self.goto = owner, goto
        self.loaded.append(owner)

    def _option(self, name: str, negated: bool) -> None:
        owner, spec = self._owner(name)
        option = self.args.current
        if spec is None:
            owner.options.append(self._untyped(name, negated))
            return
        negated ^= self.args.skip_old_negation()
        least, most = spec.args
        words = self.args.take(least, most)
        if len(words) < least:
            self._error(option, f"{name} needs {_count(least)}", "the line ends too early")
            return
        spec_name = canonical(spec.names[0], 0)[0]
        if owner.has(spec):
            hint = "leave one out, or make two rules of it"
            self._error(option, f"{spec_name} is given twice", hint, words[-1] if words else None)
        if owner is self.header and spec.names[0] == "-f" and self.typing.family is Family.IPV6:
            self._error(option, "-f is for IPv4 only", "use -m frag")
        owner.options.append(self.typing.option(self.line, option, spec, words, negated, self.errors))

    def _untyped(self, name: str, negated: bool) -> Option:
        option = self.args.current
        negated ^= self.args.skip_old_negation()
        words = self.args.take(1, 1) if name in FREE_TEXT else self.args.take(0, None)
        at = self.line.at
        return Option(
            name, negated, None, self.typing.words(self.line, words), at(option, words[-1] if words else None)
        )

    def _owner(self, name: str) -> tuple[_Owner, OptionSpec | None]:
        """As getopt_long over all that is loaded, the last loaded first; then the protocol's own match."""
        if (spec := self.tables.header.get(name)) is not None:
            return self.header, spec
        newest = self.loaded[-1] if self.loaded else None
        if newest is not None and newest is not self.target and not newest.known:
            return newest, None  # an option of this name may be its own
        for owner in reversed(self.loaded):
            if (spec := owner.specs.get(name)) is not None:
                if newest is not None and newest is self.target and newest.takes_all and owner.has(spec):
                    return newest, None  # tcpmss and SYNPROXY both have --mss
                return owner, spec
        if (spec := self.tables.header_short.get(name)) is not None:
            return self.header, spec
        if newest is None or not newest.takes_all:
            tables = [self.tables.header, *(o.specs for o in self.loaded)]
            if (spec := by_beginning(name, tables)) is not None:
                owners = (self.header, *reversed(self.loaded))
                return next(o for o in owners if spec in o.specs.values()), spec
        implicit = self._implicit()
        if implicit is not None:
            spec = implicit.specs.get(name) or by_beginning(name, [implicit.specs])
            if spec is not None:
                self.matches.append(implicit)
                self.loaded.append(implicit)
                return implicit, spec
        return self._owner_of_unlisted(name, newest), None

    def _owner_of_unlisted(self, name: str, newest: _Owner | None) -> _Owner:
        """A match whose options are in no spec, by its name (--state, --limit-burst), or the last
        loaded if it takes any option; else a match of its own, about which nothing is known."""
        for owner in reversed(self.matches):
            if owner.takes_all and name.startswith(f"--{owner.name}"):
                return owner
        if newest is not None and newest.takes_all:
            return newest
        last = self.matches[-1] if self.matches else None
        if last is not None and last.name == UNKNOWN:
            return last
        owner = _Owner(UNKNOWN, self.line.at(self.args.current), False, False, {})
        self.matches.append(owner)
        return owner

    def _implicit(self) -> _Owner | None:
        protocol = next((o for o in self.header.options if o.name == "-p"), None)
        if protocol is None or not isinstance(protocol.value, int):
            return None
        name = IMPLICIT.get(protocol.value)
        if name is None or self.tables.match_spec(name, self.typing.family) is None:
            return None
        if any(m.name == name for m in self.matches):
            return None
        return _Owner(name, protocol.span or self.line.span, True, False, self.tables.of_match[name])


def _count(number: int) -> str:
    return "an argument" if number == 1 else f"{number} arguments"


def _match(owner: _Owner) -> Match:
    return Match(owner.name, tuple(owner.options), owner.known, owner.span)
