"""What is proven to get no packet gets none of those that are derived from the rules, in real rulesets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rules import corpus
from xdptables.explain.example import Example, find
from xdptables.explain.packets import Explainer
from xdptables.host.facts import PLAIN_HOST
from xdptables.pipeline import compile_rules
from xdptables.reference.answers import Answer
from xdptables.reference.packet import Unreadable, parse
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source
from xdptables.verify.derive import derive
from xdptables.verify.place import settle

# What GRO merges is one packet to the rules; the path of a single frame does not see that.
WITHOUT_GRO = replace(PLAIN_HOST, interface=replace(PLAIN_HOST.interface, gro=False))
HOST, PLACE = settle(WITHOUT_GRO, "eth0")
_STEP, _MOST_RULES, _FRAMES = 4, 400, 600


@pytest.mark.parametrize("part", range(2))
def test_no_frame_contradicts_a_proof(part: int) -> None:
    corpus.require()
    proofs = 0
    for path in corpus.files("rulesets")[part::_STEP]:
        rulesets = read_rulesets(Source(path.name, path.read_text()))
        rules = [r for s in rulesets for r in s.rules()]
        if len(rules) > _MOST_RULES:
            continue
        compiled = compile_rules(rulesets, HOST)
        proven: dict[int, Example] = {}
        for rule in rules:
            found = find(rulesets, HOST, compiled, str(rule.line), PLACE)
            if found.proven:
                proven[id(rule)] = found
        proofs += len(proven)
        explainer = Explainer(rulesets, HOST, compiled)
        for frame in derive(rulesets, compiled.plan.lists, PLACE, limit=_FRAMES):
            try:
                fragment = parse(frame.data).fragment
            except Unreadable:
                continue
            path_of = explainer.explain(frame.data).path
            for step in path_of.steps if path_of is not None else ():
                none = proven.get(id(step.rule)) if step.answer is not Answer.NO else None
                if none is not None and not (fragment and none.fragments):
                    pytest.fail(f"{path.name} {none.rule.line}: {none.rule.text}\n{frame}")
    assert proofs > 40
