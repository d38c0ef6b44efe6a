"""Options that shape a program mean the same to every command."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from cli.command import EXAMPLES, fine, xdptables
from xdptables.cli.main import cli

MAKING = ("--reject-budget", "--log-budget", "--engine", "--table-memory")
GIVEN = ("-4", "-6", "--assume", "--host", "--ipset")
REJECT = (
    "*filter\n:INPUT ACCEPT [0:0]\n"
    "-A INPUT -p udp -m udp --dport 9 -j REJECT --reject-with icmp-port-unreachable\n"
    "-A INPUT -p tcp -m tcp --dport 23 -j DROP\nCOMMIT\n"
)
LOG = (
    "*filter\n:INPUT ACCEPT [0:0]\n"
    "-A INPUT -p udp -m udp --dport 9 -m limit --limit 1/min -j LOG\n"
    "-A INPUT -p udp -m udp --dport 9 -j DROP\nCOMMIT\n"
)
where_it_runs = pytest.mark.parametrize("plan", [True, pytest.param(False, marks=pytest.mark.kernel)])


def params(command: str) -> dict[str, dict[str, Any]]:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return {o: p.to_info_dict() for p in found.params for o in p.opts if isinstance(p, click.Option)}


@pytest.mark.parametrize(
    ("options", "commands"),
    [(MAKING, ("compile", "load", "verify", "explain")), (GIVEN, ("compile", "verify", "explain"))],
)
def test_commands_share_them(options: tuple[str, ...], commands: tuple[str, ...]) -> None:
    first, *others = (params(c) for c in commands)
    for other in others:
        assert {o: first[o] for o in options} == {o: other[o] for o in options}


def verified(rules: str, plan: bool, *options: str) -> dict[str, Any]:
    more = ["--plan"] if plan else []
    found: dict[str, Any] = json.loads(fine("verify", "-", "--json", *more, *options, input=rules).stdout)
    assert found["ok"] and found["subject"] == ("plan" if plan else "program")
    assert not found["differing"]
    return found


@where_it_runs
@pytest.mark.parametrize(
    ("rules", "option", "line"), [(REJECT, "--reject-budget", 3), (LOG, "--log-budget", 4)]
)
@pytest.mark.parametrize("engine", ["linear", "tables"])
def test_budgets_are_verified(rules: str, option: str, line: int, engine: str, plan: bool) -> None:
    """What is dropped beyond a budget is judged as well, though a fresh budget passes it."""
    without = verified(rules, plan, "--engine", engine)
    found = verified(rules, plan, "--engine", engine, option, "auto")
    before, after = ({d["line"]: d["frames"] for d in v["drops"]} for v in (without, found))
    assert after[line] > before.get(line, 0)  # REJECT is silent to broadcasts
    assert found["frames"]["judged"] == found["frames"]["dropped"] > without["frames"]["dropped"]


@where_it_runs
def test_the_program_that_fits_is_verified(plan: bool) -> None:
    assert verified(REJECT, plan, "--engine", "tables")["frames"]["dropped"]
    none = verified(REJECT, plan, "--engine", "tables", "--table-memory", "0")
    assert none["frames"]["dropped"] == none["decisions"]["dropping"] == 0


@pytest.mark.kernel
def test_real_netfilter_is_set_against_that_program() -> None:
    words = ("verify", "-", "--kernel", "--json", "--frames", "400", "--engine", "tables")
    wire = json.loads(fine(*words, "--reject-budget", "auto", input=REJECT).stdout)["kernel"]
    assert wire["dropped"] > 0 and wire["lost"] == wire["gained"] == []
    assert not json.loads(fine(*words, "--table-memory", "0", input=REJECT).stdout)["kernel"]["dropped"]


def explained(rules: str, packet: str, *options: str) -> str:
    return fine("explain", "-", packet, *options, input=rules).stdout


def test_explain_speaks_of_the_program_that_is_meant() -> None:
    telnet = "tcp 203.0.113.9:4444 > me:23 syn"
    assert "XDP  drops it, by line 4" in explained(REJECT, telnet, "--engine", "tables")
    cut = explained(REJECT, telnet, "--engine", "tables", "--table-memory", "0")
    assert "the decision did not fit into the program" in cut
    port_9 = "udp 203.0.113.9:4444 > me:9"
    assert "XDP  passes it" in explained(REJECT, port_9)
    beyond = "XDP  drops it, beyond its source's budget, by line"
    assert f"{beyond} 3" in explained(REJECT, port_9, "--reject-budget", "auto")
    assert f"{beyond} 4" in explained(LOG, port_9, "--log-budget", "5")
    data = json.loads(explained(LOG, port_9, "--log-budget", "5", "--json"))
    assert data["xdp"]["drops"] and data["xdp"]["budget"]


@pytest.mark.parametrize("name", ["", "a b", "eth0/1", "..", "longer-than-fifteen"])
def test_names_that_no_interface_has(name: str) -> None:
    done = xdptables("compile", EXAMPLES / "blocklist.rules", "-i", name)
    assert done.returncode == 1 and done.stderr.startswith(
        f"xdptables: {name!r} is no name of an interface\n"
    )


def test_an_interface_that_is_taken_for_granted_is_told() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i {} -j DROP\nCOMMIT\n"
    for words in (("verify", "-", "--plan"), ("explain", "-", "tcp any > me:22")):
        for name, told in (("wan", True), ("lo", False)):
            done = fine(*words, input=text.format(name))
            assert ("note: no interface is given (-i), eth0 is taken" in done.stderr) == told
        assert fine(*words, "-i", "wan", input=text.format("wan")).stderr == ""


def test_a_file_without_rules_is_told() -> None:
    for words in (("compile", "-"), ("verify", "-", "--plan"), ("explain", "-", "tcp any > me:22")):
        assert "note: - holds no rules; iptables-save prints them, as root" in fine(*words, input="\n").stderr


@pytest.mark.parametrize(("option", "says"), [("--host", "xdptables host"), ("--ipset", "ipset save")])
def test_what_a_file_should_be(option: str, says: str) -> None:
    done = xdptables("compile", EXAMPLES / "blocklist.rules", option, "/nowhere")
    assert (
        done.returncode == 1
        and f"can't read /nowhere: No such file or directory\n    hint: give what `{says}" in (done.stderr)
    )


def test_an_option_without_its_match_is_named() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT --sport 5 -j DROP\nCOMMIT\n"
    assert (
        "because --sport: no match on this rule has such an option\n"
        in fine("compile", "-", input=text).stdout
    )
    done = fine("explain", "-", "tcp any > me", input=text)
    assert "--sport 5: no match on this rule has it\n" in done.stdout


def test_contradictions_are_refused() -> None:
    for words in (("compile", "-"), ("verify", "-", "--plan"), ("explain", "-", "tcp any > me:22")):
        done = xdptables(*words, "-4", "-6", input=REJECT)
        assert done.returncode == 1 and "-4 and -6 contradict each other\n    hint: " in done.stderr
    done = xdptables("verify", "-", "--kernel", "--plan", input=REJECT)
    assert done.returncode == 1 and "--plan makes none\n    hint: leave one out" in done.stderr
