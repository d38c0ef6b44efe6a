"""Where the verifier gives up on a program, one that does less is loaded."""

from __future__ import annotations

import dataclasses

import pytest

from cli.command import fine
from netns import NetnsPair
from xdptables import loading
from xdptables.emit.engine import EngineRequest
from xdptables.kernel import syscall
from xdptables.kernel.compile import compile_program
from xdptables.kernel.errors import TooComplex
from xdptables.kernel.load import unload_program

pytestmark = pytest.mark.kernel

_R0_0, _EXIT = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0]), bytes([0x95, 0, 0, 0, 0, 0, 0, 0])


def test_the_kernel_tells_what_is_too_complex() -> None:
    # A loop of a million turns, each of which differs by the counter.
    r1_0, add, below = (
        bytes([0xB7, 1, 0, 0, 0, 0, 0, 0]),
        bytes([0x07, 1, 0, 0, 1, 0, 0, 0]),
        bytes([0xA5, 1]),
    )
    loop = below + (-2).to_bytes(2, "little", signed=True) + (1_000_000).to_bytes(4, "little")
    with pytest.raises(TooComplex):
        syscall.prog_load(r1_0 + add + loop + _R0_0 + _EXIT, "GPL")


@pytest.mark.parametrize("engine", ["linear", "tables"])
def test_a_smaller_program_is_made(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    lines = "".join(
        f"-A INPUT -s 198.51.100.{2 * n}/32 -p tcp -m tcp --dport {n} -j DROP\n" for n in range(40)
    )
    with NetnsPair() as pair:
        server = pair.server
        pair.run(server, ["iptables-nft-restore"], input=f"*filter\n:INPUT ACCEPT [0:0]\n{lines}COMMIT\n")
        tried: list[int] = []
        real = loading.load

        def load(prepared: loading.Prepared, *more: object) -> object:
            tried.append(prepared.request.engine.halvings)
            if len(tried) < 3:
                raise TooComplex("the kernel refuses the program")
            return real(prepared)

        observed: list[str] = []

        def observe(*what: object, **more: object) -> object:
            observed.append("the host")
            return looked(*what, **more)

        looked = loading.observe
        monkeypatch.setattr(loading, "observe", observe)
        monkeypatch.setattr(loading, "load", load)
        request = loading.Request(server.ifname, netns=server.ns, engine=EngineRequest(engine))
        try:
            prepared, state = loading.load_what_fits(request)
            assert len(observed) == 1  # only the program is made again
            assert tried == [0, 1, 2] and prepared.request.engine.halvings == 2
            assert "made smaller 2 times" in " ".join(prepared.compiled.report.limits)
            assert state.report["limits"] == list(prepared.compiled.report.limits)
            shown = fine("status", server.ifname, "--netns", server.ns).stdout
            assert "limit: made smaller 2 times for the verifier: more packets pass\n" in shown
            assert state.report["request"]["engine"]["halvings"] == 0  # the next rules may fit
        finally:
            unload_program(server.ifname, netns=server.ns)
        with pytest.raises(TooComplex):
            monkeypatch.setattr(loading, "load", lambda *more: (_ for _ in ()).throw(TooComplex("no")))
            loading.load_what_fits(dataclasses.replace(request))


def test_a_text_that_ends_the_compiler_is_an_error() -> None:
    """More stack than BPF has: LLVM calls exit()."""
    text = """
int xdptables(struct xdp_md *ctx)
{
    volatile u64 far[200];
    for (u32 i = 0; i < 200; i++)
        far[i] = ctx->data;
    return far[ctx->data_end & 127];
}
"""
    with pytest.raises(TooComplex, match="the compiler gives up"):
        compile_program(text)
