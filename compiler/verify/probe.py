"""Which of the frames sent came through INPUT: an nft chain behind all others logs them to NFLOG.

The kernel's socket buffer has a log entry as soon as its packet has passed, so once a sentinel has been
seen by a packet socket, everything sent before it is there to be read.
"""

from __future__ import annotations

import os
import select
import socket
import struct

GROUP = 4711
# No state match, so the probe does not switch conntrack on.
NFT = f"""
table inet probe {{
    chain survivors {{
        type filter hook input priority 1000; policy accept;
        log group {GROUP}
    }}
}}
"""
SENTINEL_TYPE = 0x88B5  # IEEE: local experiments; not IP, so no rule and no program may drop it

_ULOG_PACKET, _ULOG_CONFIG = 4 << 8 | 0, 4 << 8 | 1
_NLM_F_REQUEST_ACK = 0x05
_PAYLOAD, _PREFIX = 9, 10


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


class SurvivorLog:
    """Reads an NFLOG group. To be made inside the namespace."""

    def __init__(self, group: int = GROUP) -> None:
        self._group = group
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self._configure(_attribute(1, struct.pack("B", 1)))  # bind to the group
        self._configure(_attribute(2, struct.pack("!IBx", 128, 2)))  # copy the packet's first bytes
        self._configure(_attribute(5, struct.pack("!I", 1)))  # hold nothing back

    def _configure(self, attribute: bytes) -> None:
        body = struct.pack("!BBH", 0, 0, self._group) + attribute
        head = struct.pack("IHHII", 16 + len(body), _ULOG_CONFIG, _NLM_F_REQUEST_ACK, 1, 0)
        self._socket.send(head + body)
        answer = self._socket.recv(4096)
        error = struct.unpack_from("i", answer, 16)[0]
        if error:
            raise OSError(-error, f"NFLOG: {os.strerror(-error)}")

    def read(self) -> list[bytes]:
        """The IP packets logged since the last call, cut at 128 bytes. Raises OSError if some were lost."""
        return [packet for _, packet in self.read_prefixed()]

    def read_prefixed(self) -> list[tuple[str, bytes]]:
        """With the prefix that the rule gave each."""
        packets: list[tuple[str, bytes]] = []
        while True:
            try:
                data = self._socket.recv(1 << 17, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return packets
            packets += _payloads(data)

    def close(self) -> None:
        self._socket.close()


def _payloads(data: bytes) -> list[tuple[str, bytes]]:
    found = []
    at = 0
    while at + 16 <= len(data):
        size, kind = struct.unpack_from("IH", data, at)
        if kind == _ULOG_PACKET:
            inner, end = at + 20, at + size
            values = {}
            while inner + 4 <= end:
                length, attribute = struct.unpack_from("HH", data, inner)
                values[attribute & 0x3FFF] = data[inner + 4 : inner + length]
                inner += (length + 3) & ~3
            if _PAYLOAD in values:
                prefix = values.get(_PREFIX, b"").rstrip(b"\0").decode()
                found.append((prefix, values[_PAYLOAD]))
        at += (size + 3) & ~3
    return found


class Sentinel:
    """Sees the sentinel frames. To be made inside the receiving namespace."""

    def __init__(self, ifname: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(SENTINEL_TYPE))
        self._socket.bind((ifname, SENTINEL_TYPE))
        self._number = 0

    def frame(self, mac_dst: str, mac_src: str) -> bytes:
        self._number += 1
        macs = bytes.fromhex((mac_dst + mac_src).replace(":", ""))
        return macs + struct.pack("!HQ", SENTINEL_TYPE, self._number) + b"\0" * 40

    def wait(self, timeout: float = 5) -> None:
        """Until the frame made last is here."""
        while True:
            if not select.select([self._socket], [], [], timeout)[0]:
                raise TimeoutError("the sentinel frame did not arrive")
            if int.from_bytes(self._socket.recv(2048)[14:22]) == self._number:
                return

    def close(self) -> None:
        self._socket.close()


def tagged(frame: bytes, tag: int) -> bytes:
    """The frame with `tag` as its IPv4 ID or IPv6 flow label. A right header checksum stays right, a
    wrong one wrong. What is not IP comes back as it is."""
    data = bytearray(frame)
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    kind, ip = frame[at : at + 2], at + 2
    if kind == b"\x08\x00" and len(frame) >= ip + 20:
        old = int.from_bytes(frame[ip + 4 : ip + 6])
        total = (~int.from_bytes(frame[ip + 10 : ip + 12]) & 0xFFFF) + (~old & 0xFFFF) + tag
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        data[ip + 4 : ip + 6] = tag.to_bytes(2)
        data[ip + 10 : ip + 12] = (~total & 0xFFFF).to_bytes(2)
    elif kind == b"\x86\xdd" and len(frame) >= ip + 40:
        word = int.from_bytes(frame[ip : ip + 4]) & 0xFFF00000 | tag
        data[ip : ip + 4] = word.to_bytes(4)
    return bytes(data)


def tag_of(packet: bytes) -> int:
    if packet[0] >> 4 == 4:
        return int.from_bytes(packet[4:6])
    return int.from_bytes(packet[:4]) & 0xFFFFF


def datagram(frame: bytes) -> bytes | None:
    """What the fragments of one IPv4 datagram have in common; None for a whole one. The fragments have to
    keep a common ID, or they would never be joined."""
    if frame[12:14] != b"\x08\x00" or len(frame) < 34 or not int.from_bytes(frame[20:22]) & 0x3FFF:
        return None
    return frame[18:20] + frame[23:24] + frame[26:34]
