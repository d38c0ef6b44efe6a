"""What a trial sends: frames derived from the rules, and flows whose packets go both ways, in a random order
that keeps each flow's own."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass

from xdptables.fields import Family
from xdptables.verify.build import Spec, build, checksum
from xdptables.verify.model import Frame, Place

SYN, ACK, SYN_ACK, RST, RST_ACK, FIN_ACK, DATA, NULL, XMAS = 2, 0x10, 0x12, 4, 0x14, 0x11, 0x118, 0, 0x29
_PORTS = (22, 53, 80, 443, 7, 40000, 1024)


@dataclass(frozen=True)
class Event:
    """A frame to the host, or (`out`) a packet that the host sends, as a frame too."""

    frame: Frame
    out: bool = False


def events(
    frames: Sequence[Frame], families: Sequence[Family], place: Place, rng: random.Random
) -> list[Event]:
    """Frames and flows, mixed."""
    queues = [[Event(f)] for f in frames]
    for number in range(rng.randrange(12, 30)):
        queues.append(_flow(number, rng.choice(families), place, rng))
    for number in range(rng.randrange(6)):
        queues.append(_datagram(number, rng.choice(families), place, rng))
    order = [i for i, queue in enumerate(queues) for _ in queue]
    rng.shuffle(order)
    heads = [iter(queue) for queue in queues]
    return [next(heads[i]) for i in order]


def _flow(number: int, family: Family, place: Place, rng: random.Random) -> list[Event]:
    four = family is Family.IPV4
    kind = rng.choice(("tcp", "tcp", "tcp", "udp", "udp", "echo"))
    own, peer = (place.own4, place.peer4) if four else (place.own6, place.peer6)
    near = int(ipaddress.ip_address(own))
    far = int(ipaddress.ip_address(peer))
    if rng.random() < 0.4:
        far += rng.randrange(2, 60)
    inward: Spec = {"src": far, "dst": near, "ttl": rng.choice((64, 64, 1, 255))}
    if kind == "echo":
        inward["proto"] = 1 if four else 58
        ask, answer = (0x0800, 0x0000) if four else (0x8000, 0x8100)
        steps = [rng.choice((ask, answer)) for _ in range(rng.randrange(2, 6))]
        return [
            _event(family, {**inward, "icmp": step}, place, rng.random() < 0.5, f"flow {number} echo")
            for step in steps
        ]
    inward |= {
        "proto": 6 if kind == "tcp" else 17,
        "sport": rng.choice(_PORTS), "dport": rng.choice(_PORTS),
    }  # fmt: skip
    made: list[Event] = []
    for step in _steps(kind, rng):
        out, flags = step
        if flags < 0:  # an ICMP error about a packet that the host sent
            made.append(Event(_error(family, inward, place, f"flow {number} error")))
            continue
        spec = {**inward, "tcp_flags": flags} if kind == "tcp" else dict(inward)
        spec |= _passing(rng)
        made.append(_event(family, spec, place, out, f"flow {number} {kind} {flags:#x}"))
    return made


def _passing(rng: random.Random) -> Spec:
    """What may differ among the packets of one flow: where rules go by it, some are dropped, others not."""
    spec: Spec = {}
    for name, values in (
        ("ttl", (1, 63, 65, 255)),
        ("tos", (0x08, 0x10, 0x28, 0xB8)),
        ("length", (100, 200, 400)),
    ):
        if rng.random() < 0.3:
            spec[name] = rng.choice(values)
    if rng.random() < 0.15:
        spec["mac_src"] = 0x020000000077
    return spec


def _steps(kind: str, rng: random.Random) -> list[tuple[bool, int]]:
    """(from the host, flags or -1 for an ICMP error)."""
    if kind == "udp":
        return [(rng.random() < 0.4, 0 if rng.random() < 0.9 else -1) for _ in range(rng.randrange(2, 7))]
    client = rng.random() < 0.5  # the host opens it
    usual = [(client, SYN), (not client, SYN_ACK), (client, ACK), (client, DATA), (not client, DATA)]
    usual += [(client, FIN_ACK), (not client, FIN_ACK), (client, ACK)]
    steps = usual[: rng.randrange(1, len(usual) + 1)]
    for _ in range(rng.choice((0, 1, 2, 4))):
        flags = rng.choice((SYN, ACK, SYN_ACK, RST, RST_ACK, FIN_ACK, DATA, NULL, XMAS, -1))
        steps.insert(rng.randrange(len(steps) + 1), (flags >= 0 and rng.random() < 0.3, flags))
    return steps


def _datagram(number: int, family: Family, place: Place, rng: random.Random) -> list[Event]:
    """One datagram in two to four fragments; now and then one is missing, or they come in another order."""
    four = family is Family.IPV4
    spec: Spec = {
        "proto": rng.choice((6, 17, 17, 1 if four else 58)),
        "sport": rng.choice(_PORTS), "dport": rng.choice(_PORTS), "length": rng.choice((80, 200, 600)),
        "tcp_flags": rng.choice((SYN, DATA)), "ttl": rng.choice((64, 1)),
    }  # fmt: skip
    whole = build(family, spec, place)
    head = 34 if four else 54
    body = whole[head:]
    size = max(8, len(body) // rng.choice((2, 3, 4)) // 8 * 8)
    parts = [_fragment(whole[:head], body, start, size, number, four) for start in range(0, len(body), size)]
    if rng.random() < 0.3:
        rng.shuffle(parts)
    if rng.random() < 0.2:
        parts.pop(rng.randrange(len(parts)))
    return [Event(Frame(f"datagram {number}, part {n}", part)) for n, part in enumerate(parts)]


def _fragment(head: bytes, body: bytes, start: int, size: int, number: int, four: bool) -> bytes:
    part, more = body[start : start + size], start + size < len(body)
    if four:
        ip = head[14:16] + (20 + len(part)).to_bytes(2) + (0x7000 + number).to_bytes(2)
        ip += (start // 8 | (0x2000 if more else 0)).to_bytes(2) + head[22:24] + b"\0\0" + head[26:34]
        ip = ip[:10] + checksum(ip).to_bytes(2) + ip[12:]
        return head[:14] + ip + part
    header = head[20:21] + b"\0" + (start | int(more)).to_bytes(2) + (0x70 + number).to_bytes(4)
    return head[:18] + (8 + len(part)).to_bytes(2) + b"\x2c" + head[21:54] + header + part


def _event(family: Family, inward: Spec, place: Place, out: bool, name: str) -> Event:
    spec = dict(inward)
    if out:
        spec |= {"src": inward["dst"], "dst": inward["src"]}
        if "sport" in inward:
            spec |= {"sport": inward["dport"], "dport": inward["sport"]}
    return Event(Frame(f"{name} {'out' if out else 'in'}", build(family, spec, place)), out)


def _error(family: Family, inward: Spec, place: Place, name: str) -> Frame:
    """Port unreachable, about the packet that the host may have sent in this flow."""
    four = family is Family.IPV4
    sent = _event(family, inward, place, True, "").frame.data[14:]
    quoted = sent[:28] if four else sent[:48]
    head = bytes((3, 3) if four else (1, 4)) + bytes(6) + quoted
    src, dst = (inward["src"], inward["dst"])
    size = 4 if four else 16
    addresses = src.to_bytes(size) + dst.to_bytes(size)
    protocol = 1 if four else 58
    pseudo = b"" if four else addresses + len(head).to_bytes(4) + protocol.to_bytes(4)
    head = head[:2] + checksum(pseudo + head).to_bytes(2) + head[4:]
    plain = build(family, {**inward, "proto": protocol}, place)
    if four:
        ip = plain[14:34]
        ip = ip[:2] + (20 + len(head)).to_bytes(2) + ip[4:10] + b"\0\0" + ip[12:]
        ip = ip[:10] + checksum(ip).to_bytes(2) + ip[12:]
    else:
        ip = plain[14:18] + len(head).to_bytes(2) + plain[20:54]
    return Frame(name, plain[:14] + ip + head)
