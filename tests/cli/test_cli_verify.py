"""xdptables verify, and what load tries before it attaches."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.command import EXAMPLES, fine, xdptables
from netns import NetnsPair
from verify.test_compare import WALL, broken
from xdptables import loading
from xdptables.cli import verifying
from xdptables.cli.main import cli
from xdptables.emit import generate
from xdptables.host.facts import PLAIN_HOST
from xdptables.kernel import attach
from xdptables.pipeline import Compiled, compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source, UserError
from xdptables.verify import run
from xdptables.verify.lifted import without
from xdptables.verify.namespace import NoNamespace
from xdptables.verify.place import settle
from xdptables.verify.show import verdict

NOBODY = 65534
as_root = pytest.mark.kernel


def breaking(*args: Any, **kwargs: Any) -> Compiled:
    """As `compile_rules`, with a decision that takes one port too many."""
    done = compile_rules(*args, **kwargs)
    plan, _ = broken(done.plan)[0]
    return dataclasses.replace(done, plan=plan, c_text=generate(plan))


@as_root
@pytest.mark.parametrize("name", ["blocklist6", "stateful"])
def test_the_examples(name: str) -> None:
    done = fine("verify", EXAMPLES / f"{name}.rules", "-i", "eth0")
    assert "frames on the compiled program" in done.stdout
    assert done.stdout.endswith("ok: nothing is dropped that netfilter would have let through\n")
    assert ("after a look at conntrack" in done.stdout) == (name == "stateful")


def test_without_root_the_plan_is_tried() -> None:
    done = fine("verify", "-", "-i", "eth0", input=WALL, user=NOBODY if os.geteuid() == 0 else None)
    assert "plan of the program (running it needs root)" in done.stdout and "ok: " in done.stdout


def test_as_data() -> None:
    found = json.loads(fine("verify", "-", "-i", "eth0", "--plan", "--json", input=WALL).stdout)
    assert found["ok"] and found["subject"] == "plan" and found["disagreements"] == []
    assert found["frames"]["dropped"] == found["frames"]["judged"] > 50
    assert [d["line"] for d in found["drops"]] == [3, 4, 5, 6]
    assert found["decisions"]["dropping"] == found["decisions"]["reached"] == 4


def test_fewer_frames_and_other_seeds() -> None:
    few = json.loads(fine("verify", "-", "--plan", "--json", "--frames", "40", input=WALL).stdout)
    assert few["frames"]["tried"] == 40
    one, two = (
        fine("verify", "-", "--plan", "--json", "--frames", "300", "--seed", seed, input=WALL).stdout
        for seed in ("1", "2")
    )
    assert json.loads(one)["frames"]["dropped"] != json.loads(two)["frames"]["dropped"]


def test_rules_that_drop_nothing() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n"
    said = fine("verify", "-", "--plan", input=text).stdout
    assert "no decision drops: a few frames do" in said and said.endswith("ok: nothing is dropped\n")
    many = "".join(f"-A INPUT -s 10.{n >> 8}.{n & 255}.0/24 -j ACCEPT\n" for n in range(3000))
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{many}COMMIT\n"
    found = json.loads(fine("verify", "-", "--plan", "--json", input=text).stdout)
    assert found["frames"]["tried"] < 600 and found["seconds"] < 10 and found["time_ran_out"] == []


def test_what_there_was_no_time_for_is_said() -> None:
    rules = "".join(f"-A INPUT -s 10.{n >> 8}.{n & 255}.0/24 -j DROP\n" for n in range(0, 4000, 2))
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{rules}COMMIT\n"
    for words, some in ((("--seconds", "0.3"), True), (("--frames", "9"), False)):
        done = xdptables("verify", "-", "-i", "eth0", "--plan", *words, input=text)
        assert ("time ran out (--seconds): " in done.stdout) == some, done.stdout
    assert "time ran out" not in fine("verify", "-", "-i", "eth0", "--plan", input=WALL).stdout


def test_drops_that_nobody_judged_are_not_called_right() -> None:
    rulesets = read_rulesets(Source("r", WALL))
    host, _ = settle(PLAIN_HOST, "eth0")
    found = run.verify(rulesets, host, compile_rules(rulesets, host), in_kernel=False)
    for judged, begins in ((found.comparison.dropped, "ok: "), (7, "ok so far: none of the 7 "), (0, "time")):
        partly = dataclasses.replace(found.comparison, judged=judged)
        assert verdict(dataclasses.replace(found, comparison=partly), None).startswith(begins)


def test_a_rule_that_no_frame_meets_is_named() -> None:
    rules = "".join(f"-A INPUT -p tcp -m tcp --dport {n} -j DROP\n" for n in range(1, 99, 2))
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{rules}COMMIT\n"
    done = fine("verify", "-", "-i", "wan0", "--plan", "--frames", "9", input=text)
    assert "not met: line 6: -A INPUT -p tcp -m tcp --dport 7 -j DROP\n" in done.stdout
    assert "why: xdptables explain - -i wan0 --rule 6\n" in done.stdout


def test_a_rule_behind_one_that_counts_is_met() -> None:
    """Whatever the limit answers, some frame fits it; so with one behind a state that is not known."""
    before = "-A INPUT -s 10.0.0.0/8 -j DROP\n-A INPUT -m limit --limit 1/s -j ACCEPT\n"
    ways = (("INVALID", "DROP"), ("ESTABLISHED", "ACCEPT"))
    state = "".join(f"-A INPUT -m conntrack --ctstate {s} -j {end}\n" for s, end in ways)
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{before}{state}-A INPUT -p tcp -j DROP\nCOMMIT\n"
    assert ", and 5 of 5 rules\n" in fine("verify", "-", "-i", "eth0", "--plan", input=text).stdout


@as_root
def test_sets(tmp_path: Path) -> None:
    sets = tmp_path / "sets"
    sets.write_text("create bad hash:net family inet\nadd bad 203.0.113.0/28\nadd bad 198.51.100.7\n")
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m set --match-set bad src -j DROP\nCOMMIT\n"
    found = json.loads(fine("verify", "-", "--ipset", sets, "--kernel", "--json", input=text).stdout)
    assert found["ok"] and found["kernel"]["dropped"] > 8
    done = fine("explain", "-", "udp 203.0.113.15:1 > me:2", "--ipset", sets, input=text)
    assert "netfilter  drops it by line 3" in done.stdout and "XDP  drops it, by line 3" in done.stdout


def test_a_broken_plan_is_found_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "compile_rules", breaking)
    for extra in ([], ["--json"]):
        ran = CliRunner().invoke(cli, ["verify", "-", "--plan", "-i", "eth0", *extra], input=WALL)
        assert ran.exit_code == 1
        if extra:
            found = json.loads(ran.stdout)
            assert not found["ok"]
            assert {d["rule"]["line"] for d in found["disagreements"]} == {3}
            assert found["disagreements"][0]["judge"] == "netfilter accepts it"
        else:
            assert "WRONG  line 3: -A INPUT -s 10.0.0.0/8 -p tcp" in ran.stdout
            assert "> 192.0.2.1:19 syn" in ran.stdout and "this is a defect of xdptables" in ran.stdout


@as_root
def test_load_refuses_a_program_that_drops_in_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-nft-restore"], input=WALL)
        request = loading.Request(pair.server.ifname, netns=pair.server.ns)
        monkeypatch.setattr(loading, "compile_rules", breaking)
        prepared = loading.prepare(request)
        with pytest.raises(UserError, match="what netfilter may accept, so it is not loaded") as caught:
            loading.load(prepared)
        assert f"{pair.server.addr4}:19 syn" in str(caught.value) and "netfilter accepts it" in str(
            caught.value
        )
        with pair.enter(pair.server):
            assert attach.attached(pair.server.ifindex) == {}


@as_root
def test_load_says_what_it_tried_and_leaves_no_trace_of_it() -> None:
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-nft-restore"], input=WALL)
        words = ("load", pair.server.ifname, "--netns", pair.server.ns, "--no-watch")
        done = fine(*words)
        assert "verified: " in done.stdout and "none in error" in done.stdout
        (status,) = json.loads(fine("status", pair.server.ifname, "--netns", pair.server.ns, "--json").stdout)
        assert not any(rule["packets"] for rule in status["rules"]) and not status["verdicts"]["dropped"]
        assert "verified" not in fine(*words, "--replace", "--no-verify").stdout
        (verified,) = json.loads(fine(*words, "--replace", "--json").stdout)["verified"]
        assert verified["dropped"] == verified["judged"] > 50
        fine("unload", pair.server.ifname, "--netns", pair.server.ns)


@as_root
def test_load_where_no_namespace_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs where the interface is, and drops nothing in error there either."""

    def refuse(*args: object) -> object:
        raise NoNamespace("no network namespace can be made: Operation not permitted", "run this as root")

    monkeypatch.setattr(run, "own_namespace", refuse)
    told: list[Any] = []
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-nft-restore"], input=WALL)
        request = loading.Request(pair.server.ifname, netns=pair.server.ns)
        loading.load(loading.prepare(request), told.append)
        assert told[0].dropped == told[0].judged > 50 and not told[0].disagreements
        fine("unload", pair.server.ifname, "--netns", pair.server.ns)


