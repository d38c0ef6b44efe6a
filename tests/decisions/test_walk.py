"""The walk: certain drops, certain accepts, and what a maybe does to both."""

from xdptables.decisions.hookpath import hook_path
from xdptables.decisions.model import Accept, Drop, Skip, Undecided
from xdptables.decisions.walk import Walk
from xdptables.fields import Family
from xdptables.host.facts import PLAIN_HOST
from xdptables.intervals import IntervalSet
from xdptables.matches.view import Kind
from xdptables.rules.model import Chain, Match, Option, Rule, Ruleset, Table, Target, Variant
from xdptables.source import Source, Span

SPAN = Span(Source("test", ""), 1, 1, 1)


def rule(number, target, *matches, src=None, chain="INPUT"):
    header = (Option("-s", value=IntervalSet.of(src)),) if src is not None else ()
    matches = (Match("ip", header), *(Match(m, known=m != "mystery") for m in matches))
    return Rule("filter", chain, number, matches, Target(target) if target else None, span=SPAN)


def walk(policy, *rules, user=()):
    chains = [Chain("INPUT", policy, tuple(rules)), *(Chain(n, None, tuple(r)) for n, r in user)]
    ruleset = Ruleset(Family.IPV4, Variant.LEGACY, (Table("filter", tuple(chains)),))
    stops = hook_path(ruleset, (ruleset,), PLAIN_HOST, Kind.IPV4)
    return Walk(ruleset, stops, Kind.IPV4).run()


def fate(result, src):
    """Run the decision list on a packet of which only the source is known."""
    at = 0
    while at < len(result.decisions):
        decision = result.decisions[at]
        wanted = decision.when.get("src")
        if decision.when.fields in ((), ("src",)) and (wanted is None or src in wanted):
            if not isinstance(decision.then, Skip):
                return decision.then
            assert decision.then.to > at
            at = decision.then.to
        else:
            at += 1
    return None


def test_a_drop_a_policy_and_an_accept():
    result = walk("DROP", rule(1, "DROP", src=1), rule(2, "ACCEPT", src=2))
    assert fate(result, 1) == Drop(fate(result, 1).cause, local=True, after_conntrack=True)
    assert fate(result, 1).cause.rule.number == 1
    assert isinstance(fate(result, 2), Accept)
    assert fate(result, 3).cause.policy is not None


def test_maybe_drop_is_not_there_and_maybe_accept_passes():
    assert isinstance(fate(walk("ACCEPT", rule(1, "DROP", "string")), 1), Accept)
    result = walk("DROP", rule(1, "ACCEPT", "mark", src=1))
    assert isinstance(fate(result, 1), Undecided)
    assert isinstance(fate(result, 2), Drop)


def test_maybe_return_drops_only_if_both_ways_drop():
    sub = [rule(1, "RETURN", "mark", chain="SUB"), rule(2, "DROP", src=1, chain="SUB")]
    into = rule(1, "SUB")
    assert isinstance(fate(walk("DROP", into, user=[("SUB", sub)]), 1), Drop)
    assert isinstance(fate(walk("ACCEPT", into, user=[("SUB", sub)]), 1), Undecided)


def test_what_may_be_remembered_or_is_not_known_goes_to_netfilter():
    for name in ("limit", "mystery"):
        result = walk("DROP", rule(1, "DROP", name, src=1))
        assert isinstance(fate(result, 1), Undecided)
        assert isinstance(fate(result, 2), Drop)


def test_goto_returns_for_its_caller():
    sub = [rule(1, "RETURN", src=1, chain="SUB")]
    goto = Rule("filter", "INPUT", 1, (Match("ip"),), Target("SUB", goto=True), span=SPAN)
    result = walk("ACCEPT", goto, rule(2, "DROP"), user=[("SUB", sub)])
    assert isinstance(fate(result, 1), Accept) and isinstance(fate(result, 2), Accept)


def test_a_loop_of_chains_passes():
    sub = [rule(1, "SUB", chain="SUB")]
    assert isinstance(fate(walk("DROP", rule(1, "SUB"), user=[("SUB", sub)]), 1), Undecided)


def test_what_grows_without_bound_passes_and_says_so():
    names = [f"C{i}" for i in range(24)]
    user = []
    for name, following in zip(names, [*names[1:], None], strict=True):
        calls = [rule(n, following, src=n, chain=name) for n in (1, 2)] if following else []
        user.append((name, calls or [rule(1, "DROP", chain=name)]))
    result = walk("ACCEPT", rule(1, "DROP", src=9), rule(2, names[0]), user=user)
    assert "more than" in result.gave_up
    assert isinstance(fate(result, 9), Drop)  # what was seen before that stays


def test_state_read_in_prerouting_forbids_drops_there():
    """A forwarded flow crosses PREROUTING both ways, so a drop of one shows in the state of the other."""
    flow = rule(1, "DROP", src=1, chain="PREROUTING")
    for other, drops in (("state", False), ("comment", True)):
        chain = Chain("PREROUTING", "ACCEPT", (flow, rule(2, "DROP", other, chain="PREROUTING")))
        track = Table("filter", (Chain("INPUT", "ACCEPT", (rule(1, "ACCEPT", "state"),)),))
        ruleset = Ruleset(Family.IPV4, Variant.LEGACY, (Table("mangle", (chain,)), track))
        stops = hook_path(ruleset, (ruleset,), PLAIN_HOST, Kind.IPV4)
        assert isinstance(fate(Walk(ruleset, stops, Kind.IPV4).run(), 1), Drop) is drops
