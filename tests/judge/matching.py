"""Which matches hold for which frames, by the kernel: rules that only log, in raw PREROUTING.

So no verdict hides what a match answers, and frames that go nowhere are seen as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import lru_cache

from judge.place import Frame
from xdptables.fields import Family
from xdptables.host.facts import HostFacts
from xdptables.matches.condition import Cube
from xdptables.matches.lowering import lower_match
from xdptables.matches.view import Kind, View
from xdptables.reference.answers import Answer, Sight, conjunction, known
from xdptables.reference.matches import evaluate
from xdptables.reference.packet import Packet, Unreadable, parse
from xdptables.rules.model import Rule, Variant
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.bench import IFNAME, Bench
from xdptables.verify.probe import SurvivorLog

_GROUP = 4712
_KINDS = {
    (Family.IPV4, False): Kind.IPV4,
    (Family.IPV4, True): Kind.IPV4_FRAGMENT,
    (Family.IPV6, False): Kind.IPV6,
    (Family.IPV6, True): Kind.IPV6_FRAGMENT,
}


def matching(
    bench: Bench, parts: Sequence[str], variant: Variant, family: Family, frames: Sequence[Frame]
) -> list[tuple[Rule, dict[int, bool]]]:
    """For each part its rule, read back from the kernel, and which frames that get there it matches."""
    lines = [
        f"-A PREROUTING {part} -j NFLOG --nflog-group {_GROUP} --nflog-prefix {number}"
        for number, part in enumerate(("", *parts))
    ]
    bench.load("\n".join(["*raw", ":PREROUTING ACCEPT", *lines, "COMMIT", ""]), variant, family)
    (ruleset,) = read_rulesets(Source("saved", bench.saved(variant, family)), family)
    rules = [r for r in ruleset.rules() if r.target and r.target.name == "NFLOG"]
    with bench.pair.enter(bench.pair.server):
        log = SurvivorLog(_GROUP)
    try:
        seen = bench.logged([f.data for f in frames], log)
    finally:
        log.close()
    arrived = {index for index, prefix in seen if prefix == "0"}
    return [
        (rule, {i: (i, str(number)) in seen for i in arrived}) for number, rule in enumerate(rules) if number
    ]


def wrong_answers(
    rule: Rule, matched: dict[int, bool], frames: Sequence[Frame], host: HostFacts
) -> tuple[list[str], set[Answer]]:
    """Where the compiler or the interpreter is certain and wrong; and which answers the compiler gave."""
    wrong, given = [], set()
    compilers = {family: compiled(rule, family, host) for family in {p.family for _, p in _packets(frames)}}
    for index, packet in _packets(frames):
        if index not in matched:
            continue
        truth, frame = matched[index], frames[index]
        answers = {
            "compiler": compilers[packet.family](packet),
            "interpreter": interpreted(rule, packet, host),
        }
        given.add(answers["compiler"])
        wrong += [
            f"{rule.text}: {who} says {answer}: {frame.name} {frame.data.hex()}"
            for who, answer in answers.items()
            if answer not in (known(truth), Answer.MAYBE)
        ]
    return wrong, given


def _packets(frames: Sequence[Frame]) -> list[tuple[int, Packet]]:
    return _parsed(tuple(f.data for f in frames))


@lru_cache(maxsize=4)
def _parsed(data: tuple[bytes, ...]) -> list[tuple[int, Packet]]:
    found = []
    for index, frame in enumerate(data):
        with contextlib.suppress(Unreadable):
            found.append((index, parse(frame)))
    return found


def interpreted(rule: Rule, packet: Packet, host: HostFacts) -> Answer:
    return conjunction(evaluate(m, Sight(packet, host, IFNAME)) for m in rule.matches)


def compiled(rule: Rule, family: Family, host: HostFacts) -> Callable[[Packet], Answer]:
    views = {
        key: View(kind, interface=IFNAME, hook="PREROUTING", gro=False, host=host)
        for key, kind in _KINDS.items()
        if key[0] is family
    }
    conditions = {key: [lower_match(m, view) for m in rule.matches] for key, view in views.items()}

    def answer(packet: Packet) -> Answer:
        answers = []
        for condition in conditions[packet.family, packet.fragment]:
            yes = any(_holds(cube, packet) for cube in condition.yes)
            may = any(_holds(cube, packet) for cube in condition.may)
            assert may or not yes, "yes is no subset of may"
            answers.append(Answer.YES if yes else Answer.MAYBE if may else Answer.NO)
        return conjunction(answers)

    return answer


def _holds(cube: Cube, packet: Packet) -> bool:
    return all(value(name, packet) in allowed for name, allowed in cube.sets)


def value(name: str, packet: Packet) -> int:
    """A field as XDP reads it; -1, which is in no set, where the packet has none."""
    match name:
        case "src" | "dst" | "tos" | "ttl" | "length" | "mac_src" | "pkttype":
            return int(getattr(packet, name))
        case "proto":
            return packet.protocol
        case "sport" | "dport":
            return packet.ports[name == "dport"] if packet.ports else -1
        case "icmp":
            return packet.icmp if packet.protocol in (1, 58) and not packet.fragment else -1
        case "mss":
            return _mss(packet.l4) if packet.protocol == 6 else -1
        case "tcp_flags":
            return packet.tcp_flags | packet.tcp_has_data << 8 if packet.protocol == 6 else -1
    raise AssertionError(f"field {name}")


def _mss(header: bytes) -> int:
    if header[12] >> 4 == 5:
        return 0x10000
    return int.from_bytes(header[22:24]) if header[20:22] == b"\x02\x04" else 0x10001
