"""Device features by name, by the ethtool ioctl: no tool is needed."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSSET_INFO, _GFEATURES = 0x1B, 0x37, 0x3A
_SS_FEATURES, _NAME = 4, 32


def active_features(ifname: str) -> frozenset[str]:
    """Names as `ethtool -k` has them in the kernel: "rx-gro", "rx-vlan-hw-parse", ... Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        info = _ask(s, ifname, struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SS_FEATURES, 0))
        count = struct.unpack_from("=I", info, 16)[0]
        raw = _ask(s, ifname, struct.pack("=III", _GSTRINGS, _SS_FEATURES, count) + bytes(count * _NAME))
        blocks = (count + 31) // 32
        state = _ask(s, ifname, struct.pack("=II", _GFEATURES, blocks) + bytes(blocks * 16))
    names = [raw[12 + i * _NAME :][:_NAME].split(b"\0", 1)[0].decode() for i in range(count)]
    active = [struct.unpack_from("=I", state, 8 + 16 * block + 8)[0] for block in range(blocks)]
    return frozenset(name for i, name in enumerate(names) if name and active[i // 32] >> i % 32 & 1)


def _ask(s: socket.socket, ifname: str, request: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(request, len(request))
    fcntl.ioctl(s, _SIOCETHTOOL, struct.pack("16sP16x", ifname.encode(), ctypes.addressof(buffer)))
    return buffer.raw
