"""The iptables rules that are in force in the current network namespace, of every back end."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from ..fields import Family
from ..rules.model import Variant
from ..source import UserError
from . import nft_made, nft_objects
from .generation import KeptByGeneration

_LEGACY_TABLES = {
    Family.IPV4: Path("/proc/thread-self/net/ip_tables_names"),
    Family.IPV6: Path("/proc/thread-self/net/ip6_tables_names"),
}
_WORD = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
_NFT_FAMILY = {Family.IPV4: "ip", Family.IPV6: "ip6"}
_OUR_TABLES = frozenset(["raw", "mangle", "nat", "filter", "security"])
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class LiveDump:
    """What one `iptables-save` printed, less the tables of `foreign`: (name, why). Those hold what nft
    wrote, which iptables-nft-save leaves out or misreads; they count as native ones."""

    variant: Variant
    family: Family
    text: str
    foreign: tuple[tuple[str, str], ...] = ()

    @cached_property
    def tables(self) -> frozenset[str]:
        return frozenset(re.findall(r"^\*(\S+)", self.text, re.MULTILINE))

    @cached_property
    def of_consequence(self) -> bool:
        return of_consequence(self.text)

    @cached_property
    def digest(self) -> str:
        """Of the rules, counters and comments aside."""
        lines = (line for line in self.text.splitlines() if not line.startswith("#"))
        plain = (line.partition(" [")[0] if line.startswith(":") else line.strip() for line in lines)
        return hashlib.sha256("\n".join(plain).encode(errors="surrogateescape")).hexdigest()


def live_rules() -> tuple[LiveDump, ...]:
    """Every dump that holds a rule, a user chain or a policy other than ACCEPT. Raises UserError."""
    return tuple(d for d in all_dumps() if d.of_consequence)


def all_dumps(kept: KeptByGeneration | None = None) -> tuple[LiveDump, ...]:
    """Also the empty ones. A back end that the kernel has no tables of is not asked, since asking
    iptables-legacy alone would load its tables and register their hooks. `kept`: of the reader's looks
    before, at which nf_tables had the rules that it has now."""
    kept = kept or KeptByGeneration()
    dumps: list[LiveDump] = []
    for family in Family:
        if legacy_tables(family):
            dumps.append(_dump(Variant.LEGACY, family))
        dumps += kept.get(f"dump {family}", partial(_nft_dumps, family))
    return tuple(dumps)


def _nft_dumps(family: Family) -> tuple[LiveDump, ...]:
    if not _OUR_TABLES & set(nft_objects.table_names(_NFT_FAMILY[family])):
        return ()
    tool = find_tool(Variant.NFT, family)
    return (_without_foreign(family, _run(tool)),) if tool else ()  # without it they are as native as any


def of_consequence(text: str) -> bool:
    return re.search(r"^(\[\d+:\d+\] )?-A |^:\S+ (DROP|-)", text, re.MULTILINE) is not None


def digest(dumps: Iterable[LiveDump]) -> str:
    """Of the rules in force: what a watcher compares."""
    parts = (f"{d.variant} {d.family} {d.digest}\n" for d in dumps if d.of_consequence)
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _without_foreign(family: Family, text: str) -> LiveDump:
    foreign = dict.fromkeys(
        re.findall(r"^# Table `(\S+)' (?:is incompatible|contains )", text, re.MULTILINE),
        "iptables-nft cannot show all of it",
    )
    foreign |= nft_made.foreign_rules(_NFT_FAMILY[family])
    asleep = [t.name for t in nft_objects.tables() if t.family == _NFT_FAMILY[family] and t.dormant]
    foreign |= dict.fromkeys(asleep, "it is dormant: its rules are not in force")
    for name in foreign:
        text = re.sub(rf"^\*{re.escape(name)}\n.*?^COMMIT\n", "", text, flags=re.MULTILINE | re.DOTALL)
    ours = {name: why for name, why in foreign.items() if name in _OUR_TABLES}
    return LiveDump(Variant.NFT, family, text, tuple(sorted(ours.items())))


def legacy_tables(family: Family) -> tuple[str, ...]:
    try:
        return tuple(_LEGACY_TABLES[family].read_text().split())
    except FileNotFoundError:  # the module is not loaded
        return ()
    except PermissionError as e:
        raise UserError("the live rules can only be read as root", "run this with sudo") from e


def find_tool(variant: Variant, family: Family) -> str | None:
    """iptables-nft-save, or an iptables-save whose version says that it is that variant."""
    path = shutil.which(f"{_WORD[family]}-{variant}-save", path=_path())
    if path:
        return path
    path = shutil.which(f"{_WORD[family]}-save", path=_path())
    if path:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
        # Before 1.8 there was only one variant, which says nothing.
        if (Variant.NFT if "(nf_tables)" in done.stdout else Variant.LEGACY) is variant:
            return path
    return None


def _dump(variant: Variant, family: Family) -> LiveDump:
    tool, word = find_tool(variant, family), f"{_WORD[family]}-{variant}"
    if tool is None:
        raise UserError(
            f"the kernel holds tables of {word}, and {word}-save is missing",
            "install iptables, or unload the tables",
        )
    return LiveDump(variant, family, _run(tool))


def _run(tool: str) -> str:
    name = Path(tool).name
    try:
        done = subprocess.run([tool], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise UserError(f"{name} cannot be run: {e}") from e
    said = [line for line in done.stderr.splitlines() if line and not line.startswith("#")]
    # Some rules that it cannot print are left out with an error and exit status 0.
    if done.returncode or any("rror" in line for line in said):
        raise UserError(f"{name} failed: {' '.join(said) or f'exit status {done.returncode}'}")
    return done.stdout


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:{_SBIN}"
