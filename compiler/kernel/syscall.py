"""bpf(2) by ctypes: programs, maps, pins and test runs, without any library.

`union bpf_attr` is written as packed bytes; the offsets are the kernel's and never change.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import KernelError, TooComplex, last_lines, no_memory

_NUMBERS = {"x86_64": 321, "i686": 357, "armv7l": 386, "ppc64le": 361, "s390x": 351}
_NUMBER = _NUMBERS.get(platform.machine(), 280)  # arm64, riscv64 and all later ones
_libc = ctypes.CDLL(None, use_errno=True)

_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY = 0, 1, 2, 3, 4
_PROG_LOAD, _OBJ_PIN, _OBJ_GET = 5, 6, 7
_TEST_RUN, _PROG_BY_ID, _MAP_BY_ID, _INFO, _UPDATE_BATCH = 10, 13, 14, 15, 26
_BTF_BY_ID, _BTF_NEXT_ID = 19, 23
_TYPE_XDP, _ATTACH_XDP, _XDP_HAS_FRAGS = 6, 37, 1 << 5
_LIVE_FRAMES = 2
_MMAPABLE = 1 << 10
_LOG_SIZE = 16 << 20


@dataclass(frozen=True, slots=True)
class LoadedProgram:
    """A descriptor of a program in the kernel. `frags`: it may be given frames of several buffers."""

    fd: int
    frags: bool


@dataclass(frozen=True, slots=True)
class ProgInfo:
    """`load_time` (ns since boot) beside `id` tells a program from a later one that got the same id."""

    id: int
    type: int
    tag: str
    load_time: int
    name: str
    map_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MapInfo:
    id: int
    type: int
    key_size: int
    value_size: int
    max_entries: int
    name: str


def _bpf(command: int, attr: bytes | ctypes.Array[ctypes.c_char]) -> int:
    buffer = ctypes.create_string_buffer(attr, len(attr)) if isinstance(attr, bytes) else attr
    result: int = _libc.syscall(_NUMBER, command, buffer, len(buffer))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def _bytes(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, max(len(data), 1))


def prog_load(
    instructions: bytes,
    license: str,
    *,
    name: str = "xdptables",
    fd_array: Sequence[int] = (),
    frags: bool = True,
) -> LoadedProgram:
    """Load an XDP program; `fd_array` holds the BTF descriptors of the modules whose kfuncs it calls.

    `frags`: ask that it may be given frames of several buffers, where the kernel knows that.

    Raises KernelError with the end of the verifier's log.
    """
    last: OSError | None = None
    wanted = (_XDP_HAS_FRAGS, 0) if frags else (0,)
    for flags in wanted:
        try:
            return LoadedProgram(_prog_load(instructions, license, name, flags, fd_array, None), flags != 0)
        except OSError as e:
            last = e
            if e.errno != errno.EINVAL:  # what a kernel that does not know the flag answers
                break
    assert last is not None
    if last.errno == errno.E2BIG:  # more instructions or branches than it walks; its log would be as long
        raise TooComplex(
            f"the kernel's verifier gives up on a program of {len(instructions) // 8} instructions",
            hint="this is a defect of xdptables, not of your rules",
        )
    log = ctypes.create_string_buffer(_LOG_SIZE)
    for flags in wanted:
        try:
            fd = _prog_load(instructions, license, name, flags, fd_array, log)
        except OSError as e:
            last = e
            if log.value:
                break
        else:
            return LoadedProgram(fd, flags != 0)
    if last.errno in (errno.EPERM, errno.EACCES) and not log.value:
        raise KernelError(
            f"the kernel does not let this process load a program: {last.strerror}",
            hint="kernel lockdown or a security module may forbid BPF",
        )
    if last.errno == errno.ENOMEM:
        raise no_memory("the program", os.strerror(errno.ENOMEM))
    raise KernelError(
        f"the kernel refuses the program: {last.strerror}",
        last_lines(log.value.decode(errors="replace")),
        "this is a defect of xdptables, not of your rules",
    )


def _prog_load(
    instructions: bytes,
    license: str,
    name: str,
    flags: int,
    fd_array: Sequence[int],
    log: ctypes.Array[ctypes.c_char] | None,
) -> int:
    code, text = _bytes(instructions), _bytes(license.encode() + b"\0")
    fds = _bytes(struct.pack(f"={len(fd_array)}i", *fd_array))
    attr = struct.pack(
        "=IIQQIIQII16sII48xQ",
        _TYPE_XDP,
        len(instructions) // 8,
        _address(code),
        _address(text),
        1 if log else 0,
        len(log) if log else 0,
        _address(log) if log else 0,
        0,
        flags,
        name.encode()[:15],
        0,
        _ATTACH_XDP,
        _address(fds) if fd_array else 0,
    )
    return _bpf(_PROG_LOAD, attr)


def test_run(
    prog_fd: int, frame: bytes, ingress_ifindex: int | None = None, repeat: int = 1, rx_queue: int = 0
) -> tuple[int, bytes, int]:
    """Run the program on one Ethernet frame: (verdict, the frame after it, nanoseconds a run).

    The interface is looked up in the network namespace of the calling thread. The kernel refuses
    frames shorter than an Ethernet header.
    """
    if len(frame) < 14:
        raise ValueError("a frame needs the 14 bytes of an Ethernet header")
    data, out = _bytes(frame), ctypes.create_string_buffer(len(frame) + 512)
    context = b""
    if ingress_ifindex is not None:
        context = struct.pack("=IIIIII", 0, len(frame), 0, ingress_ifindex, rx_queue, 0)
    ctx = _bytes(context)
    attr = _bytes(
        struct.pack(
            "=IIIIQQIIIIQQIIII",
            *(prog_fd, 0, len(frame), len(out), _address(data), _address(out), repeat, 0),
            *(len(context), 0, _address(ctx) if context else 0, 0, 0, 0, 0, 0),
        )
    )
    _bpf(_TEST_RUN, attr)
    verdict, size, nanoseconds = struct.unpack("=4xI4xI20xI40x", attr.raw)
    return verdict, out.raw[:size], nanoseconds


def test_run_live(prog_fd: int, frame: bytes, ingress_ifindex: int, repeat: int, batch: int) -> None:
    """Let the program act on `repeat` real frames, as if they came in on the interface, `batch` at a time.

    The kernel uses pages again without restoring them: the program has to write all that it varies. A
    frame that it redirects is sent; one that it passes reaches the stack (BPF_F_TEST_XDP_LIVE_FRAMES, 5.18).
    """
    data, ctx = _bytes(frame), _bytes(struct.pack("=IIIIII", 0, len(frame), 0, ingress_ifindex, 0, 0))
    attr = struct.pack(
        "=IIIIQQIIIIQQIIII",
        *(prog_fd, 0, len(frame), 0, _address(data), 0, repeat, 0),
        *(24, 0, _address(ctx), 0, _LIVE_FRAMES, 0, batch, 0),
    )
    _bpf(_TEST_RUN, attr)


def prog_info(fd: int) -> ProgInfo:
    count = struct.unpack_from("=I", _info(fd, b"", 80), 52)[0]
    ids = ctypes.create_string_buffer(max(count, 1) * 4)
    request = struct.pack("=52xIQ", count, _address(ids))
    raw = _info(fd, request, 80)
    kind, number, tag, load_time, count = struct.unpack_from("=II8s24xQ4xI", raw)
    map_ids = struct.unpack_from(f"={count}I", ids.raw) if count else ()
    return ProgInfo(number, kind, tag.hex(), load_time, _text(raw[64:80]), tuple(map_ids))


def map_info(fd: int) -> MapInfo:
    raw = _info(fd, b"", 80)
    kind, number, key_size, value_size, entries = struct.unpack_from("=5I", raw)
    return MapInfo(number, kind, key_size, value_size, entries, _text(raw[24:40]))


def _info(fd: int, request: bytes, size: int) -> bytes:
    info = ctypes.create_string_buffer(request.ljust(size, b"\0"), size)
    _bpf(_INFO, struct.pack("=IIQ", fd, size, _address(info)))
    return info.raw


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")


def prog_fd_by_id(prog_id: int) -> int:
    return _bpf(_PROG_BY_ID, struct.pack("=III", prog_id, 0, 0))


def map_fd_by_id(map_id: int) -> int:
    return _bpf(_MAP_BY_ID, struct.pack("=III", map_id, 0, 0))


def btf_ids() -> Iterator[int]:
    """Of all BTF objects: the kernel's, its modules' and programs'."""
    number = 0
    while True:
        attr = _bytes(struct.pack("=III", number, 0, 0))
        try:
            _bpf(_BTF_NEXT_ID, attr)
        except FileNotFoundError:
            return
        number = struct.unpack_from("=I", attr.raw, 4)[0]
        yield number


