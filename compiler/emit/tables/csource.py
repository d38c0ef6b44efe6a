"""Tables to what templates/tables.c.j2 and search.c.j2 show: names, offsets and bounds; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...fields import FIELDS, Family
from .model import (
    DE_BRUIJN,
    FIRST_BIT,
    HASH_HIGH,
    HASH_LOW,
    HASH_SEEDED,
    LEAF,
    LOW_HALF,
    NODE,
    SKIP,
    SPLIT,
    FamilyTables,
    FieldTable,
    Search,
    Tables,
)  # fmt: skip


def template_values(tables: Tables) -> dict[str, Any]:
    return {
        "last_word": f"{tables.words.size - 1:#x}ULL",
        "first_bit": FIRST_BIT,
        "de_bruijn": f"{DE_BRUIJN:#x}ULL",
        "node": NODE,
        "leaf": LEAF,
        "skip": SKIP,
        "low_half": f"{LOW_HALF:#x}ULL",
        "hash": [f"{factor:#x}ULL" for factor in (HASH_HIGH, HASH_LOW, HASH_SEEDED)],
        "points": any(f.search and f.search.points for f in _fields(tables)),
        "rows": max((len(f.dimensions) for f in tables.families), default=1),
        "slots": max((len(_slots(f)) for f in tables.families), default=0),
        "families": {f.family.value: _family(f, tables) for f in tables.families},
        "sections": [f"{_size(s.words * 8):>9}  {s.role}" for s in tables.sections],
        "size": _size(tables.size),
        "bytes": tables.size,
    }


def _size(count: int) -> str:
    return f"{count / 1024:.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def _fields(tables: Tables) -> Iterator[FieldTable]:
    return (f for family in tables.families for d in family.dimensions for f in d.fields)


def _slots(family: FamilyTables) -> list[FieldTable]:
    return [f for d in family.dimensions for f in d.fields if f.slots]


def _family(family: FamilyTables, tables: Tables) -> dict[str, Any]:
    slots = [
        {"name": f.name, "slot": i, "number": family.fields.index(f.name)}
        for i, f in enumerate(_slots(family))
    ]
    slot_of = {s["name"]: s["slot"] for s in slots}
    own = [
        {"name": family.fields[n], "number": n, "wide": _wide(family.fields[n], family.family)}
        for n in family.split_fields
    ]
    split = bool(slots or own)
    searches = family.splits
    # Lists begin and end at steps, so that what is masked of a word matters to skips alone.
    places = [(k, {"at": at, "end": end >> family.grain}) for k, at, end in family.starts]
    return {
        "name": family.family.value,
        "decisions": family.decisions,
        "levels": family.levels,
        "grain": family.grain,
        "words_of_bit": 1 << family.grain,
        "rounds": family.rounds,
        "blocks": family.blocks,
        "outcomes": family.outcomes,
        "order": family.order,
        "of_hit": "hit * 2" if family.order >= 0 else "hit",
        "skips": family.skips,
        "split": split,
        "slots": slots,
        "own": own,
        "search": {
            "nodes": max((s.nodes for s in searches), default=0),
            "steps": max((s.steps for s in searches), default=0),
            "wide": int(any(o["wide"] for o in own)),
            "low": any(s.low for s in searches),
            "low_nodes": max((s.low_nodes for s in searches), default=0),
            "low_steps": max((s.low_steps for s in searches), default=0),
        },
        "answer": f"outcome >> 62 == {SPLIT} ? xt_split_{family.family.value}(p, outcome) : (u32)outcome"
        if split
        else "outcome",
        "gated": next((p for k, p in places if k.no_entry), None),
        "fragment": next((p for k, p in places if k.is_fragment), None),
        "plain": next((p for k, p in places if not k.no_entry and not k.is_fragment), None),
        "dimensions": [
            {
                "number": i,
                "combined": d.combined,
                "dense": d.dense,
                "default": d.default,
                "default_blocks": d.default_blocks,
                "fields": [
                    {
                        "name": f.name,
                        "direct": f.direct,
                        "intervals": f.intervals,
                        "classes": f.classes,
                        "slot": slot_of[f.name] if f.slots else -1,
                        "search": _search(f.search, tables) if f.search else None,
                    }
                    for f in d.fields
                ],
            }
            for i, d in enumerate(family.dimensions)
        ],
    }


def _wide(name: str, family: Family) -> bool:
    return FIELDS[name].width(family) > 64


def _search(search: Search, tables: Tables) -> dict[str, Any]:
    root = None
    if search.entry >> 61 == NODE:  # what is known of the first node stands in the code
        at = search.entry & 0xFFFFFFFF
        low, head = int(tables.words[at]), int(tables.words[at + 1])
        root = {"at": at + 2, "low": f"{low:#x}ULL", "shift": head & 63, "last": head >> 8}
    points = search.points
    return {
        "points": points
        and {
            "seeds": points.seeds,
            "shift": 64 - points.bits,
            "slots": points.slots,
            "slot_shift": 64 - points.slot_bits,
        },
        "entry": f"{search.entry:#x}ULL",
        "root": root,
        "nodes": search.nodes,
        "steps": search.steps,
        "low": search.low,
        "low_nodes": search.low_nodes,
        "low_steps": search.low_steps,
    }
