"""Which option a word names: the rule's own options, and those of the match and target table.

getopt_long is the model: the exact name first, then a beginning that fits only one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..fields import Family
from ..matches.spec import MatchSpec, OptionSpec, TargetKind, TargetSpec

#: iptables' own options, long and short, but for those of the table's "ip": name -> (short name, least
#: and most arguments).
COMMANDS: dict[str, tuple[str, int, int]] = {
    "--append": ("-A", 1, 1), "--insert": ("-I", 1, 2), "--delete": ("-D", 1, 2), "--replace": ("-R", 2, 2),
    "--check": ("-C", 1, 1), "--new-chain": ("-N", 1, 1), "--policy": ("-P", 2, 2),
    "--flush": ("-F", 0, 1), "--delete-chain": ("-X", 0, 1), "--zero": ("-Z", 0, 2),
    "--rename-chain": ("-E", 2, 2), "--list": ("-L", 0, 2), "--list-rules": ("-S", 0, 2),
}  # fmt: skip
PLAIN: dict[str, tuple[str, int, int]] = {
    "--match": ("-m", 1, 1), "--jump": ("-j", 1, 1), "--goto": ("-g", 1, 1),
    "--set-counters": ("-c", 1, 2), "--ipv4": ("-4", 0, 0), "--ipv6": ("-6", 0, 0), "--table": ("-t", 1, 1),
    "--verbose": ("-v", 0, 0), "--numeric": ("-n", 0, 0), "--exact": ("-x", 0, 0), "--wait": ("-w", 0, 1),
}  # fmt: skip
BASE = {name: entry for group in (COMMANDS, PLAIN) for name, entry in group.items()}
BASE |= {entry[0]: entry for entry in BASE.values()}
COMMAND_NAMES = frozenset(entry[0] for entry in COMMANDS.values())

#: -p NAME makes iptables look for the match of that name without a -m.
IMPLICIT = {
    1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 50: "esp", 51: "ah", 58: "icmp6", 132: "sctp", 135: "mh",
    136: "udplite",
}  # fmt: skip
MATCH_ALIASES = {"icmpv6": "icmp6", "ipv6-icmp": "icmp6"}

#: Options that are in no spec and take one word of any form, even one that looks like an option.
FREE_TEXT = frozenset({
    "--log-prefix", "--nflog-prefix", "--ulog-prefix", "--string", "--hex-string", "--name", "--label",
    "--hashlimit-name", "--nfacct-name", "--helper", "--path", "--led-trigger-id", "--bytecode",
    "--object-pinned", "--u32",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tables:
    """The match and target table, each option found by every spelling."""

    matches: Mapping[str, MatchSpec]
    targets: Mapping[str, TargetSpec]
    header: Mapping[str, OptionSpec]  # by the names that iptables itself lists
    header_short: Mapping[str, OptionSpec]  # further spellings, which a match may take for itself
    of_match: Mapping[str, Mapping[str, OptionSpec]]
    of_target: Mapping[str, Mapping[str, OptionSpec]]

    @staticmethod
    def of(matches: Mapping[str, MatchSpec], targets: Mapping[str, TargetSpec]) -> Tables:
        header = _spellings(matches["ip"].options)
        if "-f" in header:
            header["--fragments"] = header["-f"]
        shortened = {"--proto", "--fragment"}
        return Tables(
            matches,
            targets,
            {n: o for n, o in header.items() if n not in shortened},
            {n: o for n, o in header.items() if n in shortened},
            {n: _spellings(m.options) for n, m in matches.items()},
            {n: _spellings(t.options) for n, t in targets.items()},
        )

    def match_spec(self, name: str, family: Family) -> MatchSpec | None:
        spec = self.matches.get(name)
        return spec if spec is not None and name != "ip" and family in spec.families else None

    def target_spec(self, name: str, family: Family) -> TargetSpec | None:
        spec = self.targets.get(name)
        return spec if spec is not None and family in spec.families else None

    def match_takes_all(self, name: str) -> bool:
        """The table knows the match, and leaves its options as they are."""
        return name in self.matches and not self.matches[name].options

    def target_takes_all(self, name: str) -> bool:
        spec = self.targets.get(name)
        return spec is not None and not spec.options and spec.kind is not TargetKind.VERDICT


def _spellings(options: Iterable[OptionSpec]) -> dict[str, OptionSpec]:
    return {name: option for option in options for name in option.names}


def by_beginning(name: str, tables: Iterable[Mapping[str, OptionSpec]]) -> OptionSpec | None:
    """The one option that `name` abbreviates; None if there is none, or more than one."""
    if not name.startswith("--") or len(name) < 4:
        return None
    found = {id(o): o for table in tables for full, o in table.items() if full.startswith(name)}
    return next(iter(found.values())) if len(found) == 1 else None
