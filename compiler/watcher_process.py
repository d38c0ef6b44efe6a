"""The process that watches a program: there is one, a lock says which, and it outlives who started it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import syslog
import time
from collections.abc import Iterator

from .kernel import state
from .source import UserError

_START_SECONDS = 30.0  # a watcher needs less than one; a machine under attack is slow


@contextlib.contextmanager
def only_one(key: state.Key) -> Iterator[None]:
    """Held as a lock on a file, which the kernel lets go of when the process ends."""
    fd = os.open(state.watch_file(key), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("this program is watched already", "see xdptables status") from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(fd)


def watcher_pid(key: state.Key) -> int | None:
    """Who watches the program now; None: nobody."""
    try:
        fd = os.open(state.watch_file(key), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)
    return None


def start_in_background(key: state.Key, ifname: str, netns: str) -> bool:
    """A watcher that outlives this process and tells syslog what it does. False: it did not get going."""
    command = [sys.executable, "-m", "xdptables", "watch", ifname, "--syslog"]
    process = subprocess.Popen(  # its end is nobody's business here
        command + (["--netns", netns] if netns else []),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    until = time.monotonic() + _START_SECONDS
    while watcher_pid(key) is None:
        if process.poll() is not None or time.monotonic() > until:
            # It may have ended because another one was quicker.
            return watcher_pid(key) is not None
        time.sleep(0.02)
    return True


def to_syslog(text: str) -> None:
    syslog.openlog("xdptables", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_WARNING, text)
