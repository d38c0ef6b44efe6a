"""Captures, as tcpdump and others write them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter, wrpcap

from xdptables.explain.pcap import Capture, read_capture
from xdptables.fields import Family
from xdptables.source import UserError
from xdptables.verify.build import build

FRAMES = [build(Family.IPV4, {"dport": n}) for n in range(5)] + [build(Family.IPV6, {"proto": 17})]


def test_classic(tmp_path: Path) -> None:
    for number, options in enumerate(({}, {"endianness": ">"}, {"nano": True})):
        path = str(tmp_path / f"{number}.pcap")
        wrpcap(path, [Ether(f) for f in FRAMES], **options)
        assert read_capture(path).frames == tuple(FRAMES)


def test_pcapng(tmp_path: Path) -> None:
    path = str(tmp_path / "x.pcapng")
    with PcapNgWriter(path) as writer:
        for frame in FRAMES:
            writer.write(Ether(frame))
    assert read_capture(path).frames == tuple(FRAMES)


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
    assert read_capture(str(path)).frames == (FRAMES[0], bytes(12) + b"\x08\x00" + raw)


def test_a_capture_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "z.pcap"
    wrpcap(str(path), [Ether(f) for f in FRAMES])
    whole = path.read_bytes()
    ends = {24: 0}
    for number, frame in enumerate(FRAMES, 1):
        ends[max(ends) + 16 + len(frame)] = number
    for size in range(24, len(whole), 7):
        path.write_bytes(whole[:size])
        found = read_capture(str(path))
        assert found.frames == tuple(FRAMES[: max(n for end, n in ends.items() if end <= size)])
        said = "holds no packets" if size == 24 else f"behind packet {len(found.frames)}:"
        assert size in ends or any(said in note for note in found.notes)
    path.write_bytes(whole[:10])
    with pytest.raises(UserError, match="no pcap"):
        read_capture(str(path))


def test_packets_captured_in_part(tmp_path: Path) -> None:
    """With their headers they are read as they were; the rest was data."""
    whole = build(Family.IPV4, {"dport": 80, "tcp_flags": 0x118, "length": 400})
    path = tmp_path / "part.pcap"
    for size, filled in ((128, True), (60, False)):
        head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, size, 1)
        path.write_bytes(head + struct.pack("<IIII", 0, 0, size, len(whole)) + whole[:size])
        found = read_capture(str(path))
        assert found == Capture(
            (whole[:size].ljust(len(whole), b"\0") if filled else whole[:size],), found.notes
        )
        assert "1 packets were captured in part" in found.notes[0]


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pcap"
    wrpcap(str(path), [Ether(f) for f in FRAMES])
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert read_capture("-").frames == tuple(FRAMES)


def test_what_is_no_capture(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello")
    with pytest.raises(UserError, match="no pcap"):
        read_capture(str(path))
    with pytest.raises(UserError, match="can't read"):
        read_capture(str(tmp_path / "nowhere"))
    wrpcap(str(path), [Ether(FRAMES[0])], linktype=113)
    with pytest.raises(UserError, match="link type 113"):
        read_capture(str(path))
