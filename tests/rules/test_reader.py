"""Text to typed rules: which option belongs where, and what restore's commands do."""

import pytest

from xdptables.fields import Family
from xdptables.intervals import IntervalSet
from xdptables.rules.model import Rule, Ruleset, Variant
from xdptables.rules.reader import read, read_rulesets
from xdptables.source import InputError, Source


def ruleset(body: str, family: Family | None = None, name: str = "rules") -> Ruleset:
    (found,) = read_rulesets(Source(name, body), family)
    return found


def rule(text: str, family: Family = Family.IPV4) -> Rule:
    (found,) = ruleset(f"*filter\n:USER - [0:0]\n-A INPUT {text}\nCOMMIT\n", family).rules()
    return found


def shape(text: str, family: Family = Family.IPV4) -> list[tuple[str, ...]]:
    return [
        (m.name, *(("!" if o.negated else "") + o.name for o in m.options))
        for m in rule(text, family).matches
    ]


def inputs(body: str) -> list[str]:
    found = ruleset(f"*filter\n{body}\nCOMMIT\n").table("filter").chain("INPUT").rules
    assert [r.number for r in found] == list(range(1, len(found) + 1))
    return [r.target.name if r.target else "" for r in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-p tcp --dport 22", [("ip", "-p"), ("tcp", "--dport")]),
        ("-m mark --mark 1 -m connmark ! --mark 2", [("ip",), ("mark", "--mark"), ("connmark", "!--mark")]),
        ("-m connmark --mark 2 -m mark --mark 1", [("ip",), ("connmark", "--mark"), ("mark", "--mark")]),
        ("-p tcp -m tcp --sport 1 -m new --dport 2", [("ip", "-p"), ("tcp", "--sport"), ("new", "--dport")]),
        ("-p tcp -m tcp --dport 22 --sport 1", [("ip", "-p"), ("tcp", "--dport", "--sport")]),
        ("-p tcp -m limit --limit 1/s --dport 22", [("ip", "-p"), ("limit", "--limit"), ("tcp", "--dport")]),
        (
            "-p tcp -m tcp -m state --state NEW --dport 80",
            [("ip", "-p"), ("tcp", "--dport"), ("state", "--state")],
        ),
        ("-p tcp -m multiport --dport 80,443", [("ip", "-p"), ("multiport", "--dports")]),
        ("-p tcp -m tcp -m multiport --dport 80", [("ip", "-p"), ("tcp", "--dport"), ("multiport",)]),
        ("-m limit -j LOG --limit 1/s --log-prefix x", [("ip",), ("limit", "--limit")]),
        ("-m policy --dir in --pol ipsec --proto esp", [("ip",), ("policy", "--dir", "--pol", "--proto")]),
        ("--proto tcp --syn", [("ip", "-p"), ("tcp", "--tcp-flags")]),
        ("-p tcp -m tcpmss --mss 1:2 -j SYNPROXY --wscale 7 --mss 1460", [("ip", "-p"), ("tcpmss", "--mss")]),
        ("! -s 1.2.3.4 ! -i eth0", [("ip", "!-s", "!-i")]),
        ("-s ! 1.2.3.4 -p tcp --dport ! 80", [("ip", "!-s", "-p"), ("tcp", "!--dport")]),
        ("-ptcp --dport=80", [("ip", "-p"), ("tcp", "--dport")]),
        ("-m udp --nonsense 5 -j DROP", [("ip",), ("udp",), ("?", "--nonsense")]),
        ("--dport 80 -p tcp", [("ip", "-p"), ("?", "--dport")]),
        ("-m nosuch --a b c ! --d -s 1.1.1.1", [("ip", "-s"), ("nosuch", "--a", "!--d")]),
        ("-j USER --odd 1", [("ip",), ("?", "--odd")]),
        ("-j DROP --odd 1", [("ip",), ("?", "--odd")]),
        ("-m state [unsupported revision] -j DROP", [("ip",), ("state", "[unsupported revision]")]),
    ],
)
def test_each_option_finds_its_owner(text: str, expected: list[tuple[str, ...]]) -> None:
    assert shape(text) == expected


