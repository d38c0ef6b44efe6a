"""Real dumps and the cases of iptables' own extension tests."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from rules import corpus
from xdptables.fields import Family
from xdptables.rules.model import Rule
from xdptables.rules.printing import print_ruleset
from xdptables.rules.reader import read, read_rulesets
from xdptables.source import InputError, Source

#: Both are the full range, which iptables-save leaves out; we keep the option, it tests nothing.
FULL_RANGES = {
    "-p ah -m ah --ahspi 0:4294967295",
    "-m ah --ahspi 0:4294967295",
    "-p esp -m esp --espspi 0:4294967295",
}


def test_the_corpus_is_there() -> None:
    corpus.require()
    assert len(corpus.files("rulesets")) > 60


@pytest.mark.parametrize("path", corpus.files("rulesets"), ids=lambda p: p.name)
def test_a_real_dump_is_read_and_printed_back(path: Path) -> None:
    source = Source(path.name, path.read_bytes().decode())
    (ruleset,) = read_rulesets(source)
    assert ruleset.family is (Family.IPV6 if path.suffix == ".v6" else Family.IPV4)
    (again,) = read_rulesets(Source("printed", print_ruleset(ruleset)))
    assert again == ruleset
    for rule in ruleset.rules():
        assert rule.text in source.line(rule.line)


def cases(path: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """table, chain, rule, what iptables-save prints, OK or FAIL."""
    table, chain = "filter", "INPUT"
    for line in path.read_text().splitlines():
        if line.startswith(":"):
            chain = line[1:].split(",")[0]
        elif line.startswith("*"):
            table = line[1:]
        elif line and line[0] not in "#@%":
            rule, printed, result, *_ = line.split(";")
            yield table, chain, rule, rule if printed in ("=", "") else printed, result


def one(table: str, chain: str, rule: str, family: Family) -> Rule:
    (ruleset,) = read_rulesets(Source("case", f"*{table}\n-A {chain} {rule}\nCOMMIT\n"), family)
    (found,) = ruleset.rules()
    return found


def meaning(rule: Rule) -> object:
    """What the compiler reads of a rule: typed options; what is kept as words may be spelled otherwise."""
    matches = [
        (m.name, m.known, [(o.name, o.negated, o.value) for o in m.options if o.value is not None])
        for m in rule.matches
    ]
    return matches, rule.target and rule.target.name


@pytest.mark.parametrize("path", corpus.files("iptables-extensions", "*.t"), ids=lambda p: p.stem)
def test_what_iptables_accepts_is_read_as_it_prints_it(path: Path) -> None:
    family = Family.IPV6 if path.name.startswith("libip6t_") else Family.IPV4
    for table, chain, rule, printed, result in cases(path):
        if result == "OK":
            found = one(table, chain, rule, family)
            if rule not in FULL_RANGES:
                assert meaning(found) == meaning(one(table, chain, printed, family)), rule
        else:
            try:
                one(table, chain, rule, family)
            except InputError as e:
                assert str(e)


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 6)):
        at, what = rng.randrange(len(text) + 1), rng.randrange(4)
        if what == 0:
            text = text[:at] + text[at + rng.randint(1, 4) :]
        elif what == 1:
            text = text[:at] + rng.choice('!"\\- \n[:*/,²\0é') + text[at:]
        else:
            lines = text.split("\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            if what == 2:
                lines[i], lines[j] = lines[j], lines[i]
            else:
                lines[i] += " " + lines[j]
            text = "\n".join(lines)
    return text


def test_damaged_dumps_are_read_or_refused_never_more() -> None:
    corpus.require()
    rng = random.Random(20240229)
    texts = [p.read_text() for p in corpus.files("rulesets") if p.stat().st_size < 8000]
    refused = 0
    for _ in range(1500):
        try:
            reading = read(Source("damaged", mutated(rng.choice(texts), rng)))
        except InputError as e:
            refused += 1
            assert all(d.message and d.span.line for d in e.diagnostics)
            continue
        for ruleset in reading.rulesets:
            assert read_rulesets(Source("p", print_ruleset(ruleset)), ruleset.family) == (ruleset,)
    assert refused > 100
