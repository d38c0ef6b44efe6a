"""xdptables verify --kernel: the same frames through real netfilter."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.command import EXAMPLES, fine, xdptables
from cli.test_cli_verify import as_root, breaking
from verify.test_compare import WALL
from xdptables.cli.main import cli
from xdptables.emit import generate
from xdptables.matches.view import Kind
from xdptables.pipeline import Compiled, compile_rules
from xdptables.verify import wire as on_wire


@as_root
def test_real_netfilter_agrees(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text(
        "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
        "-A INPUT -m conntrack --ctstate INVALID -j DROP\n"
        "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
        "-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT\n"
        "-A INPUT -p udp -m udp --dport 53 -j ACCEPT\nCOMMIT\n"
    )
    done = fine("verify", rules, "-i", "eth0", "--kernel", "--json")
    wire = json.loads(done.stdout)["kernel"]
    assert wire["lost"] == wire["gained"] == wire["counted"] == []
    assert wire["sent"] > 300 and wire["came"] > 10 and wire["dropped"] > 100


ANSWERS_ONLY = """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""


@as_root
@pytest.mark.parametrize("family", ["-4", "-6"])
def test_what_has_an_entry_comes_through(family: str) -> None:
    wire = json.loads(
        fine("verify", "-", "-i", "eth0", family, "--kernel", "--json", input=ANSWERS_ONLY).stdout
    )["kernel"]
    assert wire["came"] == 0 and wire["dropped"] > 100 and not wire["lost"] and not wire["gained"]
    known = wire["with_entry"]
    assert known["sent"] > 100 and known["sent"] > known["came"] > 40


@as_root
def test_a_run_that_shows_little_says_so() -> None:
    """The answers come in elsewhere."""
    for rules, some in ((ANSWERS_ONLY, False), (ANSWERS_ONLY.replace("-m conn", "-i wan0 -m conn"), True)):
        done = fine("verify", "-", "-i", "eth0", "--kernel", "--frames", "60", input=rules)
        assert ("nothing comes through at all" in done.stdout) == some, done.stdout


@as_root
def test_a_program_that_does_not_ask_conntrack_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def unasked(*args: Any, **kwargs: Any) -> Compiled:
        done = compile_rules(*args, **kwargs)
        at = {d.kind: d for d in done.plan.lists}
        careless = {Kind.IPV4: at[Kind.IPV4_NO_ENTRY].decisions}
        lists = tuple(
            dataclasses.replace(d, decisions=careless.get(d.kind, d.decisions)) for d in done.plan.lists
        )
        plan = dataclasses.replace(done.plan, lists=lists)
        return dataclasses.replace(done, plan=plan, c_text=generate(plan))

    monkeypatch.setattr(on_wire, "compile_rules", unasked)
    ran = CliRunner().invoke(cli, ["verify", "-", "--kernel", "-i", "eth0", "--json"], input=ANSWERS_ONLY)
    found = json.loads(ran.stdout)
    assert ran.exit_code == 1 and found["disagreements"] == []
    assert found["kernel"]["lost"]
    assert all(f["made_as"].endswith(", with an entry") for f in found["kernel"]["lost"])


@as_root
def test_rules_that_netfilter_refuses() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m set --match-set none src -j DROP\nCOMMIT\n"
    done = xdptables("verify", "-", "--kernel", input=text)
    assert done.returncode == 1 and done.stderr.startswith(
        "xdptables: netfilter does not take the ipv4 rules: Set none doesn't exist.\n"
        "    -A INPUT -m set --match-set none src -j DROP\n"
    )
    done = xdptables("verify", EXAMPLES / "blocklist.rules", "-i", "lo", "--kernel", "--frames", "9")
    assert done.returncode == 1 and "none comes in at lo\n    hint: name another" in done.stderr


@as_root
def test_a_broken_program_does_not_survive_real_netfilter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_wire, "compile_rules", breaking)
    ran = CliRunner().invoke(cli, ["verify", "-", "--kernel", "-i", "eth0", "--json"], input=WALL)
    found = json.loads(ran.stdout)
    assert ran.exit_code == 1 and found["disagreements"] == []
    assert any(":19 " in f["packet"] for f in found["kernel"]["lost"])
