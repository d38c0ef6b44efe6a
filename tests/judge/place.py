"""The addresses on the bench, and values that frames of both families are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scapy.packet import Packet


@dataclass(frozen=True)
class Place:
    """Who sends to whom: `own` is the host under test."""

    own_mac: str = "02:00:00:00:00:0b"
    peer_mac: str = "02:00:00:00:00:0a"
    own4: str = "192.0.2.1"
    peer4: str = "192.0.2.2"
    broadcast4: str = "192.0.2.255"
    own6: str = "2001:db8::1"
    peer6: str = "2001:db8::2"


PLACE = Place()


@dataclass(frozen=True)
class Frame:
    name: str
    data: bytes


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
