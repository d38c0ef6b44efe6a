"""Both engines, the kernel and the interpreter on the same packets, under thousands of random rules."""

from __future__ import annotations

import dataclasses
import random

import pytest

from judge.large_rules import large_rules
from xdptables.emit.engine import EngineRequest
from xdptables.emit.tables import order
from xdptables.fields import Family
from xdptables.host.facts import PLAIN_HOST
from xdptables.pipeline import compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.boundaries import boundary_specs
from xdptables.verify.build import build
from xdptables.verify.compare import compare
from xdptables.verify.flows import spread
from xdptables.verify.model import Frame, Ruling
from xdptables.verify.place import settle
from xdptables.verify.planned import PlanSubject
from xdptables.verify.program import loaded

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("family", list(Family), ids=str)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("count", "most", "judged", "engines"),
    [
        (600, 2500, 300, ("linear", "tables")),
        (4000, 700, 60, ("tables",)),  # more than straight code holds
    ],
)
def test_engines_kernel_and_interpreter_agree(
    count: int, most: int, judged: int, engines: tuple[str, ...], seed: int, family: Family,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`most` frames of those at the bounds of every rule's intervals; the interpreter, which takes rule after
    rule, is asked about `judged` of the drops."""
    monkeypatch.setattr(order, "SHORT", 50)
    r = random.Random(seed)
    host, place = settle(PLAIN_HOST, "eth0")
    rulesets = read_rulesets(Source("rules", large_rules(seed, family, count)), family)
    specs = list(boundary_specs(rulesets[0]))
    chosen = [specs[i] for i in sorted(r.sample(range(len(specs)), most))]
    data = spread([build(family, spec, place) for _, spec in chosen])
    frames = [Frame(name, d) for (name, _), d in zip(chosen, data, strict=True)]
    rulings: list[Ruling] = []
    for engine in engines:
        compiled = compile_rules(rulesets, host, engine=EngineRequest(engine))
        plan = compiled.plan
        assert not plan.cut
        if plan.tables is not None:
            made = plan.tables.families[0]
            assert made.skips and (made.order >= 0 or count < 1000)
        planned = PlanSubject(plan, host).rule(data)
        with loaded(compiled.c_text, host, plan.map_values) as subject:
            ran = subject.rule(data)
        assert [a.drop for a in ran] == [p.drop for p in planned], engine
        rulings = [dataclasses.replace(a, cause=p.cause) for a, p in zip(ran, planned, strict=True)]
    dropped = [i for i, ruling in enumerate(rulings) if ruling.drop]
    assert len(dropped) > judged
    asked = r.sample(dropped, judged)
    result = compare(rulesets, host, [frames[i] for i in asked], [rulings[i] for i in asked])
    assert result.judged == judged and not result.disagreements
