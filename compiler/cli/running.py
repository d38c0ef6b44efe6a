"""load, unload, status, host: the commands that touch the running system."""

from __future__ import annotations

import dataclasses
from typing import Any

import click
from rich.console import Console

from ..fields import Family
from ..guarding import watch_guarded
from ..host.findings import findings
from ..host.observe import observe
from ..kernel.load import unload_program
from ..kernel.netns import in_netns
from ..kernel.preflight import check_privileges
from ..kernel.settle import repair
from ..kernel.state import LoadedState
from ..kernel.status import Status, list_loaded
from ..kernel.status import status as read_status
from ..loading import Prepared, Request, load_what_fits
from ..report.text import MOST, show
from ..source import UserError, printable
from ..verify.model import Comparison
from ..verify.namespace import NoNamespace
from ..watcher_process import start_in_background, to_syslog, watcher_pid
from ..watching import INTERVAL, hold_if_outdated, watch
from .inputs import read_source
from .options import Making, family_options, making_options
from .output import print_json
from .progress import progress_bar

#: In the order of `enum xt_why` in the program.
VERDICTS = (
    "dropped", "passed to netfilter", "not IP", "odd header", "other station", "not local", "DHCP",
    "IP options", "known to conntrack", "flow just seen", "conntrack look-ups", "passed on a budget",
    "rules just changed, or not watched",
)  # fmt: skip

netns_option = click.option("--netns", default="", help="name or path of the network namespace")
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on standard output")


@click.command("load")
@click.argument("interface")
@click.argument("rules", required=False)
@family_options
@click.option("--mode", type=click.Choice(["auto", "native", "generic"]), default="auto", show_default=True)
@click.option("--replace", is_flag=True, help="replace an XDP program that is attached")
@click.option("--interface-name", "port_of", default="", help="the bridge, bond or team that -i sees")
@click.option("--disregard", multiple=True, metavar="ID", help="lift a finding (globs; repeatable)")
@making_options
@click.option("--no-verify", is_flag=True, help="do not try the program on frames before it is attached")
@click.option("--no-watch", is_flag=True, help="do not follow changes of rules, addresses and host")
@netns_option
@json_option
def load_command(
    interface: str, rules: str | None, family: Family | None, mode: str, replace: bool, port_of: str,
    disregard: tuple[str, ...], making: Making, no_verify: bool, no_watch: bool, netns: str, as_json: bool,
) -> None:  # fmt: skip
    """Load on INTERFACE what the live rules, or those in RULES, allow to drop in XDP."""
    check_privileges()
    source = read_source(rules) if rules else None
    request = Request(
        interface, source, family, mode, replace, netns, port_of, disregard, not no_verify, making.budgets,
        making.engine, not no_watch,
    )  # fmt: skip
    console = Console(stderr=as_json, highlight=False)
    results: list[Comparison | NoNamespace] = []

    def tell(prepared: Prepared) -> None:
        for pattern in prepared.idle:
            console.print(f"note: --disregard {pattern} lifts nothing", markup=False)

    with progress_bar() as progress:
        prepared, state = load_what_fits(request, results.append, progress, advise=True, told=tell)
    if hold_if_outdated(state, prepared.kept) and no_watch:
        unload_program(state.ifname, netns=state.netns)
        raise UserError("the rules changed while the program was made; it is off again", "load once more")
    if not no_watch and watcher_pid(state.key) is None:
        _start_watcher(state)
    if as_json:
        verified = [_verified_data(r) for r in results]
        print_json(_state_data(state) | {"report": prepared.compiled.report.to_data(), "verified": verified})
        return
    show(prepared.compiled.report, console)
    for result in results:
        console.print(_verified(result))
    refused = f" (native mode was refused: {state.native_refused})" if state.native_refused else ""
    origin = _from(state.source)
    console.print(f"loaded on {interface}, {state.mode} mode{refused}, from {origin}", markup=False)


def _from(source: str) -> str:
    return "the live rules" if source == "live" else source


def _start_watcher(state: LoadedState) -> None:
    """Nobody would see that the rules change, and what they accept then would go on being dropped."""
    started, why = False, "it ended at once"
    try:
        started = start_in_background(state.key, state.ifname, state.netns)
    except OSError as e:
        why = e.strerror or str(e)
    if not started:
        unload_program(state.ifname, netns=state.netns)
        raise UserError(
            f"no watcher could be started ({why}), so the program was taken off {state.ifname} again",
            f"see what it says: xdptables load {state.ifname} --no-watch; xdptables watch {state.ifname}",
        )


def _verified(result: Comparison | NoNamespace) -> str:
    """What `load` tried; of a huge ruleset, as much as there was time for."""
    if isinstance(result, NoNamespace):
        return f"not verified: {result.message}"
    some = f", {result.judged} of them judged" if result.judged < result.dropped else ""
    return f"verified: {result.tried} frames tried, {result.dropped} dropped{some}, none in error"


def _verified_data(result: Comparison | NoNamespace) -> dict[str, Any]:
    if isinstance(result, NoNamespace):
        return {"tried": 0, "why": result.message}
    return {"tried": result.tried, "dropped": result.dropped, "judged": result.judged}


