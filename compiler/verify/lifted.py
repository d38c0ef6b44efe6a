"""Host facts as they would be without some findings: what the judge is told where the user knows better."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from ..host.facts import HostFacts, InterfaceFacts
from ..host.finding import Finding, Scope
from ..host.findings import findings


def without(host: HostFacts, lifted: Iterable[Finding]) -> HostFacts:
    """Of each fact behind a finding, only the element that made it goes, if it is a list."""
    for finding in lifted:
        for other in _simpler(host):
            left = {f.id for f in findings(other)}
            if finding.id not in left and left <= {f.id for f in findings(host)}:
                host = other
                break
    return host


def stopping(host: HostFacts) -> tuple[Finding, ...]:
    """Findings with which nothing is loaded at all; so nothing rests on their facts."""
    return tuple(f for f in findings(host) if f.scope is Scope.STOPS)


def _simpler(host: HostFacts) -> Iterator[HostFacts]:
    for name, value in _changes(host, HostFacts()):
        yield dataclasses.replace(host, **{name: value})
    for name, value in _changes(host.interface, InterfaceFacts()):
        yield dataclasses.replace(host, interface=dataclasses.replace(host.interface, **{name: value}))


def _changes(facts: Any, usual: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(facts):
        value = getattr(facts, field.name)
        default = getattr(usual, field.name)
        if field.name in ("interface", "name", "mac", "assumed", "label") or value == default:
            continue
        if isinstance(value, tuple):
            for at in range(len(value)):
                yield field.name, (*value[:at], *value[at + 1 :])
        yield field.name, default
