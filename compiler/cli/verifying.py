"""verify: does the program drop only what netfilter drops? Asked of the user's own rules."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace

import click
from rich.console import Console

from ..emit.engine import MOST_HALVINGS
from ..host.facts import HostFacts
from ..kernel.bcc_import import import_bcc
from ..kernel.errors import TooComplex
from ..kernel.preflight import check_privileges
from ..pipeline import compile_rules, made_anew
from ..progress import Progress
from ..rules.model import Ruleset
from ..source import UserError
from ..verify import show
from ..verify.derive import derive
from ..verify.lifted import stopping, without
from ..verify.place import settle
from ..verify.run import FRAMES, verify
from ..verify.wire import Wire, benches, compiled_for, on_the_wire
from .inputs import read_rules, read_source, tell_of
from .options import Given, Making, given_options, making_options
from .output import print_json
from .progress import progress_bar

_ON_THE_WIRE = 2000  # frames, of those that are tried


@click.command("verify")
@click.argument("rules", nargs=-1, required=True)
@given_options("the interface that the program will serve; decides what -i matches")
@making_options
@click.option("--kernel", "on_wire", is_flag=True, help="send frames to real netfilter too, in a namespace")
@click.option("--plan", "only_plan", is_flag=True, help="the plan only, as without root")
@click.option("--frames", default=FRAMES, show_default=True, type=click.IntRange(1), help="frames at most")
@click.option("--seconds", default=20.0, show_default=True, type=click.FloatRange(0.1), help="time at most")
@click.option("--seed", default=1, show_default=True, help="other frames for another number")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output")
def verify_command(
    rules: tuple[str, ...], given: Given, making: Making, on_wire: bool, only_plan: bool, frames: int,
    seconds: float, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Try RULES on frames made from them: the program may drop only what netfilter would have dropped. RULES
    may be of both families, in one file or in two.

    As root the compiled program runs in the kernel, attached to nothing. Exit status 1 on a disagreement."""
    if on_wire and only_plan:
        raise UserError("--kernel sends frames through the program, and --plan makes none", "leave one out")
    reading = read_rules(rules, given.family)
    rulesets = reading.rulesets
    facts = given.host()
    given.note_interface(facts, rulesets)
    host, _ = settle(without(facts, stopping(facts)), given.interface)
    sets = read_source(given.ipset_file).text if given.ipset_file else ""
    in_kernel = not only_plan and (on_wire or _may_load())
    if in_kernel:
        check_privileges()
        import_bcc()
    tell_of(reading, rules)
    with progress_bar() as progress:
        progress("compiling", 0, 0)
        compiled = compile_rules(rulesets, host, budgets=making.budgets, engine=making.engine)
        while True:
            try:
                found = verify(
                    rulesets, host, compiled, in_kernel=in_kernel, limit=frames, seconds=seconds, seed=seed,
                    progress=progress, limited=making.budgets.effects,
                )  # fmt: skip
                break
            except TooComplex:  # `load` makes it smaller as well
                if making.engine.halvings == MOST_HALVINGS:
                    raise
                making = replace(making, engine=making.engine.smaller)
                compiled = made_anew(compiled, rulesets, host, making.engine)
        most = min(frames, _ON_THE_WIRE)
        wire = _wire(rulesets, host, sets, making, most, seed, progress) if on_wire else None
    if as_json:
        print_json(show.to_data(found, wire))
    else:
        console = Console(highlight=False)
        show.show(found, wire, console, shlex.join([*rules, *given.words]))
        console.print(f"[bold]{show.verdict(found, wire)}[/bold]", soft_wrap=True)
    if not show.verdict(found, wire).startswith("ok"):
        sys.exit(1)


def _may_load() -> bool:
    """Whether programs can be loaded; without root or BCC the plan is what is left to verify."""
    try:
        if os.geteuid() != 0:
            return False
        check_privileges()
        import_bcc()
    except UserError:
        return False
    return True


def _wire(
    rulesets: tuple[Ruleset, ...], host: HostFacts, sets: str, making: Making, limit: int, seed: int,
    progress: Progress,
) -> Wire:  # fmt: skip
    if host.interface.name == "lo":
        raise UserError(
            "--kernel sends frames from outside, and none comes in at lo", "name another one by -i"
        )
    _, place = settle(host)
    with benches(rulesets, place, host.interface.name, sets) as pair:
        compiled = compiled_for(pair[0], rulesets, host, making.budgets, making.engine)
        frames = list(derive(rulesets, compiled.plan.lists, place, limit, seed))
        return on_the_wire(pair, rulesets, frames, compiled, progress)
