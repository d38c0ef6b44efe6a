"""Compile, load, fill and run without a device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import program
import pytest

from xdptables.host.facts import HostFacts, InterfaceFacts
from xdptables.kernel import kfuncs, maps, pins, syscall
from xdptables.kernel.compile import CompiledProgram, compile_program
from xdptables.kernel.errors import KernelError

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


@dataclass(frozen=True)
class Loaded:
    compiled: CompiledProgram
    fd: int

    def verdict(self, frame: bytes) -> int:
        return syscall.test_run(self.fd, frame)[0]


@pytest.fixture
def loaded() -> Iterator[Loaded]:
    compiled = compile_program(program.text())
    fd = kfuncs.load(compiled.instructions, compiled.license).fd
    yield Loaded(compiled, fd)
    os.close(fd)


def test_compiled(loaded: Loaded) -> None:
    assert loaded.compiled.license == "Dual MIT/GPL"
    known = {maps.CONFIG, maps.LOCAL4, maps.LOCAL6, maps.RULES, maps.VERDICTS}
    assert set(loaded.compiled.maps) == {*known, "xt_numbers"}
    assert syscall.prog_info(loaded.fd).name == "xdptables"


def test_nothing_is_printed_and_no_kernel_headers_are_needed() -> None:
    code = (
        "import program; from xdptables.kernel.compile import compile_program;"
        "assert compile_program(program.text()).instructions"
    )
    hidden = "for d in /usr/include /usr/src /lib/modules; do [ -d $d ] && mount -t tmpfs none $d; done; "
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", hidden + f'exec "{sys.executable}" -c "{code}"'],
        capture_output=True,
        text=True,
        check=False,
        cwd=os.path.dirname(program.__file__),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_verdicts_and_counters(loaded: Loaded) -> None:
    assert loaded.verdict(program.DROPPED) == program.DROP
    assert loaded.verdict(bytes(64)) == program.PASS
    counters = maps.read_counters(loaded.compiled.maps)
    assert counters.rules[1] == maps.RuleCounter(1, len(program.DROPPED))
    assert counters.verdicts[program.DROP] == counters.verdicts[program.PASS] == 1


def test_counters_add_up_over_cpus(loaded: Loaded) -> None:
    before = os.sched_getaffinity(0)
    try:
        for cpu in before:
            os.sched_setaffinity(0, {cpu})
            loaded.verdict(program.DROPPED)
    finally:
        os.sched_setaffinity(0, before)
    assert maps.read_counters(loaded.compiled.maps).rules[1].packets == len(before)


def test_host_facts_reach_the_maps(loaded: Loaded) -> None:
    plain = HostFacts()
    host = HostFacts(
        interface=InterfaceFacts(mac="aa:bb:cc:dd:ee:ff"),
        local4=("10.1.0.0/16",),
        broadcast4=("10.1.0.255",),
        local6=("fd00::1/128",),
        forwards4=True,
    )
    frames = [program.DROPPED_WHEN_FORWARDING, program.ipv4("10.1.0.255"), program.ipv6("fd00::1")]
    fds = loaded.compiled.maps
    for facts, verdict in ((plain, program.PASS), (host, program.DROP), (plain, program.PASS)):
        maps.fill(fds, facts)
        assert [loaded.verdict(frame) for frame in frames] == [verdict] * 3
        assert loaded.verdict(program.ipv4("10.1.0.7")) == program.PASS
    maps.fill(fds, host)
    size = syscall.map_info(fds[maps.CONFIG]).value_size
    config = syscall.map_lookup(fds[maps.CONFIG], bytes(4), size) or b""
    assert config[:8] == 0xAABBCCDDEEFF.to_bytes(8, "little")


def test_each_flag_has_its_bit() -> None:
    names = ("forwards4", "forwards6", "mc_forwarding4", "mc_forwarding6", "bc_forwarding")
    plain = HostFacts(local_first4=False, local_first6=False)
    assert [maps.flags(replace(plain, **{name: True})) for name in names] == [
        n + 256 + 512 for n in (1, 2, 4, 8, 16)
    ]
    assert maps.flags(HostFacts()) == 64 + 128
    assert maps.flags(HostFacts(unclear4=("192.0.2.0/24",), local_first6=False)) == 512


def test_too_many_local_prefixes(loaded: Loaded) -> None:
    with pytest.raises(KernelError, match="65 local prefixes"):
        maps.fill(loaded.compiled.maps, HostFacts(local4=tuple(f"10.0.0.{n}" for n in range(65))))


def test_maps_that_a_program_lacks_are_skipped() -> None:
    maps.fill({}, HostFacts(local4=("10.0.0.1",)))
    assert maps.read_counters({}) == maps.Counters()


def test_batch_update(loaded: Loaded) -> None:
    numbers = loaded.compiled.maps["xt_numbers"]
    keys = [n.to_bytes(4, "little") for n in range(4)]
    syscall.map_update_batch(numbers, keys, [bytes([n] * 8) for n in range(4)])
    assert [syscall.map_lookup(numbers, key, 8) for key in keys] == [bytes([n] * 8) for n in range(4)]
    local = loaded.compiled.maps[maps.LOCAL4]
    prefixes = maps.trie_entries(maps.prefixes(("10.0.0.0/8", "0.0.0.0/0"), maps.LOCAL))
    syscall.map_update_batch(local, list(prefixes), list(prefixes.values()))
    assert set(syscall.map_keys(local, 8)) == set(prefixes)


def test_frames(loaded: Loaded) -> None:
    verdict, data, nanoseconds = syscall.test_run(loaded.fd, program.DROPPED, ingress_ifindex=1, repeat=100)
    assert (verdict, data) == (program.DROP, program.DROPPED)
    assert nanoseconds > 0
    assert syscall.test_run(loaded.fd, bytes(9000))[0] == program.PASS  # several buffers
    with pytest.raises(ValueError, match="14 bytes"):
        syscall.test_run(loaded.fd, bytes(13))


def test_compiler_errors_are_ours() -> None:
    with pytest.raises(KernelError) as caught:
        compile_program("int xdptables(struct xdp_md *ctx) { return nowhere; }")
    assert "undeclared identifier 'nowhere'" in caught.value.log
    assert "defect of xdptables" in caught.value.hint
    with pytest.raises(KernelError, match=r"no function xdptables"):
        compile_program("int other(struct xdp_md *ctx) { return 2; }")


def test_verifier_errors_are_summarised() -> None:
    compiled = compile_program("int xdptables(struct xdp_md *ctx) { return *(int *)(long)ctx->data; }")
    with pytest.raises(KernelError, match="refuses the program") as caught:
        kfuncs.load(compiled.instructions, compiled.license)
    assert "invalid access to packet" in caught.value.log
    assert len(caught.value.log.splitlines()) <= 26


def test_bpffs_is_mounted_when_missing() -> None:
    code = (
        "import os; from xdptables.kernel import pins; pins.mount_bpffs(); pins.mount_bpffs(); "
        "assert os.path.ismount(pins.BPFFS)"
    )
    script = f'umount /sys/fs/bpf 2>/dev/null; exec "{sys.executable}" -c "{code}"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert pins.BPFFS.is_dir()
