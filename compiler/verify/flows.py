"""Frames of many flows: what conntrack makes of one must not tell on another."""

from __future__ import annotations

from collections.abc import Sequence

from ..fields import Family
from ..reference.packet import TCP, UDP, Packet, Unreadable, parse
from . import planned

_TRACKED_PORTS = frozenset({TCP, UDP, 33, 132, 136})
#: The source port that `build` gives where nothing asks for another; changing it changes no meaning.
USUAL_PORT = 40000
_FIRST, _LAST = 40001, 59999
_CHECKSUM_AT = {TCP: 16, UDP: 6, 136: 6}
_SYN, _ACK = 0x02, 0x10

Flow = tuple[object, ...]


def flow_of(frame: bytes) -> Flow:
    """The same for both directions; () for what is in no flow of its own."""
    try:
        p = parse(frame)
    except Unreadable:
        return ()
    if p.fragment:
        return (p.family, "fragment", *sorted((p.src, p.dst)))
    if p.protocol in _TRACKED_PORTS and len(p.l4) >= 4:
        sport, dport = int.from_bytes(p.l4[:2]), int.from_bytes(p.l4[2:4])
        return (p.family, p.protocol, *sorted(((p.src, sport), (p.dst, dport))))
    return (p.family, p.protocol, *sorted((p.src, p.dst)), p.l4[:2] if p.protocol in (1, 58) else b"")


def rounds(frames: Sequence[bytes]) -> list[list[int]]:
    """Indices in groups, no two frames of one group in the same flow.

    Fragments, and what the program does not read to its end, come last, in their order: once it has passed
    one, it takes every flow between the two addresses for one that is under way."""
    groups: list[list[int]] = []
    last: list[int] = []
    count: dict[Flow, int] = {}
    for index, frame in enumerate(frames):
        flow = flow_of(frame)
        if not flow or not is_whole(frame):
            last.append(index)
            continue
        number = count.get(flow, 0)
        count[flow] = number + 1
        while len(groups) <= number:
            groups.append([])
        groups[number].append(index)
    return [*groups, last] if last else groups


def is_whole(frame: bytes) -> bool:
    """Whether the program reads it to its end, and it is no fragment."""
    try:
        return not planned.parse(frame, int.from_bytes(frame[:6])).fragment
    except planned.Passes:
        return False


def spread(frames: Sequence[bytes], start: int = 0) -> list[bytes]:
    """The frames with a source port of their own each, where they have the usual one: so that they share no
    flow. Right checksums stay right, wrong ones wrong. `start`: how many frames had such ports before."""
    out = []
    port = _FIRST + start % (_LAST - _FIRST)
    for frame in frames:
        changed = _with_port(frame, port)
        if changed != frame:
            port = port + 1 if port < _LAST else _FIRST
        out.append(changed)
    return out


def _with_port(frame: bytes, port: int) -> bytes:
    try:
        p = parse(frame)
    except Unreadable:
        return frame
    if p.fragment or p.protocol not in _CHECKSUM_AT or int.from_bytes(p.l4[:2]) != USUAL_PORT:
        return frame
    return _with_word(frame, p, 0, port)


def as_answer(frame: bytes) -> bytes:
    """A SYN as an ACK of the same flow; other frames as they are."""
    try:
        p = parse(frame)
    except Unreadable:
        return frame
    if p.fragment or p.protocol != TCP or p.tcp_flags != _SYN:
        return frame
    return _with_word(frame, p, 12, p.l4[12] << 8 | _ACK)


def _with_word(frame: bytes, p: Packet, offset: int, word: int) -> bytes:
    """With another 16-bit word in its transport header."""
    start = frame.find(p.l4, 14 + (20 if p.family is Family.IPV4 else 40))
    changed, at = start + offset, start + _CHECKSUM_AT[p.protocol]
    was, old = int.from_bytes(p.l4[offset : offset + 2]), int.from_bytes(frame[at : at + 2])
    new = old
    if old or p.protocol == TCP:
        total = (~old & 0xFFFF) + (~was & 0xFFFF) + word
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        new = ~total & 0xFFFF or (0 if p.protocol == TCP else 0xFFFF)
    out = bytearray(frame)
    out[changed : changed + 2], out[at : at + 2] = word.to_bytes(2), new.to_bytes(2)
    return bytes(out)
