"""What is said of broken input, to the letter."""

import pytest

from xdptables.fields import Family
from xdptables.rules.reader import read, read_rulesets
from xdptables.source import InputError, Source


def said(body: str) -> str:
    with pytest.raises(InputError) as caught:
        read(Source("rules", body), Family.IPV4)
    return str(caught.value)


def test_missing_commit() -> None:
    assert said("# x\n*filter\n-A INPUT -j DROP\n") == (
        "rules:2:1: error: the table filter has no COMMIT\n"
        "    *filter\n"
        "    ^~~~~~~\n"
        "    hint: add a line COMMIT after the table's rules"
    )


def test_unterminated_quote() -> None:
    assert said('*filter\n-A INPUT -m comment --comment "a b -j DROP\nCOMMIT\n') == (
        "rules:2:31: error: the quoted string does not end on this line\n"
        '    -A INPUT -m comment --comment "a b -j DROP\n'
        "                                  ^~~~~~~~~~~~\n"
        '    hint: close it with "'
    )


def test_garbage_line() -> None:
    assert said("*filter\nallow ssh please\nCOMMIT\n") == (
        "rules:2:1: error: this is no line of iptables-save output\n"
        "    allow ssh please\n"
        "    ^~~~~\n"
        "    hint: expected *table, :CHAIN POLICY [packets:bytes], -A CHAIN ..., COMMIT or a # comment"
    )


def test_rule_outside_a_table() -> None:
    assert said("-A INPUT -j DROP\n*filter\nCOMMIT\n") == (
        "rules:1:1: error: no table is open here\n"
        "    -A INPUT -j DROP\n"
        "    ^~~~~~~~~~~~~~~~\n"
        "    hint: start with a line such as *filter; iptables-save prints it, iptables -S does not"
    )


def test_bad_port() -> None:
    assert said("*filter\n-A INPUT -p tcp --dport 70000 -j DROP\nCOMMIT\n") == (
        "rules:2:25: error: --dport: port 70000 is not between 0 and 65535\n"
        "    -A INPUT -p tcp --dport 70000 -j DROP\n"
        "                            ^~~~~\n"
        "    hint: iptables-restore refuses it as well"
    )


def test_all_errors_at_once_in_the_order_of_the_lines() -> None:
    body = "*filter\n-A INPUT -s 1.2.3 4\nx\n-A INPUT -p nope\n-A INPUT -j A -j B\n*nat\n-A\nCOMMIT\n"
    assert [line.split(": error: ")[0] for line in said(body).split("\n") if ": error: " in line] == [
        "rules:1:1", "rules:2:19", "rules:3:1", "rules:4:13", "rules:5:15", "rules:7:1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "place", "message"),
    [
        ("-A INPUT -j DROP # why", "2:18", "'#' is the argument of no option"),
        ("-A INPUT ! ! -i lo", "2:14", "an option is negated twice"),
        ("-A INPUT ! -j DROP", "2:12", "-j can't be negated"),
        ("-A INPUT -s 1.1.1.1 -s 1.1.1.2", "2:21", "-s is given twice"),
        ("-A INPUT -p tcp --dport 1 --dport 2", "2:27", "--dport is given twice"),
        ("-A INPUT ! -s 1.1.1.1,2.2.2.2", "2:15", "-s: a list of addresses can't be negated"),
        ("-A INPUT ! -p all", "2:15", "-p: a rule with ! -p all never matches"),
        ("-A INPUT -o eth0", "2:1", "-o can't be used in INPUT"),
        (
            "-A INPUT -i abcdefghijklmnop",
            "2:13",
            "-i: the interface name 'abcdefghijklmnop' is longer than 15 characters",
        ),
        ("-A INPUT -p tcp --dport", "2:17", "--dport needs an argument"),
        ("-A INPUT -p tcp --syn 5", "2:23", "'5' is the argument of no option"),
        ("-A INPUT -t nat -j DROP", "2:10", "-t can't be used inside a dump"),
        ("-A INPUT -c x y", "2:10", "-c needs a packet and a byte count"),
        ("-A", "2:1", "-A needs an argument"),
        ("-s 1.1.1.1", "2:1", "there is no command such as -A CHAIN"),
        ("-A INPUT -A INPUT", "2:10", "a line holds one command"),
        ("-D INPUT 1", "2:1", "'1' is no rule number of INPUT"),
        ("-D INPUT -j DROP", "2:1", "INPUT has no such rule to delete"),
        ("-F NONE", "2:1", "there is no chain NONE in the table filter"),
        ("-N INPUT", "2:1", "the chain INPUT is there already"),
        (":INPUT REJECT [0:0]", "2:1", "a policy is ACCEPT or DROP, not REJECT"),
    ],
)
def test_what_iptables_refuses(rule: str, place: str, message: str) -> None:
    lines = said(f"*filter\n{rule}\nCOMMIT\n").split("\n")
    assert lines[0] == f"rules:{place}: error: {message}"
    assert lines[3].startswith("    hint: ")


@pytest.mark.parametrize(
    ("text", "family", "hint"),
    [
        ("-A INPUT -s fe80::/10 -p icmp -j DROP", None, "for the rules of ip6tables say -6"),
        ("-A INPUT -s 192.0.2.0/24 -j DROP", Family.IPV6, "for the rules of iptables say -4"),
        ("-A INPUT -s 1.2.3.4 DROP", None, "say -j DROP"),
        ("-D INPUT 1", None, "it has none"),
    ],
)
def test_what_to_do(text: str, family: Family | None, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        read_rulesets(Source("rules", f"*filter\n{text}\nCOMMIT\n"), family)
    assert caught.value.diagnostics[0].hint == hint


def test_a_target_that_nothing_has_is_told_once() -> None:
    rules = ("-j drop", "-s 1.1.1.1 -j drop", "-j wbe", "-j web", "-j ROUTE")
    text = "*filter\n:web - [0:0]\n" + "".join(f"-A INPUT {rule}\n" for rule in rules)
    told = [d.render() for d in read(Source("rules", f"{text}COMMIT\n")).warnings]
    assert told == [
        "rules:3:10: warning: drop is no chain of the table filter, and no target that is known here\n"
        "    -A INPUT -j drop\n"
        "             ^~~~~~~\n"
        "    hint: did you mean DROP?",
        "rules:5:10: warning: wbe is no chain of the table filter, and no target that is known here\n"
        "    -A INPUT -j wbe\n"
        "             ^~~~~~\n"
        "    hint: did you mean web?",
        "rules:7:10: warning: ROUTE is no chain of the table filter, and no target that is known here\n"
        "    -A INPUT -j ROUTE\n"
        "             ^~~~~~~~\n"
        "    hint: what it might do is left to netfilter",
    ]
