"""iptables-save text to raw lines: verbs and options with their words and places, no meaning yet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from ..source import Diagnostic, Source, Span
from .model import Word

_WORD = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|\[unsupported revision\]|[^\s"]+')
_COUNTERS = re.compile(r"\[(\d+):(\d+)\]")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class RawOption:
    """`[!] name words`, as written."""

    name: str
    negated: bool
    words: tuple[Word, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class RawLine:
    """`kind`: table, chain, commit, rule or edit. `verb`: -A, -I, -N, -P, ...; `args`: its words."""

    kind: str
    span: Span
    verb: str = ""
    args: tuple[str, ...] = ()
    counters: tuple[int, int] | None = None
    family: str = ""  # "4" or "6" where the line has -4 or -6
    options: tuple[RawOption, ...] = ()


@cache
def _parser() -> Lark:
    return Lark.open_from_package(
        "xdptables.grammar", "iptables_save.lark", search_paths=("",), parser="lalr", lexer="contextual"
    )


def read_lines(source: Source) -> tuple[tuple[RawLine, ...], tuple[Diagnostic, ...]]:
    """All lines that could be read, and an error for each that could not."""
    lines, errors = [], []
    for number, text in enumerate(source.lines, 1):
        stripped = text.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            tree = _parser().parse(text)
        except UnexpectedInput as e:
            errors.append(_error(source, number, text, e))
            continue
        lines.append(_raw_line(source, number, text, tree))
    return tuple(lines), tuple(errors)


def _error(source: Source, number: int, text: str, error: UnexpectedInput) -> Diagnostic:
    column = error.column if isinstance(error.column, int) and error.column > 0 else len(text.rstrip()) + 1
    rest = text[column - 1 :]
    end = column + max(len(rest.split(None, 1)[0]) if rest.split() else 1, 1)
    span = Span(source, number, column, end)
    if rest.lstrip().startswith(('"', "'")) or text.count('"') % 2:
        return Diagnostic(span, "the quoted string does not end on this line", 'close it with "')
    if not text.lstrip().startswith(("-", "[", "*", ":", "COMMIT")):
        hint = "expected *table, :CHAIN POLICY [packets:bytes], -A CHAIN ..., COMMIT or a # comment"
        return Diagnostic(span, "this is no line of iptables-save output", hint)
    return Diagnostic(span, "this can't be read here", "an option starts with - or --, after a chain's name")


def _raw_line(source: Source, number: int, text: str, tree: Tree[Any]) -> RawLine:
    node = tree.children[0]
    assert isinstance(node, Tree)
    start = len(text) - len(text.lstrip()) + 1
    span = Span(source, number, start, len(text.rstrip()) + 1)
    kind = str(node.data)
    first = node.children[0]
    assert isinstance(first, Token)
    if kind == "table":
        return RawLine(kind, span, args=(str(first)[1:],))
    if kind == "chain":
        counters = _COUNTERS.search(first)
        words = _COUNTERS.sub("", str(first)[1:]).split()
        return RawLine(kind, span, args=tuple(words), counters=_pair(counters))
    if kind == "commit":
        return RawLine(kind, span)
    counters, family, verb, args, options = None, "", "", (), []
    for token in node.children:
        assert isinstance(token, Token)
        if token.type == "COUNTERS":
            counters = _pair(_COUNTERS.match(token))
        elif token.type == "FAMILY":
            family = token[-1]
        elif token.type in ("VERB", "EDIT"):
            verb, *rest = token.split()
            args = tuple(rest)
            start = token.column or start
        else:
            options.append(_option(source, number, token))
    return RawLine(
        kind, Span(source, number, start, span.end_column), verb, args, counters, family, tuple(options)
    )


def _pair(match: re.Match[str] | None) -> tuple[int, int] | None:
    return (int(match[1]), int(match[2])) if match else None


def _option(source: Source, number: int, token: Token) -> RawOption:
    """Split one OPTION token; `--name=value` is the same as `--name value`."""
    at = token.column or 1
    found = [(m[0], at + m.start()) for m in _WORD.finditer(token)]
    negated = found[0][0] == "!"
    name, *rest = found[1:] if negated else found
    if "=" in name[0]:
        option, value = name[0].split("=", 1)
        rest.insert(0, (value, name[1] + len(option) + 1))
        name = (option, name[1])
    if rest and rest[0][0] == "!":  # the old negation: -s ! 1.2.3.4
        negated, rest = not negated, rest[1:]
    words = tuple(Word(_unquoted(t), Span(source, number, c, c + len(t))) for t, c in rest)
    return RawOption(name[0], negated, words, Span(source, number, at, at + len(token)))


def _unquoted(text: str) -> str:
    if text[0] == '"' and text[-1] == '"' and len(text) > 1:
        return _ESCAPED.sub(r"\1", text[1:-1])
    if text[0] == "'" and text[-1] == "'" and len(text) > 1:
        return text[1:-1]
    return text
