"""Files that the user names."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..fields import Family
from ..progress import Progress, silent
from ..rules.reader import Reading, read_all
from ..source import Source, UserError, printable
from .output import excerpt


def tell_of(reading: Reading, names: Sequence[str]) -> None:
    """What a reader should know of the rules, on standard error."""
    for warning in reading.warnings:
        click.echo(printable(warning.render(excerpt())), err=True)
    if not any(r.tables for r in reading.rulesets):
        hold = f"{' and '.join(names)} {'holds' if len(names) == 1 else 'hold'}"
        click.echo(printable(f"note: {hold} no rules; iptables-save prints them, as root"), err=True)


def read_rules(names: Sequence[str], family: Family | None, progress: Progress = silent) -> Reading:
    """Of one file, or of one for each family."""
    if len(names) > 1 and family is not None:
        raise UserError("-4 and -6 say what one file holds", "of several files each says that itself")
    if len(set(names)) < len(names):
        raise UserError("the same file is given twice", _RULES)
    sources = [dataclasses.replace(read_source(name), among=len(names) > 1) for name in names]
    return read_all(sources, family, progress)


_RULES = "give an iptables-save file, or - for standard input"


def read_source(name: str, hint: str = _RULES) -> Source:
    """A file, or standard input for "-". Bytes that are no UTF-8 are kept. `hint`: where it can't be read."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as e:
        raise UserError(f"can't read {name}: {e.strerror}", hint) from e
    return Source("<stdin>" if name == "-" else name, data.decode(errors="surrogateescape"))
