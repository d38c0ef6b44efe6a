"""Where an interface is a port of another device, by whose name netfilter sees its packets. Pure."""

from __future__ import annotations

import dataclasses

from .facts import InterfaceFacts

# They hand a port's packets for this host up as their own, once, by their name.
HAND_UP = ("bridge", "bond", "team")


def is_named(upper: str, interface: InterfaceFacts) -> bool:
    """`upper` as in InterfaceFacts.uppers: whether it is the one that the user has named."""
    kind, _, name = upper.partition(":")
    return kind in HAND_UP and name == interface.seen_as


def as_master(interface: InterfaceFacts) -> InterfaceFacts:
    """As netfilter sees what comes in there: packets of the named master, which is no one's part. They are
    of its kind: a bridge may mark them, and they remember the port (physdev)."""
    uppers = tuple(u for u in interface.uppers if not is_named(u, interface))
    named = next((u for u in interface.uppers if is_named(u, interface)), "")
    kind = named.partition(":")[0] or interface.kind
    return dataclasses.replace(interface, name=interface.seen_as, kind=kind, uppers=uppers)