@as_root
def test_what_the_user_lifts_is_no_disagreement() -> None:
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-nft-restore"], input=WALL)
        native = "table inet mine { chain c { type filter hook input priority -1; meta mark set 1; }; }"
        pair.run(pair.server, ["nft", native])
        done = fine(
            "load",
            pair.server.ifname,
            "--netns",
            pair.server.ns,
            "--no-watch",
            "--disregard",
            "nft:inet/mine",
        )
        assert "verified: " in done.stdout and " 0 dropped" not in done.stdout
        fine("unload", pair.server.ifname, "--netns", pair.server.ns)


def test_only_the_fact_behind_a_finding_goes() -> None:
    from xdptables.host.facts import InterfaceFacts, NativeTable
    from xdptables.host.findings import findings

    link = InterfaceFacts(tc_ingress=("a",), gro=True)
    tables = tuple(NativeTable("inet", n, ("input",), why="nat") for n in ("one", "two"))
    host, _ = settle(dataclasses.replace(PLAIN_HOST, interface=link, native_tables=tables, log_martians=True))
    lifted = [f for f in findings(host) if f.id in ("tc-ingress", "nft:inet/one")]
    left = without(host, lifted)
    assert left.interface.tc_ingress == () and [t.name for t in left.native_tables] == ["two"]
    assert left.log_martians and left.interface.gro
    assert {f.id for f in findings(host)} - {f.id for f in findings(left)} == {f.id for f in lifted}


def test_errors_of_the_user() -> None:
    done = xdptables("verify", "/nowhere")
    assert done.returncode == 1 and "can't read /nowhere" in done.stderr
    done = xdptables("verify", "-", input="*filter\n:INPUT ACCEPT\n-A INPUT -s nowhere/99 -j DROP\n")
    assert done.returncode == 1 and "<stdin>:" in done.stderr
