"""The value of the C that `emit` writes, by C's own precedence: expressions over p->field, and ifs."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence

_TOKEN = re.compile(r"p->(\w+)|(0x[0-9a-f]+|\d+)(?:ULL|U)?|(&&|\|\||==|>>|[()!<&?:])|\s+")
#: Loosest first.
_BINARY = (
    ("||", lambda a, b: int(bool(a) or bool(b))),
    ("&&", lambda a, b: int(bool(a) and bool(b))),
    ("&", operator.and_),
    ("==", lambda a, b: int(a == b)),
    ("<", lambda a, b: int(a < b)),
    (">>", operator.rshift),
)


class _Reader:
    def __init__(self, text: str, fields: Mapping[str, int]) -> None:
        self.tokens: list[int | str] = []
        at = 0
        while at < len(text):
            m = _TOKEN.match(text, at)
            assert m, text[at:]
            name, number, sign = m.groups()
            if name:
                self.tokens.append(fields[name])
            elif number:
                self.tokens.append(int(number, 0))
            elif sign:
                self.tokens.append(sign)
            at = m.end()
        self.tokens.append("end")
        self.at = 0

    def take(self, sign: str) -> bool:
        if self.tokens[self.at] == sign:
            self.at += 1
            return True
        return False

    def ternary(self) -> int:
        value = self.binary(0)
        if self.take("?"):
            yes = self.ternary()
            assert self.take(":")
            no = self.ternary()
            return yes if value else no
        return value

    def binary(self, level: int) -> int:
        if level == len(_BINARY):
            return self.unary()
        sign, apply = _BINARY[level]
        value = self.binary(level + 1)
        while self.take(sign):
            value = apply(value, self.binary(level + 1))
        return value

    def unary(self) -> int:
        if self.take("!"):
            return int(not self.unary())
        if self.take("("):
            value = self.ternary()
            assert self.take(")")
            return value
        value = self.tokens[self.at]
        assert isinstance(value, int), value
        self.at += 1
        return value


def evaluate(text: str, fields: Mapping[str, int]) -> int:
    reader = _Reader(text, fields)
    value = reader.ternary()
    assert reader.take("end"), text
    return value


def run(lines: Sequence[str], fields: Mapping[str, int]) -> str:
    """The statement that is reached in nested ifs, each with an else."""
    head = re.fullmatch(r"if \((.*)\) {", lines[0])
    if not head:
        assert len(lines) == 1
        return lines[0]
    middle = list(lines).index("} else {")
    assert lines[-1] == "}"
    chosen = lines[1:middle] if evaluate(head[1], fields) else lines[middle + 1 : -1]
    return run([line.removeprefix("    ") for line in chosen], fields)
