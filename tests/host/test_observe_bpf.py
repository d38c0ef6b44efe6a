"""Filters and programs beside ours are seen: tc, netfilter, XDP."""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Iterator

import pytest
from looking import ids, look, quiet, run

from netns import NetnsPair
from xdptables.host import bpf
from xdptables.host.observe import observe
from xdptables.kernel.preflight import kernel_version

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


def test_tc_filter(pair: NetnsPair) -> None:
    quiet(pair)
    run(pair, "tc qdisc add dev {dev} clsact")
    assert ids(look(pair)) == set()
    run(pair, "tc filter add dev {dev} egress protocol ip u32 match ip src 10.0.0.0/8")
    assert ids(look(pair)) == set()
    run(pair, "tc filter add dev {dev} ingress protocol ip u32 match ip src 10.0.0.0/8")
    host = look(pair)
    assert host.interface.tc_ingress == ("filter u32",)
    assert ids(host) == {"tc-ingress"}


def test_tc_filter_of_the_old_ingress_qdisc(pair: NetnsPair) -> None:
    run(pair, "tc qdisc add dev {dev} ingress")
    run(pair, "tc filter add dev {dev} parent ffff: protocol ip u32 match ip src 10.0.0.0/8")
    assert look(pair).interface.tc_ingress == ("filter u32",)


@contextlib.contextmanager
def program(kind: int, code: bytes, attach: int = 0) -> Iterator[int]:
    """A loaded BPF program of this type."""
    import ctypes
    import os

    instructions, license = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    attr = struct.pack(
        "=IIQQIIQII16sIIII",
        *(kind, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(license), 0, 0, 0, 0, 0),
        *(b"probe", 0, attach, 0, 0),
    )
    fd, _ = bpf._bpf(5, attr)
    try:
        yield fd
    finally:
        os.close(fd)


EXIT = bytes.fromhex("9500000000000000")


def test_tcx_program(pair: NetnsPair) -> None:
    tcx_next = struct.pack("=BBhi", 0xB7, 0, 0, -1) + EXIT
    attach = struct.pack("=IIIIIIQ", pair.server.ifindex, 0, 46, 0, 0, 0, 0)
    with program(3, tcx_next) as fd, pair.enter(pair.server):
        try:
            bpf._bpf(8, attach[:4] + struct.pack("=I", fd) + attach[8:])  # BPF_PROG_ATTACH
        except OSError as e:
            assert e.errno == errno.EINVAL and kernel_version() < (6, 6)
            assert observe(pair.server.ifname).interface.tc_ingress == ()
            return
        host = observe(pair.server.ifname)
    (text,) = host.interface.tc_ingress
    assert text.startswith("tcx id") and text.endswith("(probe)")


def test_netfilter_program(pair: NetnsPair) -> None:
    import os

    accept = struct.pack("=BBhi", 0xB7, 0, 0, 1) + EXIT
    if kernel_version() < (6, 4):
        with pytest.raises(OSError), program(32, accept, 45):
            pass
        assert look(pair).bpf_netfilter == ()
        return
    with program(32, accept, 45) as fd, pair.enter(pair.server):
        link, _ = bpf._bpf(
            28, struct.pack("=IIIIIIiI", fd, 0, 45, 0, 2, 1, 7, 0) + bytes(16)
        )  # BPF_LINK_CREATE
        try:
            host = observe(pair.server.ifname)
        finally:
            os.close(link)
    assert any(t.endswith("(probe) at ipv4 input") for t in host.bpf_netfilter)
    assert "bpf-netfilter" in ids(host)


def test_foreign_xdp(pair: NetnsPair) -> None:
    passing = struct.pack("=BBhi", 0xB7, 0, 0, 2) + EXIT
    with program(6, passing) as fd:
        with pair.enter(pair.server):
            from xdptables.kernel import netlink

            netlink.set_xdp(pair.server.ifindex, fd, netlink.SKB_MODE)
        host = look(pair)
    assert host.interface.xdp.endswith("(probe)")
    assert "foreign-xdp" in ids(host)
