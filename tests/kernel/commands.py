"""The command in a process of its own, and the wait for what it sets going."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from test_kernel_load import attached, do_unload

from netns import NetnsPair
from pace import within
from xdptables.cli.main import main

RULES = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 198.51.100.0/24 -j DROP\nCOMMIT\n"
_SECONDS = 20


def words(pair: NetnsPair, command: str, *more: str) -> list[str]:
    return [command, pair.server.ifname, "--netns", pair.server.ns, *more]


@dataclass(frozen=True)
class Done:
    returncode: int
    said: str


class Command:
    """`xdptables WORDS` in a forked child, since importing takes longer than the command. `before` runs
    there first."""

    def __init__(self, argv: list[str], before: Callable[[], object] = lambda: None) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed in done()
        self._child = os.fork()
        if self._child:
            return
        try:
            os.dup2(self._output.fileno(), 1)
            os.dup2(self._output.fileno(), 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            before()
            _run_main(argv)
        finally:
            os._exit(98)

    def done(self) -> Done:
        _, how = os.waitpid(self._child, 0)
        with self._output as file:
            file.seek(0)
            said = file.read().decode()
        assert "Traceback" not in said
        return Done(os.waitstatus_to_exitcode(how), said)


def xdptables(pair: NetnsPair, command: str, *more: str, mounts: str = "") -> Done:
    """`mounts`: shell commands before it, in a mount namespace of its own."""
    return Command(words(pair, command, *more), lambda: mounts and _private_mounts(mounts)).done()


def _private_mounts(commands: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x20000) == 0  # CLONE_NEWNS
    assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
    subprocess.run(["sh", "-ec", commands], check=True)


def _run_main(argv: list[str]) -> None:
    sys.argv[1:] = argv
    code = 0
    try:
        main()
    except SystemExit as e:
        code = int(e.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 97
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


eventually = functools.partial(within, _SECONDS)


@contextlib.contextmanager
def with_rules(pair: NetnsPair) -> Iterator[NetnsPair]:
    """With rules in force, and nothing of ours on its device at the end."""
    pair.run(pair.server, ["iptables-nft-restore"], input=RULES)
    yield pair
    if attached(pair):
        do_unload(pair)
