"""Debian's kernels: fetched as packages and unpacked, never installed.

A suite of Debian is asked by apt with a state of its own, so the machine's sources stay as they are and
need not name that suite.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

MIRROR = os.environ.get("XDPTABLES_DEBIAN_MIRROR", "http://deb.debian.org/debian")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xdptables" / "kernels"
# The plain flavour: that for clouds has no 9p, by which the guest sees the machine's files.
META_PACKAGE = "linux-image-amd64"


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package. `release` as uname says it; modules lie in `modules`/`release`."""

    suite: str
    release: str
    image: Path
    modules: Path


def kernel(suite: str, *, refresh: bool = False) -> Kernel:
    """From the cache, or fetched into it (100 MB to load). Raises CalledProcessError."""
    folder = CACHE / suite
    if refresh:
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = Path(scratch) / "kernel"
            _unpack(_download(suite, Path(scratch)), made)
            made.rename(folder)
    (image,) = (folder / "boot").glob("vmlinuz-*")
    return Kernel(suite, image.name.removeprefix("vmlinuz-"), image, _modules(folder))


def _download(suite: str, scratch: Path) -> Path:
    apt = _apt(suite, scratch)
    subprocess.run(["apt-get", "-qq", "update"], env=apt, check=True)
    asked = ["apt-cache", "depends", "--important", META_PACKAGE]
    answer = subprocess.run(asked, env=apt, check=True, capture_output=True, text=True).stdout
    package = next(line.split()[1] for line in answer.splitlines() if line.split()[0] == "Depends:")
    subprocess.run(["apt-get", "-qq", "download", package], env=apt, cwd=scratch, check=True)
    (file,) = scratch.glob("linux-image-*.deb")
    return file


def _apt(suite: str, scratch: Path) -> dict[str, str]:
    """The environment in which apt knows that suite alone."""
    for name in ("lists", "cache"):
        (scratch / name).mkdir()
    (scratch / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "/nonexistent",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
    }
    config = scratch / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in options.items()))
    return {**os.environ, "APT_CONFIG": str(config)}


def _unpack(package: Path, folder: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    shutil.rmtree(folder / "usr/share", ignore_errors=True)
    (release,) = (path.name for path in _modules(folder).iterdir())
    if not (folder / "lib").exists():  # where depmod looks; since trixie packages hold usr/lib alone
        (folder / "lib").symlink_to("usr/lib")
    subprocess.run(["/sbin/depmod", "-b", folder, release], check=True)


def _modules(folder: Path) -> Path:
    found = [path for path in (folder / "usr/lib/modules", folder / "lib/modules") if path.is_dir()]
    return found[0]
