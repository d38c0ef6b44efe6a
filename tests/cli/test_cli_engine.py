"""--engine and --table-memory, from the command line to the report and to the watcher."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli.command import fine
from xdptables.emit.engine import EngineRequest
from xdptables.host.facts import HostFacts
from xdptables.kernel import syscall
from xdptables.kernel.compile import compile_program
from xdptables.kernel.state import LoadedState
from xdptables.watching import request_of

RULES = str(Path(__file__).resolve().parents[2] / "examples" / "blocklist.rules")


def report(*options: str) -> dict[str, object]:
    data: dict[str, object] = json.loads(fine("compile", RULES, "-i", "eth0", "--json", *options).stdout)
    return data


def test_the_report_names_the_engine() -> None:
    assert "ipv4 linear, about" in str(report()["engines"])
    tables = report("--engine", "tables")
    assert "ipv4 tables as asked" in str(tables["engines"]) and "the tables take" in str(tables["engines"])
    assert tables["summary"] == report()["summary"]


def test_what_does_not_fit_is_reported() -> None:
    data = report("--engine", "tables", "--table-memory", "0")
    assert data["cut"] and "0 of 6" in str(data["summary"])
    line = f"{data['cut']} decisions did not fit into the program and are left to netfilter"
    assert data["limits"] == [line] and report()["limits"] == []
    text = fine("compile", RULES, "-i", "eth0", "--engine", "tables", "--table-memory", "0").stdout
    assert f"limit: {line}\n" in text


@pytest.mark.kernel
def test_a_dry_run_describes_tables_and_passes_all_without_them() -> None:
    text = fine("compile", RULES, "-i", "eth0", "--dry-run", "--engine", "tables").stdout
    assert "value to class" in text and len(text) < 60_000
    program = compile_program(text)
    fd = syscall.prog_load(program.instructions, program.license).fd
    try:
        assert syscall.test_run(fd, bytes(12) + b"\x08\x00" + b"\x45" + bytes(60))[0] == 2
    finally:
        os.close(fd)


def test_the_watcher_keeps_them() -> None:
    asked = {"rules": None, "engine": {"engine": "tables", "table_memory": 1 << 20}}
    known = LoadedState(
        ifname="eth0", ifindex=1, netns="", netns_inode=1, mode="native", prog_id=1, load_time=1,
        since="", source="live", host=HostFacts(), report={"request": asked},
    )  # fmt: skip
    assert request_of(known).engine == EngineRequest("tables", 1 << 20)
