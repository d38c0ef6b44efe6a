"""Broken and hostile text: a slice of what `make fuzz` tries, and time and memory as the text grows."""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from collections.abc import Callable

import pytest

from fuzz.dumps import HOSTILE, MARK, broken, check, code, originals
from xdptables.kernel import kfuncs
from xdptables.kernel.compile import compile_program

_SEEDS = 100
Text = Callable[[int], str]


def test_a_slice() -> None:
    results = {"fine": 0, "refused": 0}
    for seed in range(_SEEDS):
        data = broken(random.Random(f"{seed} text"), originals())
        try:
            results[check(data)[0]] += 1
        except Exception as e:
            raise AssertionError(f"seed {seed}: {data!r}") from e
    assert min(results.values()) > _SEEDS // 20


@pytest.mark.kernel
def test_the_compiler_takes_what_hostile_text_leads_to() -> None:
    """Every text in every place where rules can hold one and are still read."""
    chains, rules, taken = [], [], 0
    for number, raw in enumerate(HOSTILE):
        text = "".join(c for c in raw if c not in "\n\x00").encode("utf-8", "replace").decode()
        word = text.replace("\\", "").replace('"', "").replace(" ", "")[:28]
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        source = f"-A INPUT -s 198.51.{number}"
        chains.append(f":c{number}{word} - [0:0]")
        rules += [
            f'{source}.1 -m comment --comment "{quoted}" -j DROP',
            f"{source}.2 -m set --match-set {word} src -j DROP",
            f'{source}.3 -p udp -m udp --dport 53 -j LOG --log-prefix "{quoted[:28]}"',
            f"{source}.4 -g c{number}{word}",
            f"-A c{number}{word} -j DROP",
            f"{source}.5 -j {word}",
        ]
    good = []
    for rule in rules:  # what is refused is refused by a message, which `check` looks at
        kind, _ = check("\n".join(("*filter", ":INPUT ACCEPT [0:0]", *chains, rule, "COMMIT", "")).encode())
        if kind == "fine":
            good.append(rule)
            taken += 1
    assert taken > len(rules) * 0.8
    text = "\n".join(("*filter", ":INPUT ACCEPT [0:0]", *chains, *good, "COMMIT", ""))
    kind, c_text = check(text.encode())
    assert kind == "fine"
    assert MARK in c_text and MARK not in code(c_text)
    program = compile_program(c_text)
    os.close(kfuncs.load(program.instructions, program.license).fd)


def _filter(*lines: str, chains: int = 0) -> str:
    declared = (f":c{n} - [0:0]" for n in range(chains))
    return "\n".join(("*filter", ":INPUT ACCEPT [0:0]", *declared, *lines, "COMMIT", ""))


def _words(n: int) -> str:
    return " ".join(f"--o{i} {i}" for i in range(n))


def _nested(n: int, how: str, last: str = "-j DROP") -> str:
    calls = (f"-A c{i} -{how} c{i + 1}" for i in range(n - 1))
    return _filter(f"-A INPUT -{how} c0", *calls, f"-A c{n - 1} {last}", chains=n)


GROWING: dict[str, Text] = {
    "words": lambda n: _filter(f"-A INPUT {'-m comment --comment x ' * n}-j DROP"),
    "negations": lambda n: _filter(f"-A INPUT {'! ' * n * 20}-s 192.0.2.1 -j DROP"),
    "a long word": lambda n: _filter(f"-A INPUT -s {'1' * n * 100} -j DROP"),
    "escapes": lambda n: _filter(f'-A INPUT -m comment --comment "{chr(92) * n * 100}" -j DROP'),
    "quotes": lambda n: _filter(f"-A INPUT -m comment --comment {chr(34) * n * 40} -j DROP"),
    "unknown options": lambda n: _filter(f"-A INPUT -m foo {_words(n)} -j DROP"),
    "errors": lambda n: _filter(*("-A INPUT -s 999.1.1.1 -j DROP" for _ in range(n))),
    "nested calls": lambda n: _nested(n, "j"),
    "nested gotos": lambda n: _nested(n, "g"),
    "a loop": lambda n: _nested(n, "j", "-j c0"),
    "tables": lambda n: "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n" * n,
    "chains": lambda n: _filter(chains=n * 2),
    "lines": lambda n: "\n" * n * 100,
    "no line end": lambda n: "*" * n * 100,
}
_SMALL, _FACTOR, _SLACK = 150, 4, 2.2


@pytest.mark.parametrize("name", GROWING)
def test_time_and_memory_grow_with_the_text(name: str) -> None:
    """Four times the text takes at most about nine times the time: a square would take sixteen times."""
    seconds = [min(_time(GROWING[name](n)) for _ in range(2)) for n in (_SMALL, _SMALL * _FACTOR)]
    assert seconds[1] < seconds[0] * _FACTOR * _SLACK + 0.1
    bytes_taken = [_memory(GROWING[name](n)) for n in (_SMALL, _SMALL * _FACTOR)]
    assert bytes_taken[1] < bytes_taken[0] * _FACTOR * 1.5 + (2 << 20)


def _time(text: str) -> float:
    start = time.process_time()
    check(text.encode())
    return time.process_time() - start


def _memory(text: str) -> int:
    tracemalloc.start()
    try:
        check(text.encode())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
