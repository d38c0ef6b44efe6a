"""The report for people: colours on a terminal, plain text in a pipe."""

from __future__ import annotations

from rich import markup
from rich.console import Console

from ..source import printable
from .entries import Fate
from .model import Report

STYLE = {
    Fate.OFFLOADED: "green",
    Fate.PASSES: "dim",
    Fate.LEFT: "yellow",
    Fate.UNREACHABLE: "dim",
    Fate.COUNTS: "dim",
}
#: A large ruleset is shown by its rules that drop; more than this many and the rest is counted.
MOST = 400
_LONGEST = 1000  # characters of a rule that are shown; --json has all of it


def escape(text: str) -> str:
    """Safe for a terminal and for rich, whose search for marks takes the square of a run of backslashes."""
    text = printable(text)
    return markup.escape(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")


def show(report: Report, console: Console) -> None:
    rows = report.entries if len(report.entries) <= MOST else [e for e in report.entries if e.drops][:MOST]
    for entry in rows:
        style = STYLE[entry.fate]
        place = entry.cause.place
        console.print(
            f"[{style}]{entry.fate.value:>19}[/{style}]  {place:<10} {entry.cause.table:<7}"
            f" {escape(entry.cause.text)}",
            soft_wrap=True,
        )
        if entry.why:
            console.print(
                f"{'':>19}  {'':<10} {'':<7} [dim]because {escape(entry.why)}[/dim]", soft_wrap=True
            )
    if len(rows) < len(report.entries):
        console.print(f"{len(report.entries) - len(rows)} more rules are not listed; --json has them all")
    for finding in report.kept:
        console.print(f"[yellow]{finding.id}[/yellow]: {escape(finding.text)}", soft_wrap=True)
    for finding in report.lifted:
        console.print(f"[red]disregarded {finding.id}[/red]: {escape(finding.text)}", soft_wrap=True)
    for line in report.assumptions:
        console.print(f"[dim]{escape(line)}[/dim]", soft_wrap=True)
    for line in report.advice:
        console.print(f"[cyan]{escape(line)}[/cyan]", soft_wrap=True)
    for line in report.engines:
        console.print(f"[dim]engine: {line}[/dim]", soft_wrap=True)
    for line in report.limits:
        console.print(f"[yellow]limit: {line}[/yellow]", soft_wrap=True)
    console.print(f"[bold]{escape(report.summary)}[/bold]", soft_wrap=True)
