"""A kernel whose conntrack, nftables and matches are modules, loaded when they are first needed."""

from __future__ import annotations

import contextlib
import lzma
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from judge.traffic import DROPPED, SERVER, connected, echoes, firewall, flood, program, serve, verdicts
from netns import NetnsPair
from pace import seconds
from xdptables.host.conntrack import is_loaded
from xdptables.host.findings import findings
from xdptables.host.observe import observe
from xdptables.kernel import btf, kfuncs
from xdptables.kernel.load import unload_program
from xdptables.kernel.preflight import kernel_version
from xdptables.loading import Request, load, prepare

pytestmark = [pytest.mark.kernel, pytest.mark.stock]

STATELESS = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -j DROP\nCOMMIT\n"


def unload(module: str) -> None:
    """And what needs it; a namespace that is going away may hold it a while."""
    until = time.monotonic() + seconds(3)
    folder = Path("/sys/module", module)
    while folder.exists():
        for holder in (folder / "holders").iterdir():
            unload(holder.name)
        done = subprocess.run(["rmmod", module], capture_output=True, text=True, check=False)
        if done.returncode and folder.exists():
            assert time.monotonic() < until, done.stderr
            time.sleep(0.2)


def ids(pair: NetnsPair) -> set[str]:
    with pair.enter(pair.server):
        return {f.id for f in findings(observe(pair.server.ifname))}


@contextlib.contextmanager
def loaded(pair: NetnsPair) -> Iterator[None]:
    load(prepare(Request(pair.server.ifname, netns=pair.server.ns)))
    try:
        yield
    finally:
        unload_program(pair.server.ifname, netns=pair.server.ns)


def test_a_stateless_firewall_loads_no_conntrack() -> None:
    unload("nf_conntrack")
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-legacy-restore"], input=STATELESS)
        assert kfuncs.why_no_conntrack_lookup() == "the module nf_conntrack is not loaded"
        assert "no-conntrack-lookup" not in ids(pair)  # nothing here needs it
        with loaded(pair):
            pair.send_frames(flood(pair, 4))
            assert verdicts(pair)[DROPPED] == 2
        assert not is_loaded()


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_a_rule_on_state_brings_the_module_and_its_functions(variant: str) -> None:
    unload("nf_conntrack")
    with firewall(SERVER, variant) as pair:
        assert kfuncs.why_no_conntrack_lookup() == ""
        assert kfuncs._find().module == "nf_conntrack"
        with serve(pair, pair.server, pair.server.addr4, 8080), program(pair):
            with connected(pair, pair.client, pair.server.addr4, 8080) as c:
                assert all(echoes(c) for _ in range(3))
            before = verdicts(pair)[DROPPED]
            pair.send_frames(flood(pair, 8))
            assert verdicts(pair)[DROPPED] == before + 8
            # The program holds the module, whatever becomes of the rules.
            pair.run(pair.server, [f"iptables-{variant}", "-F"])
            assert subprocess.run(["rmmod", "nf_conntrack"], capture_output=True, check=False).returncode


def test_a_module_that_came_back_is_found_anew() -> None:
    with firewall(SERVER):
        first = kfuncs._find()
    unload("nf_conntrack")
    assert kfuncs._find() is None
    with firewall(SERVER) as pair:
        assert kfuncs._find().module_id != first.module_id
        with program(pair):
            pass


def test_btf_is_found_without_its_files() -> None:
    """In a container /sys may show nothing of it: the kernel is asked by bpf(2)."""
    ask = "from xdptables.kernel.kfuncs import why_no_conntrack_lookup as w; print(repr(w()))"
    hide = 'mount -t tmpfs none /sys/kernel/btf && exec "$@"'
    with firewall(SERVER):
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", hide, "sh", sys.executable, "-c", ask],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.stdout == "''\n", done.stderr


def unsigned(image: bytes) -> bytes:
    """No signature is better than a wrong one (module_sig_check, struct module_signature)."""
    mark = b"~Module signature appended~\n"
    if not image.endswith(mark):
        return image
    size = int.from_bytes(image.removesuffix(mark)[-4:])
    return image[: -(len(mark) + 12 + size)]


def test_without_module_btf_state_stays_in_netfilter(tmp_path: Path) -> None:
    """As with CONFIG_DEBUG_INFO_BTF_MODULES=n: the section has another name, so the kernel sees none."""
    unload("nf_conntrack")
    (file,) = Path("/lib/modules", platform.release()).rglob("nf_conntrack.ko*")
    image = lzma.decompress(file.read_bytes()) if file.suffix == ".xz" else file.read_bytes()
    assert image.count(b"\0.BTF\0") == 1
    subprocess.run(["modprobe", "-a", "nf_defrag_ipv4", "nf_defrag_ipv6", "libcrc32c"], check=False)
    (tmp_path / "nf_conntrack.ko").write_bytes(unsigned(image).replace(b"\0.BTF\0", b"\0.XTF\0"))
    done = subprocess.run(
        ["insmod", tmp_path / "nf_conntrack.ko"], capture_output=True, text=True, check=False
    )
    if kernel_version() < (6, 4):
        assert done.returncode  # that kernel refuses the module, so nothing is tracked either
        return
    assert not done.returncode, done.stderr
    try:
        with firewall(SERVER) as pair:
            assert btf.find_functions(frozenset(kfuncs.CALLS.values()), "nf_conntrack") is None
            assert "no-conntrack-lookup" in ids(pair)
            with loaded(pair):
                pair.send_frames(flood(pair, 8))
                assert verdicts(pair)[DROPPED] == 0
    finally:
        unload("nf_conntrack")


def test_where_no_module_can_be_loaded() -> None:
    """iptables-legacy is there, nf_tables is not and cannot come."""
    with NetnsPair() as pair:
        pair.run(pair.server, ["iptables-legacy-restore"], input=STATELESS)
        for module in ("nf_conntrack", "nf_tables"):
            unload(module)
        helper = Path("/proc/sys/kernel/modprobe")
        before = helper.read_text()
        helper.write_text("/bin/false\n")
        try:
            with loaded(pair):
                pair.send_frames(flood(pair, 4))
                assert verdicts(pair)[DROPPED] == 2
            assert not Path("/sys/module/nf_tables").exists()
        finally:
            helper.write_text(before)
