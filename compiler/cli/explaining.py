"""explain: what happens to one packet, rule by rule, and which packet a rule decides."""

from __future__ import annotations

import sys

import click
from rich.console import Console

from ..explain import example, show
from ..explain.language import Asked, read_packet
from ..explain.packets import Explainer, adopt
from ..explain.pcap import read_frames
from ..fields import Family
from ..host.facts import ASSUMPTIONS
from ..pipeline import compile_rules
from ..rules.reader import read
from ..source import UserError, printable
from ..verify.lifted import stopping, without
from ..verify.place import settle
from .hosts import host_of
from .inputs import read_source
from .output import print_json


@click.command("explain")
@click.argument("rules")
@click.argument("packet", required=False)
@click.option("-i", "--interface", help="the interface that the packet comes in at")
@click.option("-4", "family", flag_value="ipv4", help="the rules are iptables-save's")
@click.option("-6", "family", flag_value="ipv6", help="the rules are ip6tables-save's")
@click.option("--assume", type=click.Choice(sorted(ASSUMPTIONS)), default="plain", show_default=True)
@click.option("--host", "host_file", help="what is known of the host, as JSON (xdptables host)")
@click.option("--ipset", "ipset_file", help="what the sets that rules name hold: `ipset save` output")
@click.option("--pcap", "capture", help="each packet of a pcap or pcapng file, in sum")
@click.option("--rule", "line", type=click.IntRange(1), help="a packet that the rule in this line decides")
@click.option("--all", "everything", is_flag=True, help="also the rules that say no, however many")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output")
def explain_command(
    rules: str, packet: str | None, interface: str | None, family: str | None, assume: str,
    host_file: str | None, ipset_file: str | None, capture: str | None, line: int | None, everything: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Say what RULES do to PACKET, such as 'tcp 203.0.113.9:4444 > 192.0.2.1:22 syn state new', or a whole
    frame in hex digits."""
    if sum(x is not None for x in (packet, capture, line)) != 1:
        raise UserError("say which packet: PACKET, --pcap FILE or --rule LINE", "xdptables explain --help")
    reading = read(read_source(rules), Family(family) if family else None)
    for warning in reading.warnings:
        click.echo(printable(warning.render()), err=True)
    rulesets = reading.rulesets
    facts = host_of(assume, host_file, interface, ipset_file)
    facts = without(facts, stopping(facts))
    console = Console(highlight=False)
    if line is not None:
        host, place = settle(facts, interface)
        found = example.find(rulesets, host, compile_rules(rulesets, host), line, place)
        if as_json:
            print_json(example.to_data(found))
        else:
            example.show(found, console, everything)
        sys.exit(0 if found.explained else 1)
    if packet is not None:
        asked = [read_packet(packet, settle(facts, interface)[1])]
    else:
        asked = [Asked(frame) for frame in read_frames(capture or "")]
    host, _ = settle(adopt(facts, (a.frame for a in asked)), interface)
    explainer = Explainer(rulesets, host, compile_rules(rulesets, host))
    explained = [explainer.explain(a.frame, a.state) for a in asked if packet or len(a.frame) >= 14]
    if as_json:
        data = [show.to_data(e) for e in explained]
        print_json(data[0] if packet is not None else data)
    elif packet is not None:
        show.show(explained[0], console, everything)
    else:
        show.show_many(explained, console)
