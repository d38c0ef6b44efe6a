"""The window of recently passed flows, with its stamps and its clock set by hand."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import pytest
from scapy.all import IP, TCP, Ether

from modules import need_conntrack
from xdptables.emit.csource import RECENT_NS
from xdptables.fields import Family
from xdptables.host.facts import ASSUMPTIONS
from xdptables.kernel import syscall
from xdptables.pipeline import compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.program import ProgramSubject, loaded

pytestmark = [pytest.mark.kernel, pytest.mark.stock]

RULES = (
    "*filter\n:INPUT DROP [0:0]\n"
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    "-A INPUT -p tcp -m tcp --dport 8080 -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n"
)
LONG_AGO, AGES_NS = 1, 10 * RECENT_NS


@pytest.fixture
def subject() -> Iterator[ProgramSubject]:
    need_conntrack()
    host = ASSUMPTIONS["plain"]
    made = compile_rules(read_rulesets(Source("r", RULES), Family.IPV4), host)
    with loaded(made.c_text, host) as subject:
        yield subject


def frame(subject: ProgramSubject, flags: str, sport: int = 40000) -> bytes:
    """Made before the stamps are: on an emulated processor that takes a while."""
    raw = syscall.map_lookup(subject.maps["xt_config"], bytes(4), 128) or b""
    mac, _, address = struct.unpack_from("=3Q", raw)
    there = ".".join(map(str, (address & 0xFFFFFFFF).to_bytes(4, "big")))
    to = ":".join(f"{byte:02x}" for byte in mac.to_bytes(6, "big"))
    return bytes(
        Ether(dst=to) / IP(src="198.51.100.7", dst=there) / TCP(sport=sport, dport=8080, flags=flags)
    )


def dropped(subject: ProgramSubject, frame: bytes) -> bool:
    return syscall.test_run(subject.fd, frame, subject.ifindex)[0] == 1


def set_window(subject: ProgramSubject, opened: int, clock: int) -> None:
    syscall.map_update(subject.maps["xt_window"], bytes(4), struct.pack("=QQQ", opened, clock, 0))


def window(subject: ProgramSubject) -> tuple[int, int]:
    raw = syscall.map_lookup(subject.maps["xt_window"], bytes(4), 24) or b""
    opened, clock, _ = struct.unpack("=QQQ", raw)
    return opened, clock


def stamps(subject: ProgramSubject) -> dict[int, int]:
    found = {}
    for key in syscall.map_keys(subject.maps["xt_recent"], 4):
        (stamp,) = struct.unpack("=Q", syscall.map_lookup(subject.maps["xt_recent"], key, 8) or b"")
        if stamp:
            found[struct.unpack("=I", key)[0]] = stamp
    return found


def set_stamp(subject: ProgramSubject, slot: int, stamp: int) -> None:
    syscall.map_update(subject.maps["xt_recent"], struct.pack("=I", slot), struct.pack("=Q", stamp))


def test_whatever_the_clock_said_last(subject: ProgramSubject) -> None:
    syn, rst, other = frame(subject, "S"), frame(subject, "R"), frame(subject, "R", sport=40001)
    assert not dropped(subject, syn)  # NEW, to an open port: passed, and stamped
    ((slot, stamp),) = stamps(subject).items()
    assert window(subject) == (LONG_AGO, stamp)
    now = time.monotonic_ns()
    for clock in (0, stamp - AGES_NS, stamp, now):
        for age, wanted in ((AGES_NS, True), (RECENT_NS * 2, True), (RECENT_NS // 4, False), (0, False)):
            set_window(subject, LONG_AGO, clock)
            set_stamp(subject, slot, time.monotonic_ns() - age)
            assert dropped(subject, rst) is wanted, (clock, age)
            assert dropped(subject, other)


def test_a_stamp_of_another_cpu_that_is_ahead(subject: ProgramSubject) -> None:
    syn, rst = frame(subject, "S"), frame(subject, "R")
    assert not dropped(subject, syn)
    (slot,) = stamps(subject)
    set_stamp(subject, slot, time.monotonic_ns() + AGES_NS)
    assert not dropped(subject, rst)


def test_the_clock_is_read_when_a_stamp_may_be_too_new_for_it(subject: ProgramSubject) -> None:
    rst = frame(subject, "R")
    set_window(subject, LONG_AGO, 0)
    before = time.monotonic_ns()
    assert dropped(subject, rst)
    _, clock = window(subject)
    assert before - RECENT_NS // 2 < clock <= time.monotonic_ns()  # coarse: up to a tick behind
    set_window(subject, LONG_AGO, clock - 1)
    assert dropped(subject, rst)
    assert window(subject) == (LONG_AGO, clock - 1)  # it said enough


def test_the_first_instant_of_a_program(subject: ProgramSubject) -> None:
    rst = frame(subject, "R")
    set_window(subject, 0, 0)
    assert not dropped(subject, rst)
    opened, clock = window(subject)
    assert opened == clock > LONG_AGO
    set_window(subject, time.monotonic_ns(), clock)
    assert not dropped(subject, rst)
    set_window(subject, clock - AGES_NS, clock)
    assert dropped(subject, rst)
    assert window(subject)[0] == LONG_AGO


def test_an_odd_packet_counts_for_all_flows_between_its_addresses(subject: ProgramSubject) -> None:
    rst, other = frame(subject, "R"), frame(subject, "R", sport=40001)
    cut = frame(subject, "S")[:-10]
    between_others = bytearray(cut)
    between_others[29] ^= 1  # of the source's address
    assert syscall.test_run(subject.fd, bytes(between_others), subject.ifindex)[0] != 1
    assert dropped(subject, rst)
    for unseen in (rst, other):
        assert syscall.test_run(subject.fd, cut, subject.ifindex)[0] != 1
        assert not dropped(subject, unseen)
