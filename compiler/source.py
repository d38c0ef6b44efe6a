"""Where text came from, and what is wrong with it.

A `Span` points into a `Source`; a `Diagnostic` is an error or warning at a span, with a hint.
Every later stage keeps spans, so that any finding can name file, line and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

LONGEST = 300  # characters of a line that a message shows
_MOST_SHOWN = 100  # errors of one file


def printable(text: str) -> str:
    """For a terminal: what rules and comments hold can't move its cursor or turn its text round."""
    return "".join(c if c.isprintable() or c in "\t\n" else "?" for c in text)


@dataclass(frozen=True)
class Source:
    """One input text. `name` is what messages call it ("rules.v4", "<stdin>", "iptables-save"). `among`: it
    is one of several, so that the number of a line does not say which line."""

    name: str
    text: str = field(repr=False)
    among: bool = field(default=False, repr=False)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        return tuple(line.rstrip("\r") for line in self.text.split("\n"))

    def line(self, number: int) -> str:
        """The text of line `number` (1-based), without its line end; "" past the end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one line: 1-based line, 1-based first column, and the column after the last."""

    source: Source = field(repr=False)
    line: int
    column: int
    end_column: int

    @property
    def text(self) -> str:
        return self.source.line(self.line)[self.column - 1 : self.end_column - 1]

    @property
    def place(self) -> str:
        """For people."""
        return f"line {self.line}" + (f" of {self.source.name}" if self.source.among else "")

    @property
    def address(self) -> str:
        """For `--rule`."""
        return f"{self.source.name}:{self.line}" if self.source.among else str(self.line)

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing wrong in the input. `severity` is "error" or "warning"; `hint` says what to do."""

    span: Span
    message: str
    hint: str = ""
    severity: str = "error"

    def render(self, longest: int = LONGEST) -> str:
        """file:line:column, the message, the line with a caret below it, and the hint. Of a line of more than
        `longest` characters, what stands around the place."""
        head = f"{self.span}: {self.severity}: {self.message}"
        line, column = self.span.source.line(self.span.line), self.span.column
        before, after = "", ""
        if len(line) > longest:
            start = max(min(column - 1 - longest // 4, len(line) - longest), 0)
            before, after = "..." if start else "", "..." if start + longest < len(line) else ""
            line, column = line[start : start + longest], column - start
        # Tabs stay tabs in the margin, so that the caret stands below its column.
        margin = " " * len(before) + "".join("\t" if c == "\t" else " " for c in line[: column - 1])
        width = min(self.span.end_column - self.span.column, max(len(line) - column + 1, 1))
        marker = "^" + "~" * (max(width, 1) - 1)
        parts = [head, f"    {before}{line}{after}", f"    {margin}{marker}"]
        if self.hint:
            parts.append(f"    hint: {self.hint}")
        return "\n".join(parts)


class InputError(Exception):
    """The input is wrong. Carries all diagnostics, in the order of the lines of each file."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        files = list(dict.fromkeys(d.span.source.name for d in diagnostics))
        self.diagnostics = tuple(
            sorted(diagnostics, key=lambda d: (files.index(d.span.source.name), d.span.line, d.span.column))
        )
        super().__init__(self.render())

    def render(self, longest: int = LONGEST) -> str:
        shown = [d.render(longest) for d in self.diagnostics[:_MOST_SHOWN]]
        if len(self.diagnostics) > _MOST_SHOWN:
            shown.append(f"and {len(self.diagnostics) - _MOST_SHOWN} more like these")
        return "\n".join(shown)


class UserError(Exception):
    """Something the user can mend, with no place in a file: what is wrong, and a way out."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message + (f"\n    hint: {hint}" if hint else ""))
