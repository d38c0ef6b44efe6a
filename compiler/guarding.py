"""A watcher that is killed takes its program with it: rules that nobody follows drop what they should not."""

from __future__ import annotations

import os
import signal
import sys

from .kernel import attach, state
from .kernel.netns import in_netns, inode
from .watcher_process import watcher_pid
from .watching import Say, off, watch


def watch_guarded(ifname: str, netns: str, interval: float, say: Say) -> None:
    """`watch` in a child. A guardian that is killed leaves a watcher that goes on."""
    with in_netns(netns):
        key = state.Key(inode(), attach.ifindex_of(ifname))
    child = os.fork()
    if not child:
        watch(ifname, netns, interval, say)
        return
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the child decides
    _, how = os.waitpid(child, 0)
    if not os.WIFSIGNALED(how):
        sys.exit(os.waitstatus_to_exitcode(how))
    with in_netns(netns):
        known = state.read(key)
        if known is not None and watcher_pid(key) is None:
            off(known, say, f"its watcher was killed ({signal.Signals(os.WTERMSIG(how)).name})")
