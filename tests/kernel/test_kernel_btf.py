"""Functions of a module: its ids and strings go on where those of vmlinux end."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from xdptables.kernel import btf

INT, STRUCT, FUNC, PROTO = 1, 4, 12, 13


def blob(types: bytes, strings: bytes) -> bytes:
    head = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return head + types + strings


def record(name: int, kind: int, vlen: int = 0, tail: bytes = b"") -> bytes:
    return struct.pack("=III", name, kind << 24 | vlen, 0) + tail


NAMES = frozenset(["look_up", "release"])
# Of vmlinux: an int, a struct with a member called as a function of the module is, and two functions.
BASE_STRINGS = b"\0int\0release\0other\0"
BASE = blob(
    record(1, INT, tail=bytes(4))
    + record(0, STRUCT, 1, struct.pack("=III", 5, 1, 0))
    + record(0, PROTO, 2, bytes(16))
    + record(13, FUNC),
    BASE_STRINGS,
)


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """BTF objects by name, as the kernel would hand them out."""
    blobs = {"vmlinux": BASE}
    numbers: dict[bytes, int] = {}
    monkeypatch.setattr(
        btf, "_objects", lambda: {name: numbers.setdefault(b, len(numbers) + 1) for name, b in blobs.items()}
    )
    monkeypatch.setattr(
        btf, "_read", lambda number: btf.Btf.parse(next(b for b, n in numbers.items() if n == number))
    )
    btf._base.cache_clear()
    btf._in_module.cache_clear()
    yield blobs
    btf._base.cache_clear()
    btf._in_module.cache_clear()


def module(first: int, second: int) -> bytes:
    # One more type before each function, so that the ids are no mere sequence.
    types = record(0, PROTO, 1, bytes(8)) + record(first, FUNC) + record(0, PROTO) + record(second, FUNC)
    return blob(types, b"\0look_up\0release\0")


def test_in_a_module(objects: dict[str, bytes]) -> None:
    assert btf.find_functions(NAMES, "mod") is None
    own = len(BASE_STRINGS)
    objects["mod"] = module(own + 1, own + 9)
    assert btf.find_functions(NAMES, "mod") == btf.Found({"look_up": 6, "release": 8}, "mod", 2)


def test_a_string_that_vmlinux_has_is_not_stored_again(objects: dict[str, bytes]) -> None:
    objects["mod"] = module(len(BASE_STRINGS) + 1, 5)
    found = btf.find_functions(NAMES, "mod")
    assert found and found.ids == {"look_up": 6, "release": 8}


def test_a_module_that_comes_back_is_read_again(objects: dict[str, bytes]) -> None:
    own = len(BASE_STRINGS)
    objects["mod"] = module(own + 9, own + 1)
    first = btf.find_functions(NAMES, "mod")
    objects["mod"] = module(own + 1, own + 9)
    second = btf.find_functions(NAMES, "mod")
    assert first and second and first.ids == {"look_up": 8, "release": 6} != second.ids
    del objects["mod"]
    assert btf.find_functions(NAMES, "mod") is None


def test_in_vmlinux(objects: dict[str, bytes]) -> None:
    assert btf.find_functions(frozenset(["other"]), "mod") == btf.Found({"other": 4}, "")
    objects.clear()
    assert btf.find_functions(NAMES, "mod") is None  # a kernel without BTF