def btf_fd_by_id(btf_id: int) -> int:
    return _bpf(_BTF_BY_ID, struct.pack("=III", btf_id, 0, 0))


def btf_name(fd: int) -> tuple[str, bool]:
    """Its name, and whether it is the kernel's own (vmlinux, or a module's by the module's name)."""
    name = ctypes.create_string_buffer(64)
    raw = _info(fd, struct.pack("=QIIQII", 0, 0, 0, _address(name), len(name), 0), 32 + 8)
    return name.value.decode(errors="replace"), bool(struct.unpack_from("=I", raw, 28)[0])


def btf_blob(fd: int) -> bytes:
    size = struct.unpack_from("=I", _info(fd, b"", 40), 8)[0]
    blob = ctypes.create_string_buffer(size)
    _info(fd, struct.pack("=QI", _address(blob), size), 40)
    return blob.raw


def obj_pin(fd: int, path: Path) -> None:
    name = _bytes(os.fsencode(path) + b"\0")
    try:
        _bpf(_OBJ_PIN, struct.pack("=QII", _address(name), fd, 0))
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from e


def obj_get(path: Path) -> int:
    name = _bytes(os.fsencode(path) + b"\0")
    return _bpf(_OBJ_GET, struct.pack("=QII", _address(name), 0, 0))


