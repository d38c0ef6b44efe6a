"""The reverse: a packet for a rule, or the rules that take all of its packets."""

from __future__ import annotations

from pathlib import Path

import pytest

from xdptables.explain.example import Example, find, to_data
from xdptables.fields import Family
from xdptables.host.facts import PLAIN_HOST
from xdptables.intervals import IntervalSet
from xdptables.matches.condition import Cube
from xdptables.pipeline import compile_rules
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source, UserError
from xdptables.verify.place import settle
from xdptables.verify.reach import subtract

HOST, PLACE = settle(PLAIN_HOST, "eth0")
EXAMPLES = Path(__file__).parents[2] / "examples"


def example(text: str, line: int, family: Family | None = None) -> Example:
    rulesets = read_rulesets(Source("rules", text), family)
    return find(rulesets, HOST, compile_rules(rulesets, HOST), str(line), PLACE)


SHADOWS = """*filter
:INPUT DROP [0:0]
:web - [0:0]
:unused - [0:0]
:FORWARD ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 1:100 -j web
-A INPUT -s 10.0.0.0/9 -j DROP
-A INPUT -s 10.128.0.0/9 -m comment --comment half -j ACCEPT
-A INPUT -s 10.1.0.0/16 -p udp -j ACCEPT
-A INPUT -s 10.200.0.0/16 -p tcp -m tcp --dport 4000 -j DROP
-A INPUT -s 10.0.0.0/8 -p udp -m udp --dport 5 -j DROP
-A web -p tcp -m tcp --dport 80 -j ACCEPT
-A web -p tcp -m tcp --dport 200 -j DROP
-A web -j DROP
-A web -p tcp -m tcp --dport 22 -j ACCEPT
-A unused -j DROP
-A FORWARD -j DROP
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 300 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p udp -j LOG
COMMIT
"""


NO_WAY_BACK = """*filter
:INPUT DROP [0:0]
:end - [0:0]
:inner - [0:0]
:back - [0:0]
-A INPUT -p udp -j back
-A INPUT -i eth0 -p tcp -j end
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -j ACCEPT
-A end -s 10.0.0.0/8 -j LOG
-A end -j inner
-A inner -s 10.0.0.0/8 -j ACCEPT
-A inner -j DROP
-A back -s 10.0.0.0/8 -j RETURN
-A back -j DROP
COMMIT
"""


def test_a_chain_that_nothing_comes_back_from() -> None:
    hidden = example(NO_WAY_BACK, 8)
    assert hidden.proven and [r.line for r in hidden.shadows] == [12, 13]
    back = example(NO_WAY_BACK, 9)
    assert back.explained is not None and back.explained.text.startswith("udp 10.")
    within = example(NO_WAY_BACK, 13)
    assert within.explained is not None and not within.explained.text.startswith("tcp 10.")


def test_only_rules_that_take_its_own_packets_are_named() -> None:
    accepts = "".join(f"-A INPUT -s 10.{n}.0.0/16 -j ACCEPT\n" for n in range(5))
    rules = f"{accepts}-A INPUT -j c\n-A c -s 10.3.1.0/24 -j DROP\n"
    text = f"*filter\n:INPUT DROP [0:0]\n:c - [0:0]\n{rules}COMMIT\n"
    assert [r.line for r in example(text, 10).shadows] == [7]


@pytest.mark.parametrize(
    ("line", "shadows"),
    [(9, (7,)), (10, (8,)), (11, (7, 8)), (15, (14,))],
)
def test_rules_that_others_hide(line: int, shadows: tuple[int, ...]) -> None:
    found = example(SHADOWS, line)
    assert found.explained is None and found.proven
    assert set(shadows) <= {r.line for r in found.shadows}


def test_no_packet_for_other_reasons() -> None:
    assert example(SHADOWS, 13).proven  # its port never comes to the chain
    assert example(SHADOWS, 18).proven  # -i lo, at eth0
    for line in (16, 17):
        assert "no packet for this host crosses" in example(SHADOWS, line).why


@pytest.mark.parametrize(
    ("line", "word"), [(6, ":"), (7, "10."), (8, "10."), (12, ":80 "), (14, ":"), (20, "udp")]
)
def test_a_packet_that_a_rule_has(line: int, word: str) -> None:
    found = example(SHADOWS, line)
    assert found.explained is not None and found.explained.path is not None
    assert word in found.explained.text
    met = [s for s in found.explained.path.steps if s.rule is found.rule]
    assert met and met[0].certain


