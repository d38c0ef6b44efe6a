"""Files that the user names."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..rules.reader import Reading
from ..source import Source, UserError, printable
from .output import excerpt


def tell_of(reading: Reading, name: str) -> None:
    """What a reader should know of the rules, on standard error."""
    for warning in reading.warnings:
        click.echo(printable(warning.render(excerpt())), err=True)
    if not any(r.tables for r in reading.rulesets):
        click.echo(printable(f"note: {name} holds no rules; iptables-save prints them, as root"), err=True)


_RULES = "give an iptables-save file, or - for standard input"


def read_source(name: str, hint: str = _RULES) -> Source:
    """A file, or standard input for "-". Bytes that are no UTF-8 are kept. `hint`: where it can't be read."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as e:
        raise UserError(f"can't read {name}: {e.strerror}", hint) from e
    return Source("<stdin>" if name == "-" else name, data.decode(errors="surrogateescape"))