def map_of_one_value(name: str, content: memoryview) -> int:
    """An array of one entry with this content: a program reaches all of it from one pointer.

    One that could be mapped into a process begins at a page, and so its words at a cache line.

    Raises OSError: E2BIG where the kernel has no values of that size."""
    attr = struct.pack("=IIIIIII16s", 2, 4, len(content), 1, _MMAPABLE, 0, 0, name.encode()[:15])
    fd = _bpf(_MAP_CREATE, attr)
    try:
        key = _bytes(bytes(4))
        value = (ctypes.c_char * len(content)).from_buffer_copy(content)
        _bpf(_MAP_UPDATE, struct.pack("=IxxxxQQQ", fd, _address(key), _address(value), 0))
    except BaseException:
        os.close(fd)
        raise
    return fd


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """`value_size` is what the kernel writes: for a per-CPU map, that of all possible CPUs."""
    k, value = _bytes(key), ctypes.create_string_buffer(value_size)
    try:
        _bpf(_MAP_LOOKUP, struct.pack("=IxxxxQQQ", fd, _address(k), _address(value), 0))
    except FileNotFoundError:
        return None
    return value.raw


def map_update(fd: int, key: bytes, value: bytes) -> None:
    k, v = _bytes(key), _bytes(value)
    _bpf(_MAP_UPDATE, struct.pack("=IxxxxQQQ", fd, _address(k), _address(v), 0))


def map_delete(fd: int, key: bytes) -> None:
    k = _bytes(key)
    _bpf(_MAP_DELETE, struct.pack("=IxxxxQQQ", fd, _address(k), 0, 0))


def map_keys(fd: int, key_size: int) -> Iterator[bytes]:
    """All keys; do not change the map meanwhile."""
    following = ctypes.create_string_buffer(key_size)
    current: ctypes.Array[ctypes.c_char] | None = None
    while True:
        try:
            _bpf(
                _MAP_NEXT_KEY,
                struct.pack("=IxxxxQQQ", fd, _address(current) if current else 0, _address(following), 0),
            )
        except FileNotFoundError:
            return
        yield following.raw
        current = _bytes(following.raw)


def map_update_batch(fd: int, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
    """Many entries in one call, or one by one where the kernel or the kind of map has no batches."""
    if not keys:
        return
    k, v = _bytes(b"".join(keys)), _bytes(b"".join(values))
    attr = _bytes(struct.pack("=QQQQIIQQ", 0, 0, _address(k), _address(v), len(keys), fd, 0, 0))
    try:
        _bpf(_UPDATE_BATCH, attr)
    except OSError as e:
        if e.errno not in (errno.EINVAL, 524):  # 524: ENOTSUPP
            raise
        for key, value in zip(keys, values, strict=True):
            map_update(fd, key, value)