def test_the_protocol_loads_the_match_of_its_family() -> None:
    for spelling in ("icmpv6", "ipv6-icmp", "icmp6", "58"):
        assert shape(f"-p {spelling} --icmpv6-type 1", Family.IPV6)[1] == ("icmp6", "--icmpv6-type")
    found = rule("-p icmpv6 -m icmp6 --icmpv6-type 133", Family.IPV4)
    assert not found.matches[1].known


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-p 6", "-p tcp"),
        ("-s 10.11.12.13/8", "-s 10.0.0.0/255.0.0.0"),
        ("-s 10.0.0.0/25,10.0.0.128/25", "-s 10.0.0.0/24"),
        ("-p tcp --dport 1024:", "-p tcp -m tcp --dport 1024:65535"),
        ("-p tcp --dport ssh", "-p tcp -m tcp --dport 22"),
        ("-p tcp --syn", "-p tcp -m tcp --tcp-flags SYN,RST,ACK,FIN SYN"),
        ("-m dscp --dscp-class EF", "-m dscp --dscp 0x2e"),
        ("-p icmp --icmp-type echo-request", "-p icmp -m icmp --icmp-type 8"),
        ("-j ACCEPT -s 1.1.1.1", "-s 1.1.1.1/32 -j ACCEPT"),
    ],
)
def test_two_spellings_of_one_rule_are_equal(one: str, other: str) -> None:
    assert rule(one) == rule(other)


def test_words_end_as_in_iptables_restore() -> None:
    def comment(text: str) -> object:
        return rule(f"-m comment --comment {text}").matches[1].options

    def value(text: str) -> str:
        (option,) = comment(text)
        return option.words[0].text

    assert value(r'"a \"b\" \\ c"') == r'a "b" \ c'
    assert value('a"b c"') == "ab c"
    assert value("it's") == "it's"
    assert value('""') == ""
    assert value('"!"') == value("!") == "!"
    assert value("--foo") == "--foo"
    assert value('"-j DROP" -j ACCEPT') == "-j DROP"


def test_free_text_may_look_like_an_option() -> None:
    found = rule("-p tcp -j LOG --log-prefix -j --log-level 4")
    assert found.target.name == "LOG"
    assert [(o.name, o.words[0].text) for o in found.target.options] == [
        ("--log-prefix", "-j"),
        ("--log-level", "4"),
    ]


def test_spans_point_at_the_text() -> None:
    text = '*filter\r\n[1:2]  -A INPUT -s 1.2.3.4 -m comment --comment "a b" -j LOG --log-level 4\r\nCOMMIT'
    (found,) = ruleset(text).rules()
    assert found.counters == (1, 2)
    assert found.line == 2
    assert found.text == '-A INPUT -s 1.2.3.4 -m comment --comment "a b" -j LOG --log-level 4'
    header, comment = found.matches
    assert header.options[0].span.text == "-s 1.2.3.4"
    assert comment.span.text == "-m comment"
    assert comment.options[0].words[0].span.text == '"a b"'
    assert found.target.options[0].span.text == "--log-level 4"


def test_commands_act_as_in_restore() -> None:
    assert inputs("-A INPUT -j DROP\n-I INPUT -j ACCEPT") == ["ACCEPT", "DROP"]
    assert inputs("-A INPUT -j DROP\n--insert INPUT 2 -j ACCEPT") == ["DROP", "ACCEPT"]
    assert inputs("-A INPUT -j DROP\n-R INPUT 1 -j ACCEPT") == ["ACCEPT"]
    assert inputs("-A INPUT -j DROP\n-A INPUT\n-D INPUT 1") == [""]
    assert inputs("-A INPUT -s 10.0.0.1 -j DROP\n-A INPUT\n-D INPUT -s 10.0.0.1/32 -j DROP") == [""]
    assert inputs("-A INPUT -j DROP\n-F\n-A INPUT -j ACCEPT") == ["ACCEPT"]
    assert inputs("-N X\n-A INPUT -j X\n-E X Y\n-Z") == ["Y"]
    assert inputs("-6 -A INPUT -j DROP\n-4 -A INPUT -j ACCEPT\n-A INPUT -j DROP --ipv6") == ["ACCEPT"]


