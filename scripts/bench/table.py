"""The figures as tables, on a terminal or as plain text."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .aims import reached
from .cases import WORKLOADS
from .contestants import CONTESTANTS, IPTABLES, LIMIT
from .results import Result, Run

_STYLES = {"met": "green", "within the noise": "yellow", "missed": "red", "not measured": "dim"}
_RIGHT = ("M packets/s", "ns", "+-", "of the limit", "x iptables", "in XDP", "program ns", "set up s")

_LEGEND = """
ns: what a packet takes of one core, in device and stack, the sender not counted: the 10th percentile of the
rounds. +-: how far the median lies above it. Differences under 15 % are ties.
in XDP: how much of what had to be dropped was dropped there.
program ns: the XDP program alone, by BPF_PROG_TEST_RUN, over an empty one."""


def show(run: Run, console: Console, *, aims: bool = True) -> None:
    for part in figures(run):
        console.print(part, soft_wrap=isinstance(part, Text))
    if aims:
        console.print(Text("\nThe aims, and what was reached", "bold"))
        console.print(aims_table(run))


def figures(run: Run) -> Iterator[Table | Text]:
    for workload in WORKLOADS:
        for size in run.sizes(workload.key):
            yield Text(f"\n{workload.title}, {size:,} rules", "bold")
            yield from _case(run, workload.key, size)
    yield Text(_LEGEND, "dim")


def _case(run: Run, workload: str, size: int) -> Iterator[Table | Text]:
    table = _table("", *_RIGHT)
    labels = {c.key: c.label for c in CONTESTANTS}
    found = [r for r in run.results if (r.workload, r.size) == (workload, size)]
    for result in found:
        if result.ns is not None:
            table.add_row(labels[result.contestant], *_figures(run, result))
    yield table
    for result in found:
        if result.failure:
            word = "WRONG: " if result.wrong else ""
            yield Text(
                f"{labels[result.contestant]}: {word}{result.failure}", "red" if result.wrong else "dim"
            )
        if result.note:
            yield Text(f"{labels[result.contestant]}: {result.note}", "dim")


def _figures(run: Run, r: Result) -> tuple[str, ...]:
    assert r.ns is not None and r.spread is not None
    own = f"{r.own_ns:.0f}" if r.own_ns is not None else ""
    share = f"{100 * r.in_xdp:.0f} %" if r.in_xdp else ""
    rates = (
        _ratio(run.ns(r.workload, r.size, LIMIT), r.ns),
        _ratio(run.ns(r.workload, r.size, IPTABLES), r.ns),
    )
    return (
        f"{1000 / r.ns:.2f}", f"{r.ns:,.0f}", f"{100 * r.spread:.0f} %", *rates, share, own, f"{r.setup:.2f}",
    )  # fmt: skip


def _ratio(other: float | None, ns: float) -> str:
    if other is None:
        return ""
    ratio = other / ns
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def aims_table(run: Run) -> Table:
    table = _table("workload", "aim", "reached", "")
    for r in reached(run):
        table.add_row(r.aim.workload, r.aim.text, r.value, Text(r.word, _STYLES[r.word]))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, justify="right" if name in _RIGHT else "left", no_wrap=True)
    return table
