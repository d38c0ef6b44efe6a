"""docs/matches.md from the match table: python scripts/match_tables.py docs/matches.md"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from xdptables.matches.spec import BOTH, V4, Effect, MatchSpec, OptionSpec, TargetKind
from xdptables.matches.table import MATCHES, TARGETS

HEAD = """# Matches and targets

Generated from `compiler/matches/table.py` by `make docs`; a test compares the two. A match or target that is
in none of these tables is kept as written, and the packets that it may concern go to netfilter.
"""
DECIDED = """
## Matches that XDP decides
The answer is yes, no, or maybe; "maybe" says that some of it can't be read from the packet.

| match | family | options | decides |
|---|---|---|---|
"""
MAYBE = """
## Matches that are maybe
What they ask can't be known in XDP. A rule with such a match drops nothing in XDP. Where it may accept or
leave the chain, the packets that it may match are dropped only if both ways drop them.

| match | asks for |
|---|---|
"""
REMEMBERED = """
## Matches that remember
Testing them has an effect, so a packet that one of them may test always reaches netfilter.

| match | why |
|---|---|
"""
TARGETS_HEAD = """
## Targets

| targets | kind | what it means here |
|---|---|---|
"""
KINDS = {
    TargetKind.VERDICT: "verdict",
    TargetKind.REJECT: "verdict",
    TargetKind.CONTINUE: "changes the packet",
    TargetKind.EFFECT: "has an effect: left to netfilter",
    TargetKind.NAT: "translates: left to netfilter",
}


def document() -> str:
    remembered = [m for m in MATCHES.values() if m.effect is Effect.REMEMBERS]
    maybe = [m for m in MATCHES.values() if m.maybe_because and m not in remembered]
    decided = [m for m in MATCHES.values() if m not in maybe and m not in remembered]
    return "".join(
        (
            HEAD,
            DECIDED,
            *(row(match_name(m), families(m), options(m.options), m.doc) for m in decided),
            MAYBE,
            *(row(match_name(m), m.doc) for m in maybe),
            REMEMBERED,
            *(row(match_name(m), m.doc) for m in remembered),
            TARGETS_HEAD,
            *target_rows(),
        )
    )


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def match_name(spec: MatchSpec) -> str:
    return "without `-m`" if spec.name == "ip" else f"`{spec.name}`"


def families(spec: MatchSpec) -> str:
    return "both" if spec.families == BOTH else "IPv4" if spec.families == V4 else "IPv6"


def options(specs: Iterable[OptionSpec]) -> str:
    return " ".join(f"`{spec.names[0]}`" for spec in specs) or "none"


def target_rows() -> Iterable[str]:
    """One row for all targets of which the same is said."""
    alike: dict[tuple[str, str], list[str]] = {}
    for spec in TARGETS.values():
        alike.setdefault((KINDS.get(spec.kind, spec.kind.value), spec.doc), []).append(f"`{spec.name}`")
    return (row(" ".join(names), kind, doc) for (kind, doc), names in alike.items())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document())
