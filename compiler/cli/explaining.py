"""explain: what happens to one packet, rule by rule, and which packet a rule decides."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from ..explain import example, show
from ..explain.language import Asked, read_packet
from ..explain.packets import Explainer, adopt
from ..explain.pcap import read_capture
from ..fields import Family
from ..host.facts import HostFacts
from ..pipeline import Compiled, compile_rules
from ..rules.model import Ruleset
from ..source import UserError, printable
from ..verify.lifted import stopping, without
from ..verify.place import settle
from .inputs import read_rules, tell_of
from .options import Given, Making, given_options, making_options
from .output import print_json


@click.command("explain")
@click.argument("words", nargs=-1, metavar="RULES... [PACKET]")
@given_options("the interface that the packet comes in at")
@making_options
@click.option("--pcap", "capture", help="each packet of a pcap or pcapng file (- for standard input), in sum")
@click.option("--rule", "line", metavar="[FILE:]LINE", help="a packet that the rule in this line decides")
@click.option("--all", "everything", is_flag=True, help="also the rules that say no, however many")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output")
def explain_command(
    words: tuple[str, ...], given: Given, making: Making, capture: str | None, line: str | None,
    everything: bool, as_json: bool,
) -> None:  # fmt: skip
    """Say what RULES do to PACKET, such as 'tcp 203.0.113.9:4444 > 192.0.2.1:22 syn state new', or a whole
    frame in hex digits."""
    rules, packet = _rules_and_packet(words, capture, line)
    reading = read_rules(rules, given.family)
    tell_of(reading, rules)
    rulesets = reading.rulesets
    facts = given.host()
    given.note_interface(facts, rulesets)
    facts = without(facts, stopping(facts))
    console = Console(highlight=False)
    if line is not None:
        host, place = settle(facts, given.interface)
        found = example.find(rulesets, host, _compiled(rulesets, host, making), line, place)
        if as_json:
            print_json(example.to_data(found))
        else:
            example.show(found, console, everything)
        sys.exit(0 if found.explained else 1)
    if packet is not None:
        only_six = {r.family for r in rulesets} == {Family.IPV6}
        family = Family.IPV6 if only_six else Family.IPV4
        asked = [read_packet(packet, settle(facts, given.interface)[1], family)]
    else:
        captured = read_capture(capture or "")
        for note in captured.notes:
            click.echo(printable(f"note: {note}"), err=True)
        asked = [Asked(frame) for frame in captured.frames]
    host, _ = settle(adopt(facts, (a.frame for a in asked)), given.interface)
    explainer = Explainer(rulesets, host, _compiled(rulesets, host, making))
    explained = [explainer.explain(a.frame, a.state) for a in asked if packet or len(a.frame) >= 14]
    if as_json:
        data = [show.to_data(e) for e in explained]
        print_json(data[0] if packet is not None else data)
    elif packet is not None:
        show.show(explained[0], console, everything)
    else:
        show.show_many(explained, console)


def _rules_and_packet(
    words: tuple[str, ...], capture: str | None, line: str | None
) -> tuple[tuple[str, ...], str | None]:
    """Without --pcap or --rule the last word is the packet. What is a file is none."""
    named = (capture is not None) + (line is not None)
    last_is_packet = len(words) > 1 and not Path(words[-1]).is_file()
    if not words or named + last_is_packet != 1:
        raise UserError("say which packet: PACKET, --pcap FILE or --rule LINE", "xdptables explain --help")
    return (words, None) if named else (words[:-1], words[-1])


def _compiled(rulesets: tuple[Ruleset, ...], host: HostFacts, making: Making) -> Compiled:
    return compile_rules(rulesets, host, budgets=making.budgets, engine=making.engine)
