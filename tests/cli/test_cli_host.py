"""load, status, host, watch and unload as a user runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cli.command import EXAMPLES, ROOT, fine, xdptables
from netns import NetnsPair

pytestmark = pytest.mark.kernel

NOBODY = 65534
BLOCKLIST = EXAMPLES / "blocklist.rules"


@pytest.mark.parametrize("words", [["load", "lo"], ["unload", "lo"], ["status"], ["watch", "lo"]])
def test_not_root(words: list[str]) -> None:
    """The child gives its privileges up after the import: the project may lie where nobody reads."""
    script = f"""
        import os, sys
        import xdptables.cli.running
        from xdptables.cli.main import main
        os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
        sys.argv = ["xdptables", *{words!r}]
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "xdptables: this needs privileges: the process is not root and lacks"
        " CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON\n"
        "    hint: run it with sudo, or give the container these;"
        " compile, verify and explain need none\n"
    )


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["load", "nosuch0"], 1, "xdptables: there is no interface 'nosuch0'\n    hint: these exist: "),
        (
            ["load", "lo", "nowhere.rules"],
            1,
            "xdptables: can't read nowhere.rules: No such file or directory\n",
        ),
        (["load", "lo", "--netns", "nosuch"], 1, "xdptables: no network namespace 'nosuch'"),
        (["unload"], 1, "xdptables: name an interface, or say --all\n"),
        (["status", "nosuch0"], 1, "xdptables: nothing is loaded on nosuch0\n    hint: "),
        (["load"], 2, "Usage: xdptables load "),
    ],
)
def test_what_the_user_gets_wrong(words: list[str], status: int, said: str) -> None:
    done = xdptables(*words)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(said)


def test_from_load_to_unload() -> None:
    with NetnsPair() as pair:
        server = pair.server
        netns = ("--netns", server.ns)
        pair.run(server.ns, ["iptables-restore"], input=BLOCKLIST.read_text())
        host = json.loads(fine("host", server.ifname, *netns).stdout)
        assert host["interface"]["name"] == server.ifname
        assert fine("host", server.ifname, *netns, "--findings").returncode == 0

        loaded = json.loads(fine("load", server.ifname, str(BLOCKLIST), *netns, "--json").stdout)
        assert loaded["interface"] == server.ifname and loaded["mode"] in ("native", "generic")
        (status,) = json.loads(fine("status", server.ifname, *netns, "--json").stdout)
        assert status["attached"] and [r["line"] for r in status["rules"]] == [6, 7, 8, 9, 10, 11]
        assert "-s 198.51.100.7/32 -j DROP" in fine("status", server.ifname, *netns).stdout

        again = xdptables("load", server.ifname, *netns)
        assert again.returncode == 1, again.stdout
        assert "already has an xdptables program" in again.stderr
        assert fine("unload", server.ifname, *netns).stdout.startswith(f"unloaded from {server.ifname}: ")
        assert xdptables("unload", server.ifname, *netns).returncode == 1


def test_other_rules_than_the_live_ones_are_declined() -> None:
    with NetnsPair() as pair:
        server = pair.server
        done = xdptables("load", server.ifname, BLOCKLIST, "--netns", server.ns)
        assert done.returncode == 1
        assert (
            "rules-not-live:ipv4: netfilter holds other rules than the file, in table filter" in done.stderr
        )
        assert "--disregard rules-not-live:ipv4" in done.stderr
        lifted = ("--disregard", "rules-not-live:*", "--disregard", "nosuch")
        done = fine("load", server.ifname, BLOCKLIST, "--netns", server.ns, "--no-watch", *lifted)
        assert "note: --disregard nosuch lifts nothing" in done.stdout
        assert "disregarded rules-not-live:ipv4" in done.stdout
        fine("unload", server.ifname, "--netns", server.ns)


DEMO = ROOT / "scripts" / "demo.py"


def left_behind(said: str) -> list[str]:
    """The demo's namespaces that are still there."""
    tags = set(re.findall(r"xdpt-(\w+)-server", said))
    assert tags
    return [str(p) for tag in tags for p in Path("/run/netns").glob(f"xdpt-{tag}-*")]


def test_the_demo_shows_what_it_claims_and_leaves_nothing() -> None:
    done = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout
    assert not left_behind(done.stdout)


def test_the_demo_notices_when_it_is_not_so() -> None:
    lie = (
        "import dataclasses, sys, demo;"
        "web = [t for t in demo.TRAFFIC if t.port == 80 and not t.line][0];"
        "demo.TRAFFIC = (dataclasses.replace(web, line=6),);"
        "sys.exit(demo.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", lie], capture_output=True, text=True, check=False, cwd=DEMO.parent
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "WRONG" in done.stdout
    assert not left_behind(done.stdout)


@pytest.mark.kernel
def test_a_file_without_rules_is_not_loaded() -> None:
    done = xdptables("load", "lo", "-", input="# nothing here\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("xdptables: <stdin> holds no rules\n    hint: iptables-save prints them")
