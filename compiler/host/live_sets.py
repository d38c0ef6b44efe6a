"""The ipsets that the live rules name, as `ipset save` prints them. The kernel tells of no change in them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable

from ..source import Source, UserError
from . import live_rules
from .ipsets import IpSet, read_ipsets

_NAMED = re.compile(r"--match-set (\S+) ")
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_ONE_BY_ONE = 16  # sets more than this are read all at once, others of the namespace with them

# What changes without the answers of the set changing.
_LAYOUT = re.compile(r" (?:hashsize \d+|bucketsize \d+|initval \S+)")
_COMMENT = re.compile(r' comment "[^"\n]*"')  # ipset refuses quotes in one; what it says is no option
_COUNTERS = re.compile(r" packets \d+ bytes \d+")
_EXPIRING = re.compile(r"^add .* timeout [1-9](?!.* nomatch).*\n", re.MULTILINE)
_TIMEOUT = re.compile(r" timeout [1-9]\d*")


def set_names(rules: Iterable[str]) -> frozenset[str]:
    """The sets that iptables-save texts match on."""
    return frozenset(name for text in rules for name in _NAMED.findall(text))


def live_sets(names: Iterable[str]) -> tuple[IpSet, ...] | None:
    """With the sets that a list names. None where they can't be read: then what they match is not known."""
    text = _save(names)
    return None if text is None else read_ipsets(Source("ipset save", text))


def digest(names: Iterable[str]) -> bytes:
    """Of what the sets match. Entries that expire do not count, as no program rests on them, except those
    that take addresses out."""
    text = _save(names) or ""
    text = _LAYOUT.sub("", text)
    if ' comment "' in text:
        text = _COMMENT.sub("", text)
    if " timeout " in text:
        text = _TIMEOUT.sub(" timeout 1", _EXPIRING.sub("", text))
    if " packets " in text:
        text = _COUNTERS.sub("", text)
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()


def in_force(dumps: Iterable[live_rules.LiveDump]) -> str:
    """The digest of the rules, and of the sets that they name: what a watcher compares."""
    dumps = tuple(dumps)
    rules, names = live_rules.digest(dumps), set_names(d.text for d in dumps)
    return hashlib.sha256(rules.encode() + digest(names)).hexdigest() if names else rules


def _save(names: Iterable[str]) -> str | None:
    names = sorted(names)
    if not names:
        return ""
    tool = shutil.which("ipset", path=f"{os.environ.get('PATH', '')}:{_SBIN}")
    if tool is None:
        return None
    if len(names) > _ONE_BY_ONE:
        return _run([tool, "save"])
    texts: dict[str, str] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in texts:
            texts[name] = _run([tool, "save", name])
            if texts[name].startswith(f"create {name} list:set "):
                todo += re.findall(r"^add \S+ (\S+)", texts[name], re.MULTILINE)
    return "".join(texts[name] for name in sorted(texts))


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise UserError(f"ipset cannot be run: {e}") from e
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise UserError(f"{' '.join(command)} failed: {said or f'exit status {done.returncode}'}")
    return done.stdout.decode(errors="surrogateescape")
