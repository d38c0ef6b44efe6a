"""The three answers of a match, Kleene's way, and what a match may see of a packet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..host.facts import HostFacts
from .packet import Packet


class Answer(StrEnum):
    YES = "yes"
    NO = "no"
    MAYBE = "maybe"


def known(value: bool) -> Answer:
    return Answer.YES if value else Answer.NO


def opposite(answer: Answer) -> Answer:
    return {Answer.YES: Answer.NO, Answer.NO: Answer.YES, Answer.MAYBE: Answer.MAYBE}[answer]


def conjunction(answers: Iterable[Answer]) -> Answer:
    result = Answer.YES
    for answer in answers:
        if answer is Answer.NO:
            return Answer.NO
        if answer is Answer.MAYBE:
            result = Answer.MAYBE
    return result


@dataclass(frozen=True, slots=True)
class Sight:
    """What a match sees.

    `conntrack`: it is in use, so fragments are joined first.
    `reassembled`: a fragment that gets here is a whole datagram by now.
    `flow_only`: only what is the same in every packet of a flow counts as seen.
    `changed`: what earlier targets may have rewritten ("tos", "ttl", "length", "tcp", "mark").
    `filled`: ipsets that rules change.
    `state`: the connection state that this world shows (connection.State); "" when it is not known.
    """

    packet: Packet
    host: HostFacts
    interface: str | None
    changed: frozenset[str] = frozenset()
    conntrack: bool = False
    flow_only: bool = False
    reassembled: bool = False
    state: str = ""
    filled: frozenset[str] = frozenset()

    def reads(self, field: str) -> bool:
        """Whether `field`, not constant in a flow, can be read here."""
        return not (self.flow_only or self.packet.fragment or field in self.changed)
