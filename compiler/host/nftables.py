"""Native nftables tables: what those that iptables-nft does not own may do to a packet first.

Sound by a list of what is harmless: any statement that this code does not know counts against a table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import nft_objects
from .facts import NativeTable
from .generation import KeptByGeneration

Json = dict[str, Any]

_VERDICTS = frozenset(["accept", "drop", "continue", "return", "jump", "goto"])
_HARMLESS = _VERDICTS | {"counter", "comment", "last"}
_CONNTRACK = frozenset(
    ("ct", "ct helper", "ct timeout", "ct expectation", "ct count", "flow", "notrack", "synproxy")
)
_NAT = frozenset(["snat", "dnat", "masquerade", "redirect"])
# An expression that keeps a count of its own, so that testing a packet changes the next answer.
_STATEFUL_EXPRESSIONS = {"numgen"}
_RAW, _LAST_INPUT = -300, 50  # iptables' first PREROUTING and last INPUT chain
_OUTBOUND = ("output", "forward", "postrouting")


@dataclass
class _Table:
    chains: dict[str, Json] = field(default_factory=dict)
    rules: dict[str, list[Json]] = field(default_factory=dict)
    sets: dict[str, Json] = field(default_factory=dict)
    objects: list[tuple[str, Json]] = field(default_factory=list)


def native_tables(
    ifnames: Collection[str],
    owned: Collection[tuple[str, str]],
    listed: KeptByGeneration | None = None,
) -> tuple[tuple[NativeTable, ...], tuple[str, ...]]:
    """The tables besides `owned` (family, name), and what could not be seen. Raises OSError.

    `ifnames`: the devices whose ingress hooks count."""
    ids = [t for t in nft_objects.tables() if (t.family, t.name) not in owned and not t.dormant]
    if not ids:
        return (), ()
    devices = [h for h in nft_objects.device_hooks() if any(map(h.serves, ifnames)) and not h.egress]
    try:
        parsed = (listed or KeptByGeneration()).get("native", lambda: _collect(_list_ruleset()))
    except _CannotList as e:
        return tuple(_opaque(t, devices, str(e)) for t in ids if t.family != "arp"), ()
    found = []
    for t in ids:
        table = parsed.get((t.family, t.name), _Table())
        here = [h for h in devices if (h.family, h.table) == (t.family, t.name)]
        made = classify(t.family, t.name, table, here)
        if made.hooks:  # without a hook nothing of it runs here
            found.append(made)
    return tuple(found), ()


class _CannotList(Exception):
    pass


def _list_ruleset() -> Json:
    tool = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    if tool is None:
        raise _CannotList("nft is not installed, so its rules cannot be read")
    try:
        done = subprocess.run([tool, "-j", "list", "ruleset"], capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise _CannotList(f"nft failed: {done.stderr.decode(errors='replace').strip()}")
        data = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError) as e:
        raise _CannotList(f"nft cannot be asked: {e}") from e
    assert isinstance(data, dict)
    return data


def _opaque(t: nft_objects.TableId, devices: list[nft_objects.DeviceHook], why: str) -> NativeTable:
    hooks = ["prerouting", "input", "forward", "output", "postrouting"]
    if any((h.family, h.table) == (t.family, t.name) for h in devices):
        hooks.insert(0, "ingress")
    return NativeTable(
        *(t.family, t.name, tuple(hooks), False, why),
        uses_conntrack=True,
        has_nat=True,
        reads_state_outbound=True,
        reads_state_prerouting=True,
    )


def _collect(everything: Json) -> dict[tuple[str, str], _Table]:
    found: dict[tuple[str, str], _Table] = {}
    for entry in everything.get("nftables", ()):
        for kind, body in entry.items():
            if kind in ("metainfo", "table"):
                continue
            table = found.setdefault((body.get("family", ""), body.get("table", "")), _Table())
            if kind == "chain":
                table.chains[body["name"]] = body
            elif kind == "rule":
                table.rules.setdefault(body["chain"], []).append(body)
            elif kind in ("set", "map"):
                table.sets[body["name"]] = body
            else:
                table.objects.append((kind, body))
    return found


def classify(family: str, name: str, table: _Table, devices: list[nft_objects.DeviceHook]) -> NativeTable:
    on_device = {h.name for h in devices if not h.flowtable}
    bases = [
        c for c in table.chains.values() if "hook" in c and (c["hook"] != "ingress" or c["name"] in on_device)
    ]
    bases = [c for c in bases if c["hook"] != "egress"]
    hooks = dict.fromkeys(c["hook"] for c in bases)
    why: dict[str, str] = {}  # by reach
    if on_device:
        why["ingress"] = f"chain {', '.join(sorted(on_device))} is at ingress"
    if any(h.flowtable for h in devices):
        hooks["ingress"] = None
        why["ingress"] = "a flowtable forwards packets before any rule"
    nat = conntrack = outbound = prerouting = False
    for base in bases:
        statements = list(_reached(table, base["name"]))
        reads = any(_uses_conntrack(s) for s in statements)
        nats = base.get("type") == "nat" or any(_NAT & s.keys() for s in statements)
        nat, conntrack = nat or nats, conntrack or reads or nats
        outbound = outbound or (reads and base["hook"] in _OUTBOUND)
        prerouting = prerouting or (reads and base["hook"] == "prerouting")
        bad = next(filter(None, (_why_not(table, s) for s in statements)), "")
        reach = _reach(family, base) if bad else ""
        if reach:
            why.setdefault(reach, f"chain {base['name']}: {bad}")
    first = next((r for r in ("ingress", "all", "conntrack", "input") if r in why), "")
    return NativeTable(
        *(family, name, tuple(hooks), not why, why.get(first, "")),
        uses_conntrack=conntrack,
        has_nat=nat,
        reads_state_outbound=outbound,
        reads_state_prerouting=prerouting,
        reach=first,
        helpers=_helpers(table),
    )


def _reach(family: str, base: Json) -> str:
    """Which of iptables' drops come after this chain: all, those after conntrack, those in INPUT, none.
    What a bridge hands up has crossed its prerouting and its input before any of them."""
    if family == "bridge":
        return "all" if base["hook"] in ("prerouting", "input") else ""
    priority = base.get("prio", _RAW)
    if not isinstance(priority, int):
        priority = _RAW
    if base["hook"] == "prerouting":
        return "conntrack" if priority > _RAW else "all"
    if base["hook"] == "input":
        return "input" if priority <= _LAST_INPUT else ""
    return ""


def _reached(table: _Table, start: str) -> Iterator[Json]:
    todo, seen = [start], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for rule in table.rules.get(name, ()):
            for statement in rule.get("expr", ()):
                yield statement
                todo += _targets(table, statement)


def _targets(table: _Table, statement: Json) -> list[str]:
    found = []
    for key, value in _pairs(statement):
        if key in ("jump", "goto") and isinstance(value, dict):
            found.append(value["target"])
    for name in _set_names(statement):
        for key, value in _pairs(table.sets.get(name, {})):
            if key in ("jump", "goto") and isinstance(value, dict):
                found.append(value["target"])
    return found


def _why_not(table: _Table, statement: Json) -> str:
    """Why a statement may do more than match, count and give a verdict."""
    if not isinstance(statement, dict):
        return f"statement {statement!r} is not known"
    for key, value in statement.items():
        if key in _HARMLESS:
            continue
        if key == "xt":
            return f"xtables extension {value.get('name', '') if isinstance(value, dict) else ''}".rstrip()
        if key == "mangle":
            return "it changes the packet or its mark"
        if key not in ("match", "vmap"):
            return f"statement {key}"
        for inner, _ in _pairs(value):
            if inner in _STATEFUL_EXPRESSIONS:
                return f"expression {inner} remembers"
    for name in _set_names(statement):
        held = sorted(_held(table.sets.get(name, {})) - _HARMLESS)
        if held:
            return f"set {name} holds {', '.join(held)}"
    return ""


def _held(declared: Json) -> set[str]:
    """Statements that each element of a set keeps, and which a look-up runs."""
    held = {key for statement in declared.get("stmt", ()) for key in statement}
    for element in declared.get("elem", ()):
        if isinstance(element, dict) and isinstance(element.get("elem"), dict):
            held |= element["elem"].keys() - {"val", "timeout", "expires", "comment"}
    return held


def _uses_conntrack(statement: Json) -> bool:
    if "xt" in statement:
        return True  # a compatibility expression of any kind
    return any(key in _CONNTRACK or key in _NAT for key, _ in _pairs(statement))


def _helpers(table: _Table) -> tuple[str, ...]:
    objects = [f"ct helper {b.get('type', b.get('name'))}" for k, b in table.objects if k == "ct helper"]
    return tuple(objects + ["ct expectation" for k, _ in table.objects if k == "ct expectation"])


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)


def _set_names(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("@"):
        yield value[1:]
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _set_names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _set_names(inner)
