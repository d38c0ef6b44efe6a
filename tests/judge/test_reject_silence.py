"""Where REJECT sends nothing: each statement of matches/silence.py against the kernel, with real packets.

Every frame that the program drops must be one that the kernel does not answer, and those that the kernel
can be known not to answer are dropped.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
from collections.abc import Iterator, Sequence

import pytest

from judge.place import PLACE, Frame
from xdptables.fields import Family
from xdptables.host.facts import HostFacts
from xdptables.kernel import kfuncs, maps, syscall
from xdptables.kernel.compile import compile_program
from xdptables.pipeline import Compiled, compile_rules
from xdptables.reference.interpret import Verdict, interpret
from xdptables.rules.model import Variant
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify import probe
from xdptables.verify.bench import IFNAME, Bench
from xdptables.verify.build import build
from xdptables.verify.program import attached_long_ago

pytestmark = pytest.mark.kernel

XDP_DROP = 1
PORT_OF = {
    Family.IPV4: (
        "icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable", "icmp-port-unreachable",
        "icmp-net-prohibited", "icmp-host-prohibited", "icmp-admin-prohibited",
    ),
    Family.IPV6: (
        "icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable", "icmp6-port-unreachable",
        "icmp6-policy-fail", "icmp6-reject-route",
    ),
}  # fmt: skip
FIRST_PORT, RESET_PORT = 2000, 1001
SYN, ACK, RST = 0x02, 0x10, 0x04


def rules(family: Family, before: str = "") -> str:
    lines = [
        f"-A INPUT -p {proto} -m {proto} --dport {port} -j REJECT --reject-with {kind}"
        for port, kind in enumerate(PORT_OF[family], FIRST_PORT)
        for proto in ("udp", "tcp")
    ]
    reset = f"-A INPUT -p tcp -m tcp --dport {RESET_PORT} -j REJECT --reject-with tcp-reset"
    body = "\n".join((*lines, reset))
    return f"*filter\n:INPUT ACCEPT [0:0]\n{before}{body}\n-A INPUT -j REJECT\nCOMMIT\n"


def _frames(family: Family) -> list[Frame]:
    four = family is Family.IPV4
    dsts = (
        {"own": PLACE.own4, "group": "224.0.0.1", "everyone": "255.255.255.255", "lan": PLACE.broadcast4}
        if four
        else {"own": PLACE.own6, "group": "ff02::1"}
    )
    ports = [RESET_PORT, 3000, *range(FIRST_PORT, FIRST_PORT + len(PORT_OF[family]))]
    made = []
    for frame_kind in (0, 1, 2):
        for where, dst in dsts.items():
            common = {"pkttype": frame_kind, "dst": int(ipaddress.ip_address(dst))}
            for port in ports:
                made.append(("udp", where, {**common, "proto": 17, "dport": port}))
                for flags in (SYN, ACK, RST, RST | ACK, SYN | RST):
                    made.append(
                        (f"tcp {flags:#x}", where, {**common, "proto": 6, "dport": port, "tcp_flags": flags})
                    )
    for kind in range(256):
        made.append((f"icmp {kind}", "own", {"proto": 1 if four else 58, "icmp": kind << 8}))
    for fragment in (1, 2):
        for where, dst in dsts.items():
            made.append(
                (f"fragment {fragment}", where,
                 {"proto": 17, "dport": 3000, "fragment": fragment, "dst": int(ipaddress.ip_address(dst))})
            )  # fmt: skip
    if not four:
        made += [("from nobody", "own", {"proto": p, "src": 0, "dport": RESET_PORT}) for p in (6, 17)]
    frames = []
    for number, (name, where, spec) in enumerate(made, 1):
        # The answer to a segment is known by its port, that to anything else by what it quotes.
        frame = build(family, {"sport": 10000 + number, **spec})
        where += ("", " by link broadcast", " by link multicast")[spec.get("pkttype", 0)]
        frames.append(Frame(f"{name} to {where} {spec.get('dport', '')}", probe.tagged(frame, number)))
    broken = build(family, {"proto": 17, "dport": 3000, "sport": 9999})
    frames.append(Frame("bad checksum", probe.tagged(broken[:-1] + b"\x55", len(frames) + 1)))
    return frames


def _answered(bench: Bench, frames: Sequence[Frame], family: Family) -> set[int]:
    """Indices of the frames that got an ICMP error or a reset."""
    pair = bench.pair
    got = set()
    with pair.enter(pair.client):
        ether_type = 0x0800 if family is Family.IPV4 else 0x86DD
        listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ether_type))
        listener.bind((pair.client.ifname, ether_type))
    with listener:
        for start in range(0, len(frames), 50):
            pair.send_frames([f.data for f in frames[start : start + 50]])
            while select.select([listener], [], [], 0.2)[0]:
                number = _number(listener.recv(2048)[14:], family)
                if number:
                    got.add(number - 1)
    return got


def _number(packet: bytes, family: Family) -> int:
    """Of the frame that is answered here; 0: no answer."""
    four = family is Family.IPV4
    proto, own, l4 = (
        (packet[9], packet[12:16], packet[20:]) if four else (packet[6], packet[8:24], packet[40:])
    )
    if own != ipaddress.ip_address(PLACE.own4 if four else PLACE.own6).packed:
        return 0
    if proto == 6 and l4[13] & RST:
        return int.from_bytes(l4[2:4]) - 10000
    if proto == (1 if four else 58) and l4[0] == (3 if four else 1):
        return probe.tag_of(l4[8:])
    return 0


@contextlib.contextmanager
def loaded(compiled: Compiled, host: HostFacts) -> Iterator[int]:
    program = compile_program(compiled.c_text, compiled.plan.map_values)
    fd = kfuncs.load(program.instructions, program.license).fd
    try:
        maps.fill(program.maps, host)
        attached_long_ago(program.maps)
        yield fd
    finally:
        os.close(fd)


def _judged(bench: Bench, frames: Sequence[Frame], variant: Variant, family: Family) -> set[int]:
    """What the interpreter is certain of."""
    rulesets, host = read_rulesets(Source("saved", bench.saved(variant, family))), bench.facts()
    verdicts = [interpret(rulesets, f.data, host, IFNAME).verdict for f in frames]
    return {i for i, verdict in enumerate(verdicts) if verdict is Verdict.DROP}


def _quiet(bench: Bench) -> None:
    """No limit on replies: none per target, and not the one for all, which spares what the mask lacks."""
    limits = (
        "net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_ratemask=0",
        "net.ipv6.icmp.ratelimit=0", "net.ipv6.icmp.ratemask=127",
    )  # fmt: skip
    bench.pair.run(bench.pair.server, ["sysctl", "-qw", *limits])


def _dropped(bench: Bench, frames: Sequence[Frame], variant: Variant, family: Family) -> set[int]:
    host = bench.facts()
    compiled = compile_rules(read_rulesets(Source("saved", bench.saved(variant, family))), host)
    out = set()
    with bench.pair.enter(bench.pair.server), loaded(compiled, host) as fd:
        for index, frame in enumerate(frames):
            verdict, _, _ = syscall.test_run(fd, frame.data, ingress_ifindex=bench.pair.server.ifindex)
            if verdict == XDP_DROP:
                out.add(index)
    return out


@pytest.mark.parametrize("variant", [Variant.LEGACY, Variant.NFT], ids=str)
@pytest.mark.parametrize("family", list(Family), ids=str)
def test_what_is_dropped_is_not_answered(variant: Variant, family: Family) -> None:
    frames = _frames(family)
    with Bench() as bench:
        bench.load(rules(family), variant, family)
        _quiet(bench)
        answered = _answered(bench, frames, family)
        came = bench.survivors([f.data for f in frames])
        dropped = _dropped(bench, frames, variant, family)
        judged = _judged(bench, frames, variant, family)
    assert came == set()
    assert judged & answered == set()
    assert dropped <= judged
    wrong = [frames[i].name for i in sorted(dropped & answered)]
    assert wrong == []
    missed = [frames[i].name for i in range(len(frames)) if i not in answered and i not in dropped]
    # A bad checksum is silent, but not where the device has checked it; a directed broadcast is known by
    # the host's routes only; the fragments of one datagram are answered by one reply, or by none.
    unknown = [n for n in missed if n != "bad checksum" and " to lan" not in n and "fragment" not in n]
    assert unknown == []
    assert len(dropped) > 150


def test_where_connections_are_tracked() -> None:
    """Fields that vary in a flow decide only of packets without one; what is dropped is as silent."""
    before = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    frames = _frames(Family.IPV4)
    with Bench() as bench:
        bench.load(rules(Family.IPV4, before), Variant.NFT, Family.IPV4)
        _quiet(bench)
        answered = _answered(bench, frames, Family.IPV4)
        dropped = _dropped(bench, frames, Variant.NFT, Family.IPV4)
    assert [frames[i].name for i in sorted(dropped & answered)] == []
    names = {frames[i].name for i in dropped}
    assert {f"tcp 0x4 to own {RESET_PORT}", "udp to own by link broadcast 3000"} <= names
