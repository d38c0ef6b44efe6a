"""compile: rules to C and a report, without touching the system."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from ..fields import Family
from ..host.facts import ASSUMPTIONS
from ..pipeline import compile_rules
from ..report.text import show
from ..rules.reader import read
from ..source import printable
from .engines import engine_options, engine_request
from .hosts import host_of
from .inputs import budgets_of, log_budget_option, read_source, reject_budget_option
from .output import print_json
from .progress import progress_bar


@click.command("compile")
@click.argument("rules")
@click.option("-i", "--interface", help="the interface that the program will serve; decides what -i matches")
@click.option("-4", "family", flag_value="ipv4", help="the rules are iptables-save's")
@click.option("-6", "family", flag_value="ipv6", help="the rules are ip6tables-save's")
@click.option("--assume", type=click.Choice(sorted(ASSUMPTIONS)), default="plain", show_default=True)
@click.option("--host", "host_file", help="what is known of the host, as JSON")
@click.option("--ipset", "ipset_file", help="what the sets that rules name hold: `ipset save` output")
@reject_budget_option
@log_budget_option
@engine_options
@click.option("--dry-run", is_flag=True, help="print the C on standard output, the report on standard error")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="write the C to this file")
@click.option("--json", "as_json", is_flag=True, help="the report as JSON")
def compile_command(
    rules: str, interface: str | None, family: str | None, assume: str, host_file: str | None,
    ipset_file: str | None, reject_budget: str, log_budget: str, engine: str, table_memory: int,
    dry_run: bool, output: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Compile RULES (iptables-save or ip6tables-save output, - for standard input) and report."""
    host = host_of(assume, host_file, interface, ipset_file)
    budgets = budgets_of(reject_budget, log_budget)
    source = read_source(rules)
    with progress_bar() as progress:
        reading = read(source, Family(family) if family else None, progress=progress)
        compiled = compile_rules(
            reading.rulesets, host, progress=progress, budgets=budgets, advise=True,
            engine=engine_request(engine, table_memory),
        )  # fmt: skip
    for warning in reading.warnings:
        click.echo(printable(warning.render()), err=True)
    if output:
        Path(output).write_text(compiled.c_text)
    if dry_run:
        click.echo(compiled.c_text, nl=False)
    if as_json:
        print_json(compiled.report.to_data(), err=dry_run)
    else:
        show(compiled.report, Console(stderr=dry_run, highlight=False))
