"""Chains that reach themselves: iptables refuses such a table (mark_source_chains, nf_tables)."""

from __future__ import annotations

from collections.abc import Iterator

from ..source import Diagnostic
from .model import Rule, Table


def loops(table: Table) -> Iterator[Diagnostic]:
    """An error for each jump that closes a loop which a base chain reaches."""
    chains = {c.name: c for c in table.chains}
    done: set[str] = set()
    for base in table.chains:
        if base.policy is None or base.name in done:
            continue
        # Depth first without recursion: a chain of calls may be longer than Python's stack.
        path: list[str] = [base.name]
        jumps: list[Iterator[Rule]] = [iter(base.rules)]
        while path:
            rule = next(jumps[-1], None)
            if rule is None:
                done.add(path.pop())
                jumps.pop()
                continue
            name = rule.target.name if rule.target else ""
            if name not in chains or chains[name].policy is not None:
                continue
            if name in path:
                span = (rule.target.span if rule.target else None) or rule.span
                loop = " -> ".join([*path[path.index(name) :], name])
                yield Diagnostic(
                    span, f"the chain {name} reaches itself: {loop}", "iptables refuses such a table"
                )
            elif name not in done:
                path.append(name)
                jumps.append(iter(chains[name].rules))
