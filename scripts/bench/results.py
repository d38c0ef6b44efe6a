"""What a run found, as data that can be kept."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Result:
    """One contestant in one case. `ns`: of one core, a packet, device and stack included, the sender not.

    `own_ns`: the program alone, over an empty one, by BPF_PROG_TEST_RUN. `spread`: how far the median of the
    rounds lies above `ns`. `failure`: why there are no figures; `wrong`: it gave a packet the wrong fate.
    `note`: what its own tools said that one should know. `in_xdp`: the share of the drops that XDP did.
    """

    workload: str
    size: int
    contestant: str
    ns: float | None = None
    own_ns: float | None = None
    setup: float | None = None
    spread: float | None = None
    rounds: int = 0
    failure: str = ""
    wrong: bool = False
    note: str = ""
    in_xdp: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """`quick`: with so few rounds that the figures are no more than a hint."""

    results: tuple[Result, ...]
    machine: str
    quick: bool
    seconds: float

    def get(self, workload: str, size: int, contestant: str) -> Result | None:
        wanted = workload, size, contestant
        return next((r for r in self.results if (r.workload, r.size, r.contestant) == wanted), None)

    def ns(self, workload: str, size: int, contestant: str) -> float | None:
        found = self.get(workload, size, contestant)
        return found.ns if found else None

    def sizes(self, workload: str) -> list[int]:
        return sorted({r.size for r in self.results if r.workload == workload})

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


def read(path: Path) -> Run:
    data = json.loads(path.read_text())
    results = tuple(Result(**r) for r in data.pop("results"))
    return Run(results, **data)


def this_machine() -> str:
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release().split('-')[0]}"
