"""The text of `ipset save`: sets by name, as values. What they hold is read in matches/ipset.py."""

from __future__ import annotations

from dataclasses import dataclass

from ..source import Diagnostic, InputError, Source, Span

_HINT = "give what `ipset save` prints"
_QUIET = ("-exist", "-!")


@dataclass(frozen=True, slots=True)
class IpSet:
    """`kind`: "hash:net,port". `options`: the words behind it in the `create` line. `entries`: what stands
    behind the name in each `add` line."""

    name: str
    kind: str
    options: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()

    def __hash__(self) -> int:
        """Quick, whatever the size: what is made of a set is looked up by it."""
        return hash((self.name, self.kind, self.options, len(self.entries), self.entries[-1:]))


def read_ipsets(source: Source) -> tuple[IpSet, ...]:
    """In the order of the text. Raises InputError."""
    made: dict[str, tuple[str, tuple[str, ...]]] = {}
    entries: dict[str, list[str]] = {}
    wrong: list[Diagnostic] = []
    for number, line in enumerate(source.lines, start=1):
        command, _, rest = line.strip().partition(" ")
        if not command or command.startswith("#"):
            continue
        if command == "add":
            name, _, entry = rest.partition(" ")
            if name in entries and entry:
                entries[name].append(entry)
                continue
            message = f"the set {name!r} is not created before" if entry else "nothing is added"
        elif command == "create":
            words = [w for w in rest.split() if w not in _QUIET]
            if len(words) >= 2 and words[0] not in made:
                made[words[0]] = (words[1], tuple(words[2:]))
                entries[words[0]] = []
                continue
            message = f"the set {words[0]!r} is created twice" if words else "no set is named"
            if len(words) == 1:
                message = f"the set {words[0]!r} has no type"
        else:
            message = f"{command!r} is neither create nor add"
        wrong.append(Diagnostic(Span(source, number, 1, len(line) + 1), message, _HINT))
    if wrong:
        raise InputError(wrong)
    return tuple(IpSet(name, *made[name], tuple(entries[name])) for name in made)
