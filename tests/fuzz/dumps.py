"""Real dumps, broken in every way that a seed can think of: read, compiled and shown they end in a program or
in a message with a place, in time, and nothing in them becomes code or commands a terminal."""

from __future__ import annotations

import functools
import io
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from rules import corpus
from xdptables.host.facts import ASSUMPTIONS
from xdptables.pipeline import compile_rules
from xdptables.report.text import show
from xdptables.rules.reader import read
from xdptables.source import InputError, Source, UserError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
#: Stands in all hostile text; where code has it, a rule has become code.
MARK = "XEVIL"
HOSTILE = (
    f"*/ }} int {MARK}(void) {{ return 1; }} /*",
    f"{MARK}??/\\",
    f"{MARK}\\",
    f"*/{MARK}/*",
    f"{{{{ {MARK} }}}}{{% include '{MARK}' %}}{{#",
    f"//{MARK}\\n#define {MARK}",
    f"\x1b[2J{MARK}\x07\x9b31m",
    f"\u202e{MARK}\u2028\u2029\x85",
    f"[red]{MARK}[/] [link=x]",
    f"{MARK}%s%n%n",
    f"{MARK}" + "x" * 5000,
    f"é火{MARK}\udcff",
    f"$(id){MARK}`id`;|&",
    f"{MARK}\x00\x01",
)
#: Where a rule may hold any text.
PLACES = (
    '-A INPUT -s 198.51.100.1 -m comment --comment "{}" -j DROP',
    "-A INPUT -s 198.51.100.2 -m set --match-set {} src -j DROP",
    '-A INPUT -s 198.51.100.3 -j LOG --log-prefix "{}"',
    "-A INPUT -i {} -j DROP",
    "-A INPUT -s 198.51.100.4 -j {}",
    "-A INPUT -s 198.51.100.5 -g {}",
    ":{} - [0:0]",
    '-A INPUT -m recent --name "{}" --rcheck -j DROP',
    '-A INPUT -m string --string "{}" --algo bm -j DROP',
    '-A INPUT -m {} --{} "{}" -j DROP',
    "-A INPUT -p {} -j DROP",
    "*{}",
    "# {}",
)
_SECONDS, _SECONDS_A_BYTE = 3.0, 0.0004  # of CPU time


def broken(rng: random.Random, texts: tuple[bytes, ...]) -> bytes:
    """One text with a few things done to it."""
    data = rng.choice(texts)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        data = rng.choice(_WAYS)(rng, data)
    return data


@functools.cache
def originals() -> tuple[bytes, ...]:
    """Real dumps, as far as they are here, cut to what is read in a few milliseconds; and the examples."""
    found = [path.read_bytes() for path in corpus.files("rulesets")]
    found += [path.read_bytes() for path in sorted(EXAMPLES.glob("*.rules"))]
    return tuple(b"".join(data.splitlines(keepends=True)[:150]) for data in found)


def _bytes(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 30))):
        if changed:
            at = rng.randrange(len(changed))
            new = rng.choice((0, 9, 10, 13, 32, 34, 92, 255, rng.randrange(256)))
            changed[at : at + rng.randrange(2)] = bytes([new])
    return bytes(changed)


def _lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[one]
        case 1:
            lines.insert(other, lines[one])
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
        case 3:
            lines = lines[:one]
        case 4:
            lines[one] = lines[one] * rng.choice((2, 50))
    return b"\n".join(lines)


def _tokens(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    words = lines[at].split(b" ")
    one, other = rng.randrange(len(words)), rng.randrange(len(words))
    match rng.randrange(6):
        case 0:
            del words[one]
        case 1:
            words.insert(other, words[one])
        case 2:
            words[one], words[other] = words[other], words[one]
        case 3:
            words[one] = rng.choice(_odd_words())
        case 4:
            words[one] = rng.choice(rng.choice(lines).split(b" ") or [b""])
        case 5:
            words[one] += rng.choice((b",", b":", b"/", b"/33", b":0", b"-1", b"+", b"0x", b"!", b'"', b"\t"))
    lines[at] = b" ".join(words)
    return b"\n".join(lines)


@functools.cache
def _odd_words() -> tuple[bytes, ...]:
    numbers = (0, -1, 65535, 65536, 1 << 32, 1 << 64, 10**30)
    return (
        *(str(n).encode() for n in numbers),
        *(hex(n).encode() for n in numbers),
        b"", b"!", b"-", b"--", b"-j", b"-A", b"-p", b"-m", b"-c", b"-s", b"-4", b"-6", b"--dport",
        b'"', b'""', b"'", b"\\", b"0.0.0.0/0", b"::/0", b"1.2.3.4/255.0.255.0", b"1.2.3.4,5.6.7.8",
        b"::1/::1", b"lo", b"+", b"COMMIT", b"*filter", b":INPUT", b"INPUT", b"DROP", b"RETURN", b"0:0",
        b"65535:0", b"1:2:3", b"all", b"ALL", b"NONE", b"[1:2]", b"[18446744073709551616:0]",
        b"x" * 40, b"9" * 4000,
    )  # fmt: skip


def _quotes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice((b'"', b'""', b'\\"', b"'", b"\\", b"\\\n", b'" "', b'"\n')) + data[at:]


def _hostile(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    place, text = rng.choice(PLACES), rng.choice(HOSTILE)
    if rng.random() < 0.6:  # so that it is read, and comes further
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    if rng.random() < 0.5:
        text = text.replace(" ", "")
    line = place.replace("{}", text).encode("utf-8", "surrogateescape")
    lines.insert(rng.randrange(len(lines)), line)
    return b"\n".join(lines)


def _grown(rng: random.Random, data: bytes) -> bytes:
    """A piece of it very many times."""
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 2, 10, 60))]
    return data[:start] + piece * rng.choice((10, 100, 2000)) + data[start:]


_WAYS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _bytes, _lines, _lines, _tokens, _tokens, _tokens, _quotes, _hostile, _hostile, _grown,
)  # fmt: skip


def check(data: bytes) -> tuple[str, str]:
    """("fine", the C) or ("refused", the message). Raises AssertionError for what must not be, and whatever
    the reader or the compiler raise that is no message for the user."""
    start = time.process_time()
    source = Source("rules", data.decode(errors="surrogateescape"))
    try:
        reading = read(source, None)
        compiled = compile_rules(reading.rulesets, ASSUMPTIONS["plain"])
    except InputError as e:
        assert e.diagnostics
        for d in e.diagnostics[:200]:
            assert 1 <= d.span.line <= len(source.lines) and 1 <= d.span.column <= d.span.end_column
            assert len(d.render()) < 2000 + len(d.message) + len(d.hint)
        result = "refused", str(e)
    except UserError as e:
        result = "refused", str(e)
    else:
        assert compiled.c_text.isascii()
        assert MARK not in code(compiled.c_text)
        shown = io.StringIO()
        show(compiled.report, Console(file=shown, width=200))
        assert all(c == "\n" or c.isprintable() for c in shown.getvalue())
        result = "fine", compiled.c_text
    spent, allowed = time.process_time() - start, _SECONDS + len(data) * _SECONDS_A_BYTE
    assert spent < allowed, f"{spent:.1f} s for {len(data)} bytes"
    return result


def code(c_text: str) -> str:
    """Without comments and literals, in the order of translation in C: trigraphs, joined lines, the rest."""
    c_text = c_text.replace("??/", "\\").replace("\\\n", "")
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", c_text, flags=re.S)
