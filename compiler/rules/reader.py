"""Text to rulesets: tables, chains, policies and typed rules of one dump, one ruleset a family."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ..fields import Family
from ..matches.spec import MatchSpec, TargetSpec
from ..matches.table import MATCHES, TARGETS
from ..progress import Progress, silent
from ..source import Diagnostic, InputError, Source, Span
from .arguments import Typing
from .build import LineBuilder
from .chains import OpenTable, Refused
from .family import guess, headers, parts
from .lookup import Tables
from .loops import loops
from .model import UNSUPPORTED, Ruleset, Table, Variant
from .syntax import RawLine, read_lines

_NO_TABLE = "start with a line such as *filter; iptables-save prints it, iptables -S does not"


@dataclass(frozen=True, slots=True)
class Reading:
    """The rulesets of a text, and what is odd about it without being wrong."""

    rulesets: tuple[Ruleset, ...]
    warnings: tuple[Diagnostic, ...]


def read_rulesets(
    source: Source,
    family: Family | None = None,
    matches: Mapping[str, MatchSpec] = MATCHES,
    targets: Mapping[str, TargetSpec] = TARGETS,
    progress: Progress = silent,
) -> tuple[Ruleset, ...]:
    """The ruleset of each family in the text, nearly always one. Raises InputError with all errors."""
    return read(source, family, matches, targets, progress).rulesets


def read(
    source: Source,
    family: Family | None = None,
    matches: Mapping[str, MatchSpec] = MATCHES,
    targets: Mapping[str, TargetSpec] = TARGETS,
    progress: Progress = silent,
) -> Reading:
    """As read_rulesets, with the warnings."""
    progress(f"reading {source.name}", 0, 0)
    lines, errors = read_lines(source)
    found = list(errors)
    tables = Tables.of(matches, targets)
    rulesets = []
    for part_family, variant, part in parts(source, lines, family):
        opened = _tables(_told(part, source.name, progress), tables, part_family, found)
        made = tuple(t.table() for t in opened)
        found += [d for t in made for d in (*loops(t), *_nameless(t))]
        rulesets.append(Ruleset(part_family, variant, made))
    if any(d.severity == "error" for d in found):
        raise InputError(found)
    if not rulesets:
        known = headers(source)
        variant = known[0].variant if known else Variant.UNKNOWN
        rulesets.append(Ruleset(family or (known[0].family if known else guess(source)), variant, ()))
    return Reading(tuple(rulesets), tuple(sorted(found, key=lambda d: (d.span.line, d.span.column))))


def read_all(sources: Sequence[Source], family: Family | None = None, progress: Progress = silent) -> Reading:
    """As `read`, of several files, each with rules of its own family. Raises InputError with all errors."""
    found: list[Diagnostic] = []
    readings: list[Reading] = []
    for source in sources:
        try:
            readings.append(read(source, family, progress=progress))
        except InputError as e:
            found += e.diagnostics
    where: dict[Family, Span] = {}
    for table in ((r.family, t) for reading in readings for r in reading.rulesets for t in r.tables[:1]):
        of, span = table[0], table[1].span
        if span is not None and span.source is not where.setdefault(of, span).source:
            hint = "give one dump of each family: rules of one family are one whole"
            found.append(
                Diagnostic(span, f"the {of.spoken} rules are in {where[of].source.name} already", hint)
            )
    if found:
        raise InputError(found)
    rulesets = [r for reading in readings for r in reading.rulesets]
    used = {r.family for r in rulesets if r.tables}
    empty = {r.family: r for r in rulesets if r.family not in used}
    warnings = tuple(d for reading in readings for d in reading.warnings)
    return Reading((*(r for r in rulesets if r.tables), *empty.values()), warnings)


def _nameless(table: Table) -> Iterator[Diagnostic]:
    """Targets that are neither chains nor known: an extension's, or a name mistyped. Each once."""
    seen: set[str] = set()
    names = {name.upper(): name for name in (*TARGETS, *(chain.name for chain in table.chains))}
    for rule in table.rules():
        target = rule.target
        if target is None or target.known or target.name in seen or target.option(UNSUPPORTED):
            continue
        seen.add(target.name)
        hint = "what it might do is left to netfilter"
        if meant := get_close_matches(target.name.upper(), names, 1):
            hint = f"did you mean {names[meant[0]]}?"
        message = f"{target.name} is no chain of the table {table.name}, and no target that is known here"
        yield Diagnostic(target.span or rule.span, message, hint, "warning")


def _told(lines: Sequence[RawLine], name: str, progress: Progress) -> Iterator[RawLine]:
    for number, line in enumerate(lines):
        if number % 1000 == 0:
            progress(f"reading {name}", number, len(lines))
        yield line


def _tables(
    lines: Iterable[RawLine], tables: Tables, family: Family, found: list[Diagnostic]
) -> list[OpenTable]:
    """A table that comes twice replaces the first, as iptables-restore flushes it."""
    opened: dict[str, OpenTable] = {}
    typing = Typing(family)
    current: OpenTable | None = None
    for line in lines:
        if line.kind == "table":
            if current is not None:
                found.append(_missing_commit(current))
            current = OpenTable(line.names[0].text, line.span)
            opened.pop(current.name, None)
            opened[current.name] = current
        elif current is None:
            found.append(Diagnostic(line.span, "no table is open here", _NO_TABLE))
        elif line.kind == "commit":
            found += current.warnings
            current = None
        else:
            _apply(current, line, tables, typing, found)
    if current is not None:
        found.append(_missing_commit(current))
    return list(opened.values())


def _apply(table: OpenTable, line: RawLine, tables: Tables, typing: Typing, found: list[Diagnostic]) -> None:
    try:
        if line.kind == "chain":
            table.declare(line)
        elif (command := LineBuilder(line, tables, typing, found).build()) is not None:
            table.run(command)
    except Refused as e:
        found.append(Diagnostic(line.span, e.message, e.hint))


def _missing_commit(table: OpenTable) -> Diagnostic:
    hint = "add a line COMMIT after the table's rules"
    return Diagnostic(table.span, f"the table {table.name} has no COMMIT", hint)