@click.command("unload")
@click.argument("interface", required=False)
@click.option("--all", "everything", is_flag=True, help="every program of ours, in all namespaces")
@netns_option
@json_option
def unload_command(interface: str | None, everything: bool, netns: str, as_json: bool) -> None:
    """Detach the program from INTERFACE and print what it did."""
    check_privileges()
    if everything == bool(interface):
        raise UserError("name an interface, or say --all")
    repaired: list[str] = []
    if interface:
        ended = [unload_program(interface, netns=netns)]
    else:
        ended = [unload_program(state.ifname, netns=state.netns) for state in list_loaded()]
        repaired = repair()
    if as_json:
        print_json([_status_data(status) for status in ended])
        return
    for status in ended:
        dropped = _status_data(status)["verdicts"].get("dropped", 0)
        click.echo(f"unloaded from {status.ifname}: {dropped} packets were dropped")
    for line in repaired:
        click.echo(line)


@click.command("status")
@click.argument("interface", required=False)
@netns_option
@json_option
def status_command(interface: str | None, netns: str, as_json: bool) -> None:
    """What is loaded, since when, and what it dropped by which rule."""
    found = [_status_data(s) for s in read_status(interface, netns_name=netns)]
    if as_json:
        print_json(found)
        return
    if not found:
        raise UserError(
            f"nothing is loaded{f' on {interface}' if interface else ''}",
            f"xdptables load {interface or 'INTERFACE'}; if it came off by itself, syslog says why",
        )
    for data in found:
        _show_status(data)


def _show_status(data: dict[str, Any]) -> None:
    def line(text: str) -> None:
        click.echo(printable(text))

    at_work = "attached" if data["attached"] else "NOT ATTACHED"
    origin = _from(data["source"])
    line(f"{data['interface']}: {at_work}, {data['mode']} mode, since {data['since']}, from {origin}")
    line(
        f"  watched by process {data['watcher']}"
        if data["watcher"]
        else "  not watched: changes go unnoticed"
    )
    for problem in data["problems"]:
        line(f"  problem: {problem}")
    for limit in data["limits"]:
        line(f"  limit: {limit}")
    if data["disregarded"]:
        line(f"  disregarded: {', '.join(data['disregarded'])}")
    for name, packets in data["verdicts"].items():
        line(f"  {packets:>14} {name}")
    line("       packets          bytes  rule")
    rules = data["rules"]
    if len(rules) > MOST:
        rules = sorted((r for r in rules if r["packets"]), key=lambda r: -r["packets"])[:MOST]
    for rule in rules:
        passed = f" ({rule['on_budget']} more passed on a budget)" if "on_budget" in rule else ""
        line(f"{rule['packets']:>14} {rule['bytes']:>14}  line {rule['line']}: {rule['rule']}{passed}")
    if len(rules) < len(data["rules"]):
        rest = len(data["rules"]) - len(rules)
        line(f"{rest} more rules, which dropped less or nothing, are not listed; --json has them all")


def _state_data(state: Any) -> dict[str, Any]:
    return {
        "interface": state.ifname, "netns": state.netns, "mode": state.mode, "since": state.since,
        "source": state.source, "program": state.prog_id, "disregarded": list(state.disregarded),
        "native_refused": state.native_refused,
    }  # fmt: skip


def _status_data(status: Status) -> dict[str, Any]:
    state = status.state
    rules = []
    for slot, rule in enumerate(status.rules):
        counted = status.counters.rules[slot] if slot < len(status.counters.rules) else None
        packets, size = (counted.packets, counted.bytes) if counted else (0, 0)
        rules.append({**rule, "packets": packets, "bytes": size})
        if rule.get("budget"):
            passed = status.counters.on_budget
            rules[-1]["on_budget"] = passed[slot] if slot < len(passed) else 0
    verdicts = dict(zip(VERDICTS, status.counters.verdicts, strict=False))
    return {
        "interface": status.ifname, "attached": status.attached, "problems": list(status.problems),
        "mode": state.mode if state else "", "since": state.since if state else "",
        "source": state.source if state else "", "netns": state.netns if state else "",
        "watcher": watcher_pid(state.key) if state else None,
        "limits": list(state.report.get("limits", ())) if state and isinstance(state.report, dict) else [],
        "disregarded": list(state.disregarded) if state else [], "verdicts": verdicts, "rules": rules,
    }  # fmt: skip


@click.command("watch")
@click.argument("interface")
@click.option(
    "--interval", default=INTERVAL, show_default=True, help="seconds between looks without an event"
)
@click.option("--syslog", "quiet", is_flag=True, help="tell syslog instead of standard output")
@netns_option
def watch_command(interface: str, interval: float, quiet: bool, netns: str) -> None:
    """Keep the program on INTERFACE true to the rules and the host; `load` starts this by itself."""
    check_privileges()
    if quiet:
        watch_guarded(interface, netns, interval, to_syslog)
    else:
        watch(interface, netns, interval, click.echo)


@click.command("host")
@click.argument("interface")
@netns_option
@click.option("--findings", "only_findings", is_flag=True, help="what the facts cost, instead of the facts")
@click.option("--json", "as_json", is_flag=True, help="the findings as JSON too")
def host_command(interface: str, netns: str, only_findings: bool, as_json: bool) -> None:
    """What is known of this host, as JSON for `compile --host`."""
    with in_netns(netns):
        host = observe(interface)
    if only_findings and as_json:
        print_json([dataclasses.asdict(f) for f in findings(host)])
    elif only_findings:
        for f in findings(host):
            click.echo(
                f"{f.id} ({f.scope.value}): {f.text}" + (f" | way out: {f.way_out}" if f.way_out else "")
            )
    else:
        click.echo(host.to_json())
