"""The chains of one table while its lines are read: declarations, and what each command does to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..source import Diagnostic, Span
from .build import Command, Draft
from .model import BUILTIN_CHAINS, UNKNOWN, Chain, Match, Rule, Table, Target
from .syntax import RawLine, counters_of

POLICIES = ("ACCEPT", "DROP")


class Refused(Exception):
    """iptables-restore would refuse the line: message, hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


@dataclass(slots=True)
class _Chain:
    policy: str | None
    span: Span | None = None  # None: nothing declares it
    counters: tuple[int, int] | None = None
    rules: list[Draft] = field(default_factory=list)


class OpenTable:
    """A table between *name and COMMIT. Builtin chains are there from the start, with policy ACCEPT."""

    def __init__(self, name: str, span: Span) -> None:
        self.name, self.span = name, span
        self.builtin = BUILTIN_CHAINS.get(name, ())
        self.chains = {c: _Chain("ACCEPT") for c in self.builtin}
        self.warnings: list[Diagnostic] = []

    def declare(self, line: RawLine) -> None:
        """`:NAME POLICY [packets:bytes]`, the last two may be missing."""
        name, *rest = [w.text for w in line.names]
        counters = counters_of(rest[-1]) if rest else None
        policy = rest[0] if rest and not rest[0].startswith("[") else "-"
        base = name in self.builtin or (not self.builtin and policy in POLICIES)
        if base and policy not in ("-", *POLICIES):
            raise Refused(f"a policy is ACCEPT or DROP, not {policy}", "end the chain with a rule")
        if name not in self.builtin:
            self.chains.pop(name, None)  # declared again: flushed
        chain = self.chains.setdefault(name, _Chain("ACCEPT" if base else None))
        if base and policy != "-":
            chain.policy = policy
        chain.span, chain.counters = line.span, counters

    def run(self, command: Command) -> None:
        """Do what one rule line says."""
        _COMMANDS[command.name](self, command)

    def table(self) -> Table:
        chains = (
            Chain(
                name,
                chain.policy,
                tuple(self._rule(name, n, draft) for n, draft in enumerate(chain.rules, 1)),
                chain.counters,
                chain.span,
            )
            for name, chain in self.chains.items()
        )
        return Table(self.name, tuple(chains), self.span)

    def _rule(self, chain: str, number: int, draft: Draft) -> Rule:
        target = draft.target
        # A chain of a target's name is possible only where iptables lacks that target: the chain wins.
        matches = draft.matches
        if target is not None and not target.known and target.name in self.chains:
            if target.options:  # a chain has none, so they are the rule's, and unknown
                matches += (Match(UNKNOWN, target.options, False, target.span),)
            target = replace(target, known=True, options=())
        return Rule(self.name, chain, number, matches, target, draft.counters, span=draft.span)

    def chain(self, name: str) -> _Chain:
        if name not in self.chains:
            raise Refused(f"there is no chain {name} in the table {self.name}", f"add a line :{name} - [0:0]")
        return self.chains[name]

    def place(self, command: Command, last: int) -> int:
        """The rule number that a command has as its second argument, from 0."""
        text = command.args[1]
        if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= last:
            hint = f"it has rules 1 to {last}" if last else "it has none"
            raise Refused(f"{text!r} is no rule number of {command.args[0]}", hint)
        return int(text) - 1


def _append(table: OpenTable, command: Command) -> None:
    _chain_for_rules(table, command).rules.append(command.draft)


def _chain_for_rules(table: OpenTable, command: Command) -> _Chain:
    name = command.args[0]
    if name not in table.chains:
        # Some files leave out the :CHAIN line. What no rule jumps to decides nothing.
        message = f"nothing declares the chain {name}"
        table.warnings.append(Diagnostic(command.span, message, f"add a line :{name} - [0:0]", "warning"))
        table.chains[name] = _Chain(None)
    chain = table.chains[name]
    _check_interfaces(table, command)
    return chain


def _check_interfaces(table: OpenTable, command: Command) -> None:
    chain = command.args[0]
    wrong = "-o" if chain in ("INPUT", "PREROUTING") else "-i" if chain in ("OUTPUT", "POSTROUTING") else ""
    if wrong and chain in table.builtin and command.draft.matches[0].option(wrong) is not None:
        raise Refused(f"{wrong} can't be used in {chain}", "no packet there has it yet: leave it out")


def _insert(table: OpenTable, command: Command) -> None:
    chain = _chain_for_rules(table, command)
    at = table.place(command, len(chain.rules) + 1) if len(command.args) > 1 else 0
    chain.rules.insert(at, command.draft)


def _replace(table: OpenTable, command: Command) -> None:
    chain = table.chain(command.args[0])
    chain.rules[table.place(command, len(chain.rules))] = command.draft


def _delete(table: OpenTable, command: Command) -> None:
    chain = table.chain(command.args[0])
    if len(command.args) > 1:
        del chain.rules[table.place(command, len(chain.rules))]
        return
    wanted = (command.draft.matches, command.draft.target)
    for at, draft in enumerate(chain.rules):
        if (draft.matches, draft.target) == wanted:
            del chain.rules[at]
            return
    raise Refused(f"{command.args[0]} has no such rule to delete", "leave the line out")


def _new_chain(table: OpenTable, command: Command) -> None:
    name = command.args[0]
    if name in table.chains:
        raise Refused(f"the chain {name} is there already", "leave the line out")
    table.chains[name] = _Chain(None, command.span)


def _policy(table: OpenTable, command: Command) -> None:
    name, policy = command.args
    chain = table.chain(name)
    if chain.policy is None or policy not in POLICIES:
        raise Refused(f"{name} can't have the policy {policy}", "a builtin chain has ACCEPT or DROP")
    chain.policy, chain.span = policy, command.span


def _flush(table: OpenTable, command: Command) -> None:
    for name in command.args or tuple(table.chains):
        table.chain(name).rules.clear()


def _delete_chain(table: OpenTable, command: Command) -> None:
    for name in command.args or tuple(n for n, c in table.chains.items() if c.policy is None):
        if table.chain(name).policy is not None:
            raise Refused(f"{name} is a builtin chain and can't be deleted", "leave the line out")
        del table.chains[name]


def _rename(table: OpenTable, command: Command) -> None:
    old, new = command.args
    if table.chain(old).policy is not None or new in table.chains:
        raise Refused(f"{old} can't be renamed to {new}", "only a chain of your own, to a name that is free")
    table.chains = {new if name == old else name: chain for name, chain in table.chains.items()}
    for chain in table.chains.values():
        for draft in chain.rules:
            draft.target = _renamed(draft.target, old, new)


def _renamed(target: Target | None, old: str, new: str) -> Target | None:
    return replace(target, name=new) if target is not None and target.name == old else target


def _nothing(table: OpenTable, command: Command) -> None:
    """-Z, -L, -S, -C change no rule."""


_COMMANDS: dict[str, Callable[[OpenTable, Command], None]] = {
    "-A": _append, "-I": _insert, "-R": _replace, "-D": _delete, "-N": _new_chain, "-P": _policy,
    "-F": _flush, "-X": _delete_chain, "-E": _rename,
    "-Z": _nothing, "-L": _nothing, "-S": _nothing, "-C": _nothing,
}  # fmt: skip
