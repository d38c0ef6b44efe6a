"""Options that several commands share, each block as one decorator and one value."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import click

from ..decisions.budget import NO_BUDGETS, Budgets, parse_budget
from ..emit.engine import AUTOMATIC, ENGINES, EngineRequest
from ..fields import Family
from ..host.facts import ASSUMPTIONS, HostFacts
from ..rules.model import Ruleset
from ..source import UserError
from ..verify.place import USUAL
from .hosts import host_of

Command = Callable[..., Any]
_IFNAME = re.compile(r"(?!\.{1,2}$)[^\s/:]{1,15}")


@dataclass(frozen=True, slots=True)
class Making:
    """What shapes a program besides rules and host: the same ones mean the same program to every command."""

    budgets: Budgets = NO_BUDGETS
    engine: EngineRequest = AUTOMATIC


def making_options(command: Command) -> Command:
    """The command gets them as `making`."""

    @functools.wraps(command)
    def run(reject_budget: str, log_budget: str, engine: str, table_memory: int, **others: Any) -> Any:
        budgets = _budgets_of(reject_budget, log_budget)
        return command(making=Making(budgets, EngineRequest(engine, table_memory << 20)), **others)

    return _with(
        run,
        click.option(
            "--reject-budget", default="", metavar="auto|N",
            help="drop what REJECT would answer by ICMP, beyond N packets a second for each source",
        ),
        click.option(
            "--log-budget", default="", metavar="auto|N",
            help="let a limited LOG keep only N packets a second for each source in netfilter",
        ),
        click.option(
            "--engine", type=click.Choice(ENGINES), default=AUTOMATIC.engine, show_default=True,
            help="straight code, or tables in which a look-up costs the same whatever the number of rules",
        ),
        click.option(
            "--table-memory", type=click.IntRange(0, 512), default=AUTOMATIC.table_memory >> 20,
            show_default=True, metavar="MIB",
            help="how large tables may be; drops that do not fit stay with netfilter",
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """Where rules are compiled away from their host: whose they are, and what is known of that host."""

    interface: str | None
    family: Family | None
    assume: str
    host_file: str | None
    ipset_file: str | None

    @property
    def words(self) -> list[str]:
        """The options as they were given, for a command that is proposed."""
        family = {Family.IPV4: ["-4"], Family.IPV6: ["-6"]}[self.family] if self.family else []
        named = (("-i", self.interface), ("--host", self.host_file), ("--ipset", self.ipset_file))
        return [*family, *(word for name, value in named if value for word in (name, value))]

    def note_interface(self, facts: HostFacts, rulesets: Iterable[Ruleset]) -> None:
        """Tells that packets are taken to come in at some interface, where rules ask at which."""
        if self.interface or facts.interface.name:
            return
        asked = (r.matches[0].option("-i") for s in rulesets for r in s.rules())
        if any(o is not None and o.value != "lo" for o in asked):
            click.echo(f"note: no interface is given (-i), {USUAL} is taken", err=True)

    def host(self) -> HostFacts:
        return host_of(self.assume, self.host_file, self.interface, self.ipset_file)


def given_options(interface: str) -> Callable[[Command], Command]:
    """The command gets them as `given`. `interface`: help for it."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(
            interface: str | None, four: bool, six: bool, assume: str, host_file: str | None,
            ipset_file: str | None, **others: Any,
        ) -> Any:  # fmt: skip
            own = _family(four, six)
            if interface is not None and not _IFNAME.fullmatch(interface):
                hint = "it has 1 to 15 characters, none of them a blank or /"
                raise UserError(f"{interface!r} is no name of an interface", hint)
            return command(given=Given(interface, own, assume, host_file, ipset_file), **others)

        return _with(
            run,
            click.option("-i", "--interface", help=interface),
            *_FAMILY,
            click.option(
                "--assume", type=click.Choice(sorted(ASSUMPTIONS)), default="plain", show_default=True
            ),
            click.option("--host", "host_file", help="what is known of the host, as JSON (xdptables host)"),
            click.option(
                "--ipset", "ipset_file", help="what the sets that rules name hold: `ipset save` output"
            ),
        )

    return decorate


_FAMILY = (
    click.option("-4", "four", is_flag=True, help="the rules are iptables-save's"),
    click.option("-6", "six", is_flag=True, help="the rules are ip6tables-save's"),
)


def _family(four: bool, six: bool) -> Family | None:
    if four and six:
        raise UserError(
            "-4 and -6 contradict each other",
            "of rules of both families, leave both out: they say whose they are",
        )
    return Family.IPV4 if four else Family.IPV6 if six else None


def family_options(command: Command) -> Command:
    """The command gets `family`, a Family or None."""

    @functools.wraps(command)
    def run(four: bool, six: bool, **others: Any) -> Any:
        return command(family=_family(four, six), **others)

    return _with(run, *_FAMILY)


def _with(command: Command, *options: Callable[[Command], Command]) -> Command:
    """`--help` lists them in this order."""
    return functools.reduce(lambda made, option: option(made), reversed(options), command)


def _budgets_of(reject: str, log: str) -> Budgets:
    values = []
    for name, text in (("--reject-budget", reject), ("--log-budget", log)):
        try:
            values.append(parse_budget(text))
        except ValueError as e:
            raise UserError(f"{name}: {e}", "auto goes by the limits of the kernel and the rules") from e
    return Budgets(*values)
