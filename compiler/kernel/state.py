"""What is loaded, remembered outside the process: one JSON file a device, in /run, gone with the boot.

The rules of a program's counters are in a file of their own, since there may be 100,000, and the record is
read at each look of a watcher.

Only what is attached counts. A file can be older than the truth (a process was killed, a device deleted);
`settle.py` compares and mends, and is the only one to do so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..host.facts import HostFacts
from ..source import UserError

DIRECTORY = Path("/run/xdptables")
LOCK_SECONDS = 30.0
ATTACHING, ATTACHED = "attaching", "attached"


@dataclass(frozen=True, slots=True)
class Key:
    """Where a program sits. Interface numbers are unique in a network namespace only."""

    netns_inode: int
    ifindex: int

    def __str__(self) -> str:
        return f"{self.netns_inode}-{self.ifindex}"

    @staticmethod
    def parse(text: str) -> Key | None:
        inode, _, ifindex = text.partition("-")
        return Key(int(inode), int(ifindex)) if inode.isdecimal() and ifindex.isdecimal() else None


@dataclass(frozen=True, slots=True)
class LoadedState:
    """`load_time` is the kernel's, and tells the program from a later one with the same id.

    `netns`: name or path as the user gave it, "" for the namespace of the caller. `since`: ISO time.
    `report` is JSON of the caller's, kept as it is. `previous`: while this one is "attaching", the
    program that it replaces.
    """

    ifname: str
    ifindex: int
    netns: str
    netns_inode: int
    mode: str
    prog_id: int
    load_time: int
    since: str
    source: str
    host: HostFacts
    disregarded: tuple[str, ...] = ()
    report: Any = None
    phase: str = ATTACHING
    frags: bool = True
    native_refused: str = ""
    gro_before: bool | None = None
    gro_after: bool | None = None
    previous: LoadedState | None = None

    @property
    def key(self) -> Key:
        return Key(self.netns_inode, self.ifindex)

    def to_data(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        data["host"] = json.loads(self.host.to_json())
        data["previous"] = self.previous.to_data() if self.previous else None
        return data

    @staticmethod
    def from_data(data: dict[str, Any]) -> LoadedState:
        """Raises ValueError, TypeError or KeyError when it is not such a state."""
        known = {f.name for f in dataclasses.fields(LoadedState)}
        values = {name: value for name, value in data.items() if name in known}
        values["host"] = HostFacts.from_json(json.dumps(data["host"]))
        values["disregarded"] = tuple(data.get("disregarded", ()))
        previous = data.get("previous")
        values["previous"] = LoadedState.from_data(previous) if previous else None
        return LoadedState(**values)


def file_of(key: Key) -> Path:
    return DIRECTORY / f"{key}.json"


def recorded_keys() -> list[Key]:
    """Also of records that are lost, but for the rules."""
    paths = (*DIRECTORY.glob("*.json"), *DIRECTORY.glob("*.rules"))
    found = {Key.parse(path.name.partition(".")[0]) for path in paths}
    return sorted((key for key in found if key), key=str)


def read(key: Key) -> LoadedState | None:
    """None when there is none, or none that can be read."""
    try:
        data = json.loads(file_of(key).read_text())
        return LoadedState.from_data(data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write(state: LoadedState) -> None:
    _replace(file_of(state.key), json.dumps(state.to_data(), indent=1))


def _replace(path: Path, text: str) -> None:
    """All of it or nothing, whatever happens meanwhile."""
    _make_directory()
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=DIRECTORY)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    directory = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove(key: Key) -> None:
    with contextlib.suppress(FileNotFoundError):
        file_of(key).unlink()
    remove_rules_but(key, set())


def write_rules(state: LoadedState, rules: Sequence[Any]) -> None:
    """JSON of the caller's for each counter, by slot. Before the state that speaks of it."""
    _replace(_rules_file(state.key, state.prog_id), json.dumps(rules))


def read_rules(state: LoadedState) -> tuple[Any, ...]:
    """Empty where they are lost."""
    try:
        rules = json.loads(_rules_file(state.key, state.prog_id).read_text())
    except (OSError, ValueError):
        return ()
    return tuple(rules) if isinstance(rules, list) else ()


def remove_rules_but(key: Key, keep: set[int]) -> None:
    """Of all programs that this device had but those of these ids."""
    kept = {_rules_file(key, prog_id) for prog_id in keep}
    for path in DIRECTORY.glob(f"{key}.*.rules"):
        if path not in kept:
            path.unlink(missing_ok=True)


def _rules_file(key: Key, prog_id: int) -> Path:
    return DIRECTORY / f"{key}.{prog_id}.rules"


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """One load, unload or repair at a time. The kernel lets go of it when the process dies."""
    _make_directory()
    fd = os.open(DIRECTORY / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(fd)
        _remove_leftovers()
        yield
    finally:
        os.close(fd)


def _acquire(fd: int) -> None:
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise UserError(
                    f"another xdptables has been loading or unloading for {LOCK_SECONDS:.0f} s",
                    f"see who holds it: fuser {DIRECTORY / 'lock'}",
                ) from None
            time.sleep(0.02)


def _remove_leftovers() -> None:
    """Files of writers that were killed, as writing happens only under the lock; of watchers that ended."""
    with contextlib.suppress(OSError):
        for path in DIRECTORY.glob(".*-*.*"):
            path.unlink()
        for path in DIRECTORY.glob("*.watch"):
            if not path.with_suffix(".json").exists() and not _is_locked(path):
                path.unlink()


def watch_file(key: Key) -> Path:
    """Whoever watches the program holds a lock on it."""
    return DIRECTORY / f"{key}.watch"


def _is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _make_directory() -> None:
    try:
        DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot make {DIRECTORY}: {e.strerror}", "run this as root") from e
