"""compile: rules to C and a report, without touching the system."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from ..pipeline import compile_rules
from ..report.text import show
from ..source import UserError
from .inputs import read_rules, tell_of
from .options import Given, Making, given_options, making_options
from .output import print_json
from .progress import progress_bar


@click.command("compile")
@click.argument("rules", nargs=-1, required=True)
@given_options("the interface that the program will serve; decides what -i matches")
@making_options
@click.option("--dry-run", is_flag=True, help="print the C on standard output, the report on standard error")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="write the C to this file")
@click.option("--json", "as_json", is_flag=True, help="the report as JSON")
def compile_command(
    rules: tuple[str, ...], given: Given, making: Making, dry_run: bool, output: str | None, as_json: bool
) -> None:
    """Compile RULES (iptables-save or ip6tables-save output, - for standard input) and report. Of both
    families, in one file or in two."""
    host = given.host()
    with progress_bar() as progress:
        reading = read_rules(rules, given.family, progress)
        compiled = compile_rules(
            reading.rulesets, host, progress=progress, budgets=making.budgets, advise=True,
            engine=making.engine,
        )  # fmt: skip
    tell_of(reading, rules)
    if output:
        try:
            Path(output).write_text(compiled.c_text)
        except OSError as e:
            raise UserError(f"can't write {output}: {e.strerror}", "name another file with -o") from e
    if dry_run:
        click.echo(compiled.c_text, nl=False)
    if as_json:
        print_json(compiled.report.to_data(), err=dry_run)
    else:
        show(compiled.report, Console(stderr=dry_run, highlight=False))
