"""Frames for tests: a broad, named, deterministic collection, and frames made from a ruleset's own values."""

from __future__ import annotations

from functools import cache

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from judge.frames4 import add_ipv4
from judge.frames6 import add_ipv6
from judge.frames_odd import add_odd
from judge.place import PLACE, Frame, Place
from xdptables.verify.boundaries import boundary_frames

__all__ = ["PLACE", "Frame", "Place", "boundary_frames", "frames"]


@cache
def frames(place: Place = PLACE) -> tuple[Frame, ...]:
    made: dict[str, bytes] = {}

    def add(name: str, packet: Packet | bytes) -> None:
        assert name not in made, name
        made[name] = bytes(packet)

    ether = Ether(src=place.peer_mac, dst=place.own_mac)
    add_ipv4(add, place, ether)
    add_ipv6(add, place, ether)
    add_odd(add, place, ether)
    return tuple(Frame(name, data) for name, data in made.items())
