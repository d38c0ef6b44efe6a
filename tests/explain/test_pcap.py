"""Captures, as tcpdump and others write them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter, wrpcap

from xdptables.explain.pcap import read_frames
from xdptables.fields import Family
from xdptables.source import UserError
from xdptables.verify.build import build

FRAMES = [build(Family.IPV4, {"dport": n}) for n in range(5)] + [build(Family.IPV6, {"proto": 17})]


def test_classic(tmp_path: Path) -> None:
    for number, options in enumerate(({}, {"endianness": ">"}, {"nano": True})):
        path = str(tmp_path / f"{number}.pcap")
        wrpcap(path, [Ether(f) for f in FRAMES], **options)
        assert list(read_frames(path)) == FRAMES


def test_pcapng(tmp_path: Path) -> None:
    path = str(tmp_path / "x.pcapng")
    with PcapNgWriter(path) as writer:
        for frame in FRAMES:
            writer.write(Ether(frame))
    assert list(read_frames(path)) == FRAMES


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = len(body) + 12
    return struct.pack(f"{order}II", kind, size) + body + struct.pack(f"{order}I", size)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_other_makes(tmp_path: Path, order: str) -> None:
    """Two interfaces, simple and enhanced packets, a block that is not known."""
    section = block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    links = b"".join(block(order, 1, struct.pack(f"{order}HHI", link, 0, 0)) for link in (1, 101))
    simple = block(order, 3, struct.pack(f"{order}I", len(FRAMES[0])) + FRAMES[0])
    raw = FRAMES[1][14:]
    enhanced = block(order, 6, struct.pack(f"{order}5I", 1, 0, 0, len(raw), len(raw)) + raw)
    path = tmp_path / "y.pcapng"
    path.write_bytes(section + links + block(order, 0x77, b"what") + simple + enhanced)
    assert list(read_frames(str(path))) == [FRAMES[0], bytes(12) + b"\x08\x00" + raw]


def test_a_capture_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "z.pcap"
    wrpcap(str(path), [Ether(f) for f in FRAMES])
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        if size >= 4:
            assert list(read_frames(str(path))) == FRAMES[: len(list(read_frames(str(path))))]


def test_what_is_no_capture(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello")
    with pytest.raises(UserError, match="no pcap"):
        list(read_frames(str(path)))
    with pytest.raises(UserError, match="can't read"):
        list(read_frames(str(tmp_path / "nowhere")))
    wrpcap(str(path), [Ether(FRAMES[0])], linktype=113)
    with pytest.raises(UserError, match="link type 113"):
        list(read_frames(str(path)))