def test_a_state_is_found_as_well() -> None:
    found = example(SHADOWS, 19)
    assert found.explained is not None and found.state is not None and found.state.value == "NEW"


@pytest.mark.parametrize("name", ["blocklist", "blocklist6", "edge"])
def test_each_rule_of_the_examples_has_a_packet(name: str) -> None:
    text = (EXAMPLES / f"{name}.rules").read_text()
    for ruleset in read_rulesets(Source(name, text)):
        for rule in ruleset.rules():
            if rule.chain in ("FORWARD", "OUTPUT") or "-i lo" in rule.text:
                continue
            assert example(text, rule.line).explained is not None, rule.text


def test_a_line_without_a_rule() -> None:
    for line in (1, 3):
        with pytest.raises(UserError, match=f"line {line} holds no rule"):
            example(SHADOWS, line)


def test_subtraction_leaves_what_is_outside() -> None:
    def cube(**sets: tuple[int, int]) -> Cube:
        made = Cube.of({n: IntervalSet.range(*pair) for n, pair in sets.items()})
        assert made is not None
        return made

    whole = (cube(dport=(0, 100), sport=(0, 100)),)
    left = subtract(whole, (cube(dport=(10, 20), sport=(30, 40)),), Family.IPV4)
    assert left is not None
    for d in (0, 10, 15, 20, 21, 100):
        for s in (0, 30, 35, 40, 41, 100):
            inside = sum(d in c.get("dport") and s in c.get("sport") for c in left)  # type: ignore[operator]
            assert inside == (0 if 10 <= d <= 20 and 30 <= s <= 40 else 1)
    assert subtract(whole, (Cube(),), Family.IPV4) == ()
    many = tuple(cube(dport=(2 * n, 2 * n), sport=(2 * n, 2 * n)) for n in range(500))
    assert subtract((Cube(),), many, Family.IPV4) is None


def test_what_is_changed_on_the_way_proves_nothing() -> None:
    """A host without marks; yet a rule before sets one."""
    text = (
        "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j MARK --set-xmark 0x1/0xffffffff\n"
        "-A PREROUTING -m mark --mark 0x1 -j DROP\nCOMMIT\n"
    )
    assert example(text, 4).explained is not None
    assert example(text.replace("-j MARK --set-xmark 0x1/0xffffffff", "-j ACCEPT"), 4).proven


def test_a_rule_of_another_interface() -> None:
    found = example("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i wan+ -j DROP\nCOMMIT\n", 3)
    assert found.proven and found.why == "what comes in at eth0 does not match its -i"


@pytest.mark.parametrize(
    ("rules", "fragments"),
    [
        ("-A INPUT -i wan+ -j DROP", True),  # the datagram may be taken for one of that interface
        ("-A INPUT -s 10.0.0.0/8 -j ACCEPT\n-A INPUT -s 10.1.0.0/16 -p tcp -m tcp --dport 22 -j DROP", False),
        ("-A INPUT -p tcp -m tcp --dport 1:99 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j DROP", True),
    ],
)
def test_whether_a_fragment_gets_there_is_another_question(rules: str, fragments: bool) -> None:
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n"
    found = example(text, 2 + len(rules.splitlines()))
    assert found.explained is None and found.proven and found.fragments == fragments
    data = to_data(found)
    assert data["no_whole_packet"] and data["none_exists"] == (not fragments)
    assert ("no whole packet" in data["why"]) == fragments


def test_a_rule_that_asks_for_fragments_gets_one() -> None:
    for table, chain in (("raw", "PREROUTING"), ("filter", "INPUT")):
        found = example(f"*{table}\n:{chain} ACCEPT [0:0]\n-A {chain} -f -j DROP\nCOMMIT\n", 3)
        assert (found.explained is not None) == (table == "raw")  # INPUT has whole datagrams only
        assert found.proven == (table == "filter") and not found.fragments


def test_a_policy_has_packets_like_a_rule() -> None:
    text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p udp -j ACCEPT\n{}COMMIT\n"
    found = example(text.format(""), 2)
    assert found.explained is not None and found.explained.text.startswith("tcp ")
    assert found.rule.text == ":INPUT DROP [0:0]"
    hidden = example(text.format("-A INPUT -j DROP\n"), 2)
    assert hidden.proven and 4 in [r.line for r in hidden.shadows]
