"""Files that the user names."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..decisions.budget import Budgets, parse_budget
from ..source import Source, UserError

reject_budget_option = click.option(
    "--reject-budget", default="", metavar="auto|N",
    help="drop what REJECT would answer by ICMP, beyond N packets a second for each source",
)  # fmt: skip
log_budget_option = click.option(
    "--log-budget", default="", metavar="auto|N",
    help="let a limited LOG keep only N packets a second for each source in netfilter",
)  # fmt: skip


def budgets_of(reject: str, log: str) -> Budgets:
    values = []
    for name, text in (("--reject-budget", reject), ("--log-budget", log)):
        try:
            values.append(parse_budget(text))
        except ValueError as e:
            raise UserError(f"{name}: {e}", "auto goes by the limits of the kernel and the rules") from e
    return Budgets(*values)


def read_source(name: str) -> Source:
    """A file, or standard input for "-". Bytes that are no UTF-8 are kept."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as e:
        hint = "give an iptables-save file, or - for standard input"
        raise UserError(f"can't read {name}: {e.strerror}", hint) from e
    return Source("<stdin>" if name == "-" else name, data.decode(errors="surrogateescape"))
