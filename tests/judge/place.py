"""The addresses on the bench, and values that frames of both families are made with."""

from __future__ import annotations

from collections.abc import Callable

from scapy.packet import Packet

from xdptables.verify.model import Frame, Place

__all__ = ["PLACE", "Add", "Frame", "Place", "dccp"]


PLACE = Place()
Add = Callable[[str, Packet | bytes], None]

FLAG_SETS = (
    "S",
    "SA",
    "A",
    "PA",
    "FA",
    "R",
    "RA",
    "F",
    "",
    "U",
    "FPU",
    "SF",
    "SR",
    "SEC",
    "FSRPAUEC",
    "SU",
    "AU",
)
TOS = (0x00, 0x02, 0x08, 0x10, 0x28, 0x2E << 2, 0xB9, 0xFF)
TTLS = (0, 1, 2, 63, 64, 65, 128, 255)
PORTS = (
    (40000, 22),
    (40000, 80),
    (40000, 443),
    (53, 40000),
    (1, 1),
    (0, 0),
    (65535, 65535),
    (1024, 1023),
    (443, 8080),
)


def dccp(ports: bytes) -> bytes:
    return ports + bytes([4, 0, 0, 0, 0x01, 0, 0, 0, 0, 0, 0, 1]) + b"\0\0\0\0"
