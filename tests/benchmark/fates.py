"""Run as a program, since the bench gives its process mounts of its own: what the gate says of some
contestants, right and wrong ones, as JSON."""

from __future__ import annotations

import dataclasses
import json
import os

from bench import gate
from bench.cases import WORKLOADS, Case
from bench.contestants import CONTESTANTS, Contestant
from bench.entry import Entry, enter
from bench.generator import Generator
from bench.place import Place, isolate, sender

SIZE = 40


def with_rules(contestant: Contestant, change: str) -> Contestant:
    def prepare(place: Place, case: Case) -> None:
        lines = {
            "as they are": case.lines,
            "one missing": case.lines[1:],
            "one too many": ("-A INPUT -p tcp -j DROP", *case.lines),
        }[change]
        contestant.prepare(place, dataclasses.replace(case, lines=lines))

    return dataclasses.replace(contestant, prepare=prepare)


def main() -> None:
    workloads, contestants = ({x.key: x for x in known} for known in (WORKLOADS, CONTESTANTS))
    isolate()
    said = {}
    with sender(max(os.sched_getaffinity(0))) as wire, wire.pinned():
        generators = {}
        for workload, contestant, change in (
            ("blocklist", "iptables", "one missing"),
            ("blocklist", "iptables", "one too many"),
            ("mixed", "iptables", "as they are"),
            ("mixed6", "iptables", "as they are"),
            ("stateful", "xdptables", "as they are"),
        ):
            case = workloads[workload].case(SIZE)
            entry = enter(wire, case, with_rules(contestants[contestant], change))
            assert isinstance(entry, Entry), entry
            if case.family not in generators:
                generators[case.family] = Generator(wire, case.family)
            said[f"{workload} {contestant} {change}"] = gate.judge(entry, generators)
    print(json.dumps(said))


main()
