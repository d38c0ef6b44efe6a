"""compile: where each output goes, what is said of broken input, statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import EXAMPLES, ROOT, fine, xdptables

BLOCKLIST = EXAMPLES / "blocklist.rules"
BROKEN = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp --dport 70000 -j DROP
-A INPUT -s 192.0.2.400 -j DROP
allow ssh please
-A INPUT -m comment --comment "open
COMMIT
"""
SAID = """<stdin>:3:25: error: --dport: port 70000 is not between 0 and 65535
    -A INPUT -p tcp --dport 70000 -j DROP
                            ^~~~~
    hint: iptables-restore refuses it as well
<stdin>:4:13: error: -s: 192.0.2.400 is no IPv4 address
    -A INPUT -s 192.0.2.400 -j DROP
                ^~~~~~~~~~~
    hint: iptables-restore refuses it as well
<stdin>:5:1: error: this is no line of iptables-save output
    allow ssh please
    ^~~~~
    hint: expected *table, :CHAIN POLICY [packets:bytes], -A CHAIN ..., COMMIT or a # comment
<stdin>:6:31: error: the quoted string does not end on this line
    -A INPUT -m comment --comment "open
                                  ^~~~~
    hint: close it with "
"""


def test_all_errors_at_once_to_the_letter() -> None:
    done = xdptables("compile", "-", input=BROKEN)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", SAID)


def test_the_report_is_on_stdout() -> None:
    done = fine("compile", BLOCKLIST, "-i", "eth0")
    assert done.stdout.splitlines()[-1] == "6 of 6 dropping rules run in XDP"
    assert done.stderr == ""


def test_standard_input_is_as_good_as_a_file() -> None:
    text = BLOCKLIST.read_text()
    assert fine("compile", "-", input=text).stdout == fine("compile", BLOCKLIST).stdout


def test_a_dry_run_prints_c_alone_and_the_same_as_output(tmp_path: Path) -> None:
    file = tmp_path / "out.c"
    done = fine("compile", BLOCKLIST, "--dry-run", "-o", file)
    assert done.stdout == file.read_text()
    assert done.stdout.startswith("/*") and done.stdout.endswith("\n")
    assert "6 of 6" in done.stderr and "6 of 6" not in done.stdout


def test_json() -> None:
    data = json.loads(fine("compile", BLOCKLIST, "-i", "eth0", "--json").stdout)
    assert data["summary"] == "6 of 6 dropping rules run in XDP"
    assert [r["fate"] for r in data["rules"]] == ["offloaded"] * 6
    assert [r["line"] for r in data["rules"]] == [6, 7, 8, 9, 10, 11]
    assert data["cut"] == 0 and data["disregarded"] == []


def test_json_beside_a_dry_run_goes_to_stderr() -> None:
    done = fine("compile", BLOCKLIST, "--dry-run", "--json")
    assert json.loads(done.stderr)["rules"]
    assert done.stdout.startswith("/*")


def test_an_observed_host_is_read_back() -> None:
    from xdptables.host.facts import ASSUMPTIONS

    host = ASSUMPTIONS["plain"].to_json()
    told = fine("compile", BLOCKLIST, "--host", "/dev/stdin", input=host)
    assert told.stdout == fine("compile", BLOCKLIST).stdout


def test_an_empty_input_has_no_rules() -> None:
    assert "no dropping rule can be reached" in fine("compile", "-").stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["nowhere.rules"], 1, "xdptables: can't read nowhere.rules: No such file or directory\n    hint: "),
        (["/"], 1, "xdptables: can't read /: Is a directory\n    hint: "),
        ([str(BLOCKLIST), "-o", "/nowhere/x.c"], 1, "xdptables: can't write /nowhere/x.c: No such file"),
        ([str(BLOCKLIST), "--host", str(BLOCKLIST)], 1, f"xdptables: {BLOCKLIST}: not JSON: "),
        ([str(BLOCKLIST), "--assume", "magic"], 2, "Usage: "),
        ([], 2, "Usage: "),
    ],
)
def test_what_the_user_gets_wrong(words: list[str], status: int, said: str) -> None:
    done = xdptables("compile", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(said)


def test_random_bytes_are_refused() -> None:
    done = xdptables("compile", "-", input=bytes(range(256)) * 3)
    assert done.returncode == 1
    assert "error: " in done.stderr


def test_a_broken_pipe_is_silent() -> None:
    command = [sys.executable, "-m", "xdptables", "compile", str(BLOCKLIST), "--dry-run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout and child.stderr
        child.stdout.close()
        said = child.stderr.read().decode()
    assert child.returncode != 0
    assert "Traceback" not in said and "Exception" not in said


def test_a_full_disk_is_said() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "xdptables", "compile", str(BLOCKLIST), "--dry-run"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (1, "xdptables: No space left on device\n")


def test_help_and_version() -> None:
    assert fine("--version").stdout.startswith("xdptables, version ")
    for command in ("compile", "load", "unload", "status", "host", "watch"):
        assert fine(command, "--help").stdout.startswith(f"Usage: xdptables {command} ")
