"""The arguments of options: how many words an option takes, and what they mean."""

from __future__ import annotations

import re
from typing import Any

from ..fields import Family
from ..matches.spec import OptionSpec
from ..source import Diagnostic
from .model import Option, Word
from .spelling import canonical, spell
from .syntax import RawLine, RawWord

#: Values that are kept to be found again; the addresses of a long list are met once each.
MOST_KNOWN = 10_000


def looks_like_option(word: RawWord) -> bool:
    return len(word.text) > 1 and word.text[0] == "-" and not word.quoted


def _is_not(word: RawWord) -> bool:
    return word.text == "!" and not word.quoted


class Arguments:
    """A cursor over the words of one line, which takes them as getopt does."""

    def __init__(self, words: tuple[RawWord, ...]) -> None:
        self.words, self.at = words, 0
        self.current = words[0]
        self.is_option = True
        self._attached: RawWord | None = None  # the 6 of -p6, the 80 of --dport=80

    def next_option(self) -> tuple[str, int] | None:
        """The next option's name, and how many ! stand before it."""
        negations = 0
        while self.at < len(self.words) and _is_not(self.words[self.at]):
            self.at += 1
            negations += 1
        if self.at == len(self.words):
            if not negations:
                return None
            self.current, self.is_option = self.words[-1], False
            return "!", 0
        word = self.current = self.words[self.at]
        self.at += 1
        self._attached = None
        self.is_option = len(word.text) > 1 and word.text[0] == "-"
        return (self._split(word) if self.is_option else word.text), negations

    def _split(self, word: RawWord) -> str:
        text = word.text
        if text.startswith("--"):
            name, equals, rest = text.partition("=")
            if equals:
                self._attached = RawWord(rest, word.column + len(name) + 1, word.end, True)
            return name
        if len(text) > 2:
            self._attached = RawWord(text[2:], word.column + 2, word.end, True)
        return text[:2]

    def take(self, least: int, most: int | None) -> tuple[RawWord, ...]:
        """At least `least` words whatever they look like, then up to `most` that look like no option."""
        taken: list[RawWord] = []
        if self._attached is not None:
            taken.append(self._attached)
            self._attached = None
        while self.at < len(self.words) and (most is None or len(taken) < most):
            if len(taken) >= least and not self._is_argument(self.at):
                break
            taken.append(self.words[self.at])
            self.at += 1
        return tuple(taken)

    def _is_argument(self, at: int) -> bool:
        word = self.words[at]
        return not _is_not(word) and not looks_like_option(word)

    def skip(self, texts: tuple[str, ...]) -> bool:
        """Whether these words come next; then they are skipped."""
        if tuple(w.text for w in self.words[self.at : self.at + len(texts)]) != texts:
            return False
        self.at += len(texts)
        return True

    def skip_old_negation(self) -> bool:
        """Whether the argument is negated from behind: `-s ! 1.2.3.4`."""
        if self._attached is not None or self.at + 1 >= len(self.words):
            return False
        word, argument = self.words[self.at], self.words[self.at + 1]
        if not _is_not(word) or looks_like_option(argument):
            return False
        self.at += 1
        return True


class Typing:
    """Words to values by the specs' parsers, each spelling parsed once."""

    def __init__(self, family: Family) -> None:
        self.family = family
        #: value, the message of an error, the message of a warning, whether the words may go
        self._known: dict[tuple[int, tuple[str, ...]], tuple[Any, str, str, bool]] = {}

    def option(
        self,
        line: RawLine,
        option: RawWord,
        spec: OptionSpec,
        words: tuple[RawWord, ...],
        negated: bool,
        found: list[Diagnostic],
    ) -> Option:
        last = words[-1] if words else None
        texts = tuple(w.text for w in words)
        key = (id(spec), texts)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[key] = self._parse(spec, texts)
        value, error, warning, spelled = known
        name = spec.names[0]
        error = error or (_refused_negation(name, texts, value) if negated else "")
        if error:
            where = line.at(words[0] if words else option, last)
            found.append(Diagnostic(where, f"{name}: {error}", _way_out(texts, self.family)))
        elif warning:
            hint = "the rule is kept, and what it might match is left to netfilter"
            found.append(Diagnostic(line.at(words[0] if words else option, last), warning, hint, "warning"))
        name, value = canonical(name, value)
        kept = () if spelled else self.words(line, words)
        return Option(name, negated, value, kept, line.at(option, last))

    def words(self, line: RawLine, words: tuple[RawWord, ...]) -> tuple[Word, ...]:
        return tuple(Word(w.text, line.at(w)) for w in words)

    def _parse(self, spec: OptionSpec, texts: tuple[str, ...]) -> tuple[Any, str, str, bool]:
        if spec.parse is None:
            rewritten = canonical(spec.names[0], None)[1]
            return None, "", "", rewritten is not None
        try:
            value = spec.parse(texts, self.family)
        except LookupError as e:
            return None, "", str(e.args[0]) if e.args else "not resolved", False
        except ValueError as e:
            return None, str(e), "", False
        if spec.names[0] in ("-i", "-o") and len(texts[0]) > 15:
            return None, f"the interface name {texts[0]!r} is longer than 15 characters", "", False
        spelled = spell(spec.names[0], value, self.family)
        if spelled is None:
            return value, "", "", False
        return value, "", "", spelled == texts or self._parses_to(spec, spelled, value)

    def _parses_to(self, spec: OptionSpec, texts: tuple[str, ...], value: Any) -> bool:
        try:
            return spec.parse is not None and bool(spec.parse(texts, self.family) == value)
        except (ValueError, LookupError):
            return False


def _way_out(texts: tuple[str, ...], family: Family) -> str:
    """Where a value is refused; most likely these are the other program's rules, or were written by hand."""
    other = "." if family is Family.IPV6 else ":"
    if any(re.fullmatch(r"[0-9a-fA-F.:]+(/[0-9.]+)?", t) and t.count(other) > 1 for t in texts):
        return "for the rules of ip6tables say -6" if other == ":" else "for the rules of iptables say -4"
    return "iptables-restore refuses it as well"


def _refused_negation(name: str, texts: tuple[str, ...], value: Any) -> str:
    if name in ("-s", "-d") and "," in texts[0]:
        return "a list of addresses can't be negated"
    if name == "-p" and value == 0:
        return "a rule with ! -p all never matches"
    return ""