def test_chains_and_policies() -> None:
    found = ruleset(
        "*filter\n:INPUT DROP\n:OUTPUT - [0:0]\n:U -\n-P FORWARD DROP\n-N V\n-X V\nCOMMIT \n# end"
    )
    policies = {c.name: c.policy for c in found.table("filter").chains}
    assert policies == {"INPUT": "DROP", "FORWARD": "DROP", "OUTPUT": "ACCEPT", "U": None}
    bare = ruleset("*filter\nCOMMIT").table("filter")
    assert [(c.name, c.policy, c.span) for c in bare.chains] == [
        (n, "ACCEPT", None) for n in ("INPUT", "FORWARD", "OUTPUT")
    ]


def test_jumps_know_user_chains_declared_anywhere() -> None:
    text = "*filter\n-A INPUT -j LATER\n-A INPUT -g LATER\n-A INPUT -j NOWHERE\n:LATER - [0:0]\nCOMMIT\n"
    assert [(r.target.known, r.target.goto) for r in ruleset(text).rules()] == [
        (True, False),
        (True, True),
        (False, False),
    ]


def test_a_table_that_comes_again_replaces_the_first() -> None:
    found = ruleset("*filter\n:X - [0:0]\n-A INPUT -j DROP\nCOMMIT\n*filter\n-A INPUT -j ACCEPT\nCOMMIT\n")
    assert [t.name for t in found.tables] == ["filter"]
    assert [r.target.name for r in found.rules()] == ["ACCEPT"]
    assert found.table("filter").chain("X") is None


@pytest.mark.parametrize(
    ("text", "name", "family", "variant"),
    [
        ("# Generated by ip6tables-save v1.8.9 (nf_tables) on Mon\n", "x", Family.IPV6, Variant.NFT),
        ("# Generated by iptables-save v1.8.9 on Mon\n", "x.v6", Family.IPV4, Variant.LEGACY),
        ("# Generated by iptables-save v1.4.21 on Mon\n", "x", Family.IPV4, Variant.LEGACY),
        ("", "rules.v6", Family.IPV6, Variant.UNKNOWN),
        ("", "ip6tables.rules", Family.IPV6, Variant.UNKNOWN),
        ("", "rules", Family.IPV4, Variant.UNKNOWN),
        ("*filter\n-A INPUT -s fe80::/10 -j DROP\nCOMMIT\n", "x", Family.IPV6, Variant.UNKNOWN),
        ("*filter\n-A INPUT -p ipv6-icmp -j DROP\nCOMMIT\n", "x", Family.IPV6, Variant.UNKNOWN),
    ],
)
def test_family_and_variant(text: str, name: str, family: Family, variant: Variant) -> None:
    found = ruleset(text, name=name)
    assert (found.family, found.variant) == (family, variant)


def test_two_families_in_one_file() -> None:
    part = "# Generated by {} v1.8.9 (nf_tables)\n*filter\n-A INPUT -p {} -j DROP\nCOMMIT\n"
    text = part.format("iptables-save", "icmp") + part.format("ip6tables-save", "ipv6-icmp")
    assert [r.family for r in read_rulesets(Source("x", text))] == [Family.IPV4, Family.IPV6]
    assert ruleset(text, Family.IPV6).family is Family.IPV6


def test_what_can_not_be_resolved_is_kept_with_a_warning() -> None:
    reading = read(Source("x", "*filter\n-A INPUT -s host.example -j DROP\n-A NEW -j DROP\nCOMMIT\n"))
    (first, _) = reading.rulesets[0].rules()
    assert first.matches[0].options[0].value is None
    assert first.matches[0].options[0].words[0].text == "host.example"
    assert [(w.severity, w.span.line) for w in reading.warnings] == [("warning", 2), ("warning", 3)]


def test_values_are_what_the_table_makes_of_them() -> None:
    header, tcp = rule("-s 10.0.0.0/8 -i eth+ -p tcp --dport 1:3").matches
    assert [o.value for o in header.options] == [IntervalSet.range(10 << 24, (11 << 24) - 1), "eth+", 6]
    assert tcp.options[0].value == IntervalSet.range(1, 3)


def test_input_error_is_all_that_is_raised_on_nothing_much() -> None:
    for text in ("", "\n", "\r\n", "#", "COMMIT", "*", ":", "!", '"', "-", "--", "-A", "[", "\0"):
        for body in (text, f"*filter\n{text}\nCOMMIT\n", f"*filter\n-A INPUT {text}\nCOMMIT\n"):
            try:
                read(Source("x", body))
            except InputError as e:
                assert str(e)
