"""The command line."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click
from rich.console import Console

from .. import __version__
from ..collector import no_collection
from ..fields import Family
from ..host.facts import ASSUMPTIONS
from ..kernel.errors import KernelError
from ..pipeline import compile_rules
from ..report.text import show
from ..rules.reader import read
from ..source import InputError, UserError, printable
from .explaining import explain_command
from .hosts import host_of
from .inputs import read_source
from .output import print_json
from .progress import progress_bar
from .running import host_command, load_command, status_command, unload_command, watch_command
from .verifying import verify_command

CONTEXT = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__)
def cli() -> None:
    """Drop in XDP what netfilter would have dropped: iptables-save rules to an XDP program."""


@cli.command("compile")
@click.argument("rules")
@click.option("-i", "--interface", help="the interface that the program will serve; decides what -i matches")
@click.option("-4", "family", flag_value="ipv4", help="the rules are iptables-save's")
@click.option("-6", "family", flag_value="ipv6", help="the rules are ip6tables-save's")
@click.option("--assume", type=click.Choice(sorted(ASSUMPTIONS)), default="plain", show_default=True)
@click.option("--host", "host_file", help="what is known of the host, as JSON")
@click.option("--ipset", "ipset_file", help="what the sets that rules name hold: `ipset save` output")
@click.option("--dry-run", is_flag=True, help="print the C on standard output, the report on standard error")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="write the C to this file")
@click.option("--json", "as_json", is_flag=True, help="the report as JSON")
def compile_command(
    rules: str, interface: str | None, family: str | None, assume: str, host_file: str | None,
    ipset_file: str | None, dry_run: bool, output: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Compile RULES (iptables-save or ip6tables-save output, - for standard input) and report."""
    host = host_of(assume, host_file, interface, ipset_file)
    source = read_source(rules)
    with progress_bar() as progress:
        reading = read(source, Family(family) if family else None, progress=progress)
        compiled = compile_rules(reading.rulesets, host, progress=progress)
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


for command in (
    load_command, unload_command, status_command, host_command, watch_command, verify_command,
    explain_command,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Errors of the user end with a message and status 1, never with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows only ASCII
    try:
        with no_collection():
            cli(prog_name="xdptables", standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except (InputError, UserError, KernelError) as e:
        text = str(e) if isinstance(e, InputError) else f"xdptables: {e}"
        click.echo(printable(text), err=True)
        sys.exit(1)
    except OSError as e:  # a full disk, a file that can't be written
        name = f"{e.filename}: " if e.filename else ""
        click.echo(printable(f"xdptables: {name}{e.strerror or e}"), err=True)
        sys.exit(1)
