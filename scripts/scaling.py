"""What compiling and loading cost, step by step, by the number of rules: make scaling

The time is that of the CPU, which on an idle machine is the time that passes; the memory is the largest that
the process had in the step. Each column is a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from generated_rules import WORKLOADS

SIZES = (1_000, 10_000, 100_000)
BEGIN = "<!-- scaling: begin; scripts/scaling.py --write writes what is between -->"
END = "<!-- scaling: end -->"
XDPTABLES = [sys.executable, "-m", "xdptables"]
TITLES = {"drops": "A blocklist of single sources", "mixed": "A mixed access list, half of it accepting"}

Cost = tuple[float, float]  # seconds, MiB
T = TypeVar("T")


def steps(text: str) -> Iterator[tuple[str, Cost]]:
    """Every step of the compiler, in this process."""
    from xdptables.decisions import decide
    from xdptables.emit import generate, make_plan
    from xdptables.host.facts import ASSUMPTIONS
    from xdptables.host.findings import findings
    from xdptables.passes import PASSES
    from xdptables.report.model import make_report
    from xdptables.rules.reader import read_rulesets
    from xdptables.source import Source

    gc.disable()  # as the command does
    plain = ASSUMPTIONS["plain"]
    host = replace(plain, interface=replace(plain.interface, name="eth0"))
    kept = findings(host)
    rulesets, cost = _measured(lambda: read_rulesets(Source("rules", text)))
    yield "read the rules", cost
    lists, cost = _measured(lambda: decide(rulesets, host, kept))
    yield "decide", cost
    smaller = lists
    for number, step in enumerate(PASSES, 1):
        smaller, cost = _measured(lambda step=step, old=smaller: tuple(step(d) for d in old))
        yield f"pass {number}: {step.__name__}", cost
    plan, cost = _measured(lambda: make_plan(smaller))
    yield "plan", cost
    _, cost = _measured(lambda: generate(plan))
    yield "C text", cost
    report, cost = _measured(lambda: make_report(rulesets, host, lists, plan, kept))
    yield "report", cost
    _, cost = _measured(lambda: json.dumps(report.to_data()))
    yield "report as JSON", cost


def _measured(step: Callable[[], T]) -> tuple[T, Cost]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    began = time.process_time()
    result = step()
    took = time.process_time() - began
    status = Path("/proc/self/status").read_text()
    return result, (took, int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024)


class Failed(Exception):
    """A command did not work: what it said."""


def run_steps(workload: str, size: int) -> dict[str, Cost]:
    words = [sys.executable, __file__, "--steps", workload, str(size)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return {name: (seconds, mebibytes) for name, seconds, mebibytes in json.loads(done.stdout)}


def whole(words: list[str]) -> Cost:
    """A command with all that it starts; the memory is that of the largest process."""
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    said = child.stderr.read().decode()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise Failed(f"{' '.join(words[2:])}: {said.splitlines()[0]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def whole_commands(text: str) -> Iterator[tuple[str, Cost]]:
    with tempfile.NamedTemporaryFile("w", suffix=".v4") as file:
        file.write(text)
        file.flush()
        yield "compile, whole process", whole([*XDPTABLES, "compile", file.name, "-i", "eth0"])
    if os.geteuid():
        return
    with namespace() as netns:
        restore = ["ip", "netns", "exec", netns, "iptables-legacy-restore"]
        subprocess.run(restore, input=text, text=True, check=True)
        yield "load, whole process", whole([*XDPTABLES, "load", "eth0", "--netns", netns, "--no-watch"])
        yield "status, whole process", whole([*XDPTABLES, "status", "eth0", "--netns", netns])
        whole([*XDPTABLES, "unload", "eth0", "--netns", netns])


@contextlib.contextmanager
def namespace() -> Iterator[str]:
    """With a veth pair; gone in the end."""
    name = f"xdpt-{secrets.token_hex(3)}-scaling"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for words in ("link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up"):
            subprocess.run(["ip", "-n", name, *words.split()], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


def table(title: str, costs: dict[int, dict[str, Cost]]) -> Table:
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    made.add_column("step")
    for size in costs:
        made.add_column(f"{size:,} rules", justify="right")
        made.add_column("peak", justify="right")
    names = dict.fromkeys(name for column in costs.values() for name in column)
    for name in names:
        cells = []
        for column in costs.values():
            seconds, mebibytes = column.get(name, (None, None))
            cells += ["", ""] if seconds is None else [f"{seconds:.2f} s", f"{mebibytes:.0f} MiB"]
        made.add_row(name, *cells)
    return made


def measure(sizes: list[int], console: Console) -> str:
    out = Console(file=io.StringIO(), width=110, highlight=False)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(WORKLOADS) * len(sizes))
        for workload, make in WORKLOADS.items():
            costs: dict[int, dict[str, Cost]] = {}
            for size in sizes:
                progress.update(task, description=f"{workload}, {size:,} rules")
                costs[size] = run_steps(workload, size)
                try:
                    costs[size].update(whole_commands(make(size)))
                except Failed as e:
                    console.print(f"scaling: {e}", style="red", markup=False)
                progress.advance(task)
            out.print(table(TITLES[workload], costs))
            out.print()
    assert isinstance(out.file, io.StringIO)
    return "\n".join(line.rstrip() for line in out.file.getvalue().strip().splitlines())


def write(page: Path, text: str) -> None:
    old = page.read_text()
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        sys.exit(f"scaling: {page} has no place for the figures, between {BEGIN} and {END}")
    block = f"{BEGIN}\n```text\n{text}\n```\n{END}"
    page.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, old, flags=re.S))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=SIZES, help="numbers of rules")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page")
    parser.add_argument("--steps", nargs=2, metavar=("WORKLOAD", "SIZE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.steps:
        workload, size = asked.steps
        json.dump([(name, *cost) for name, cost in steps(WORKLOADS[workload](int(size)))], sys.stdout)
        return
    text = measure(list(asked.sizes), Console(stderr=True))
    print(text)
    if asked.write:
        write(asked.write, text)


if __name__ == "__main__":
    main()
