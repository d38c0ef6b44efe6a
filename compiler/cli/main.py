"""The command line."""

from __future__ import annotations

import importlib
import io
import sys

import click

from .. import __version__
from ..collector import no_collection
from ..kernel.errors import KernelError
from ..source import InputError, UserError, printable
from .output import excerpt

CONTEXT = {"help_option_names": ["-h", "--help"]}
#: The module of each command, imported when it is asked for: all together take longer than most commands.
COMMANDS = {
    "compile": "compiling", "load": "running", "unload": "running", "status": "running", "host": "running",
    "watch": "running", "verify": "verifying", "explain": "explaining",
}  # fmt: skip


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name]}", __package__)
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group(cls=_Commands, context_settings=CONTEXT)
@click.version_option(__version__)
def cli() -> None:
    """Drop in XDP what netfilter would have dropped: iptables-save rules to an XDP program."""


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
        text = e.render(excerpt()) if isinstance(e, InputError) else f"xdptables: {e}"
        click.echo(printable(text), err=True)
        sys.exit(1)
    except OSError as e:  # a full disk, a file that can't be written
        name = f"{e.filename}: " if e.filename else ""
        click.echo(printable(f"xdptables: {name}{e.strerror or e}"), err=True)
        sys.exit(1)
