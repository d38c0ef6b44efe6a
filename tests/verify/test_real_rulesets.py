"""Real rulesets: the plan drops nothing in error, on a plain host and on a router."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules import corpus
from xdptables.host.facts import PLAIN_HOST, ROUTER, HostFacts
from xdptables.pipeline import compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.compare import compare
from xdptables.verify.derive import derive
from xdptables.verify.place import settle
from xdptables.verify.planned import PlanSubject

DUMPS = corpus.files("rulesets")


def test_the_rulesets_are_here() -> None:
    corpus.require()


#: Larger ones are tried on one kind of host: ten seconds each.
LARGE = 100_000
CASES = [(p, PLAIN_HOST) for p in DUMPS] + [(p, ROUTER) for p in DUMPS if p.stat().st_size < LARGE]


@pytest.mark.parametrize(("path", "assumed"), CASES, ids=lambda v: getattr(v, "name", "") or v.label)
def test_no_drop_in_error(path: Path, assumed: HostFacts) -> None:
    host, place = settle(assumed, "eth0")
    rulesets = read_rulesets(Source(path.name, path.read_text(errors="surrogateescape")))
    plan = compile_rules(rulesets, host).plan
    frames = list(derive(rulesets, plan.lists, place, limit=300))
    result = compare(rulesets, host, frames, PlanSubject(plan, host).rule([f.data for f in frames]))
    assert not result.disagreements
