"""The figures as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # after the choice of the back end
from matplotlib.ticker import FuncFormatter

from .contestants import CONTESTANTS, DROP, LIMIT, XDPTABLES
from .results import Run

_STYLE = {
    LIMIT: ("#888888", "--"), XDPTABLES: ("#c0392b", "-"), "xdptables-raw": ("#e67e22", "-"),
    "xdp-filter": ("#2c7fb8", "-"), "nft-ingress": ("#41ae76", ":"), "nft-set": ("#41ae76", "-"),
    "ipset": ("#88419d", "-"), "iptables-raw": ("#525252", ":"), "iptables": ("#525252", "-"),
    "iptables-nft": ("#525252", "-."),
}  # fmt: skip
_LABELS = {c.key: c.label for c in CONTESTANTS}


def draw(run: Run, path: Path) -> None:
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9})
    figure, (blocklist, mixed, others) = pyplot.subplots(
        1, 3, figsize=(13, 4.4), width_ratios=(5, 5, 3), layout="constrained"
    )
    _lines(run, blocklist, "blocklist", "blocklist: all dropped")
    _lines(run, mixed, "mixed", "mixed ACL: half accepted")
    _bars(run, others, "stateful", "stateful default deny: SYN flood")
    blocklist.set_ylabel("million packets a second, one core")
    handles, labels = blocklist.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _lines(run: Run, axes: Any, workload: str, title: str) -> None:
    for key, (color, style) in _STYLE.items():
        points = [(size, 1000 / ns) for size in run.sizes(workload) if (ns := run.ns(workload, size, key))]
        if points:
            sizes, rates = zip(*points, strict=True)
            wide = 2.4 if key == XDPTABLES else 1.3
            axes.plot(sizes, rates, style, color=color, label=_LABELS[key], linewidth=wide, marker=".")
    axes.set(xscale="log", yscale="log", xlabel="rules", title=title)
    plain = FuncFormatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(plain)
    axes.grid(alpha=0.3)


def _bars(run: Run, axes: Any, workload: str, title: str) -> None:
    (size,) = run.sizes(workload) or (0,)
    keys = [k for k in _STYLE if k != DROP and run.ns(workload, size, k)]
    rates = [1000 / (run.ns(workload, size, key) or 1) for key in keys]
    drawn = axes.barh([_LABELS[k] for k in keys], rates, color=[_STYLE[k][0] for k in keys])
    axes.bar_label(drawn, [f"{rate:.1f}" for rate in rates], padding=2)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(xlabel="million packets a second, one core", title=title)
