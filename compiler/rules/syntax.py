"""iptables-save text to raw lines: words and their places, no meaning yet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from ..source import Diagnostic, Source, Span

#: As the OPTIONS token has it: a word ends at a blank or behind a closing quote.
_WORD = re.compile(r'[^ \t\r"]+(?:"(?:\\.|[^"\\])*")?|"(?:\\.|[^"\\])*"')
_COUNTERS = re.compile(r"\[([0-9]+):([0-9]+)\]")
_ESCAPED = re.compile(r"\\(.)")


class RawWord(NamedTuple):
    """One word without its quotes, and the columns where it starts and ends."""

    text: str
    column: int
    end: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class RawLine:
    """`kind`: table, chain, commit or rule. `names`: the words of all but a rule."""

    kind: str
    span: Span
    names: tuple[RawWord, ...] = ()
    counters: tuple[int, int] | None = None

    @property
    def words(self) -> tuple[RawWord, ...]:
        """Of a rule: all but the leading counters. Made when asked for: they take ten times the room of
        the line."""
        at = self.span.column
        return _words(self.span.source.line(self.span.line)[at - 1 :], at)

    def at(self, first: RawWord, last: RawWord | None = None) -> Span:
        """The stretch from one word to another."""
        return Span(self.span.source, self.span.line, first.column, (last or first).end)


@cache
def _parser() -> Lark:
    package, file = "xdptables.grammar", "iptables_save.lark"
    return Lark.open_from_package(package, file, search_paths=("",), parser="lalr")


def read_lines(source: Source) -> tuple[tuple[RawLine, ...], tuple[Diagnostic, ...]]:
    """All lines that can be read, and an error for each that can't."""
    lines, errors = [], []
    parse = _parser().parse
    for number, text in enumerate(source.lines, 1):
        stripped = text.strip()
        if not stripped or stripped[0] == "#":
            continue
        try:
            tree = parse(text)
        except UnexpectedInput as e:
            errors.append(_error(source, number, text, e))
            continue
        lines.append(_raw_line(source, number, text, tree))
    return tuple(lines), tuple(errors)


def _error(source: Source, number: int, text: str, error: UnexpectedInput) -> Diagnostic:
    column = error.column if isinstance(error.column, int) and error.column > 0 else len(text.rstrip()) + 1
    rest = text[column - 1 :]
    word = rest.split(None, 1)[0] if rest.split() else ""
    span = Span(source, number, column, column + max(len(word), 1))
    if rest.startswith('"'):
        whole = Span(source, number, column, len(text.rstrip()) + 1)
        return Diagnostic(whole, "the quoted string does not end on this line", 'close it with "')
    if word == "#":
        return Diagnostic(span, "a comment can't follow a rule", "put the comment on a line of its own")
    if text.lstrip().startswith(("-", "[", "*", ":", "COMMIT")):
        return Diagnostic(span, f"{word or 'the end of the line'!r} can't stand here")
    hint = "expected *table, :CHAIN POLICY [packets:bytes], -A CHAIN ..., COMMIT or a # comment"
    return Diagnostic(span, "this is no line of iptables-save output", hint)


def _raw_line(source: Source, number: int, text: str, tree: Tree[Any]) -> RawLine:
    node = tree.children[0]
    assert isinstance(node, Tree)
    kind, tokens = str(node.data), [t for t in node.children if isinstance(t, Token)]
    start, end = len(text) - len(text.lstrip()) + 1, len(text.rstrip()) + 1
    if kind == "rule":
        counters = counters_of(tokens[0]) if len(tokens) == 2 else None
        start = tokens[-1].column or start
        return RawLine(kind, Span(source, number, start, end), (), counters)
    return RawLine(kind, Span(source, number, start, end), tuple(_plain_word(t) for t in tokens))


def counters_of(text: str) -> tuple[int, int] | None:
    """[packets:bytes]"""
    match = _COUNTERS.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None


def _plain_word(token: Token) -> RawWord:
    """A word of a table or chain line: no quotes, the mark in front is no part of the name."""
    column = token.column or 1
    text = str(token)
    if token.type in ("TABLE", "CHAIN"):
        text = text[1:].lstrip()
    return RawWord(text, column + len(token) - len(text), column + len(token))


def _words(options: str, at: int) -> tuple[RawWord, ...]:
    """The words of a text that starts in column `at`."""
    words = []
    for found in _WORD.finditer(options):
        start, end = found.span()
        text = found[0]
        words.append(RawWord(_unquoted(text), at + start, at + end, text[0] == '"'))
    return tuple(words)


def _unquoted(text: str) -> str:
    if '"' not in text:
        return text
    before, _, quoted = text.partition('"')
    return before + _ESCAPED.sub(r"\1", quoted[:-1])
