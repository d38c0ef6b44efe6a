"""A loaded program follows the host: rules, addresses, programs before it, the interface's name."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from judge.traffic import connected, echoes, serve
from netns import NetnsPair
from pace import seconds, within
from xdptables.fields import Family
from xdptables.verify.build import build
from xdptables.verify.model import Place

pytestmark = pytest.mark.kernel

RULES = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 198.51.100.0/24 -j DROP\nCOMMIT\n"
SECONDS = seconds(15)  # far above an interval: a slow machine is no failure


def xdptables(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "xdptables", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(pair: NetnsPair) -> dict | None:
    server = pair.server
    words = ["status", server.ifname, "--netns", server.ns, "--json"]
    found = json.loads(xdptables(*words))
    return found[0] if found else None


eventually = functools.partial(within, SECONDS)


@contextlib.contextmanager
def loaded(variant: str, rules: str = RULES, sets: str = "", options: str = "") -> Iterator[NetnsPair]:
    with NetnsPair() as pair:
        if sets:
            pair.run(pair.server.ns, ["ipset", "restore"], input=sets)
        pair.run(pair.server.ns, [f"iptables-{variant}-restore"], input=rules)
        xdptables("load", pair.server.ifname, "--netns", pair.server.ns, *options.split())
        try:
            eventually(lambda: (status(pair) or {}).get("watcher"), "a watcher")
            yield pair
        finally:
            ended = ["unload", pair.server.ifname, "--netns", pair.server.ns]
            subprocess.run([sys.executable, "-m", "xdptables", *ended], capture_output=True, check=False)


def dropping(pair: NetnsPair) -> list[str]:
    known = status(pair)
    return [r["rule"] for r in known["rules"]] if known and known["attached"] else []


@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_a_rule_that_comes_first_takes_the_drop_away(variant: str) -> None:
    with loaded(variant) as pair:
        assert len(dropping(pair)) == 1
        pair.run(
            pair.server.ns, [f"iptables-{variant}", "-I", "INPUT", "-s", "198.51.100.0/24", "-j", "ACCEPT"]
        )
        eventually(lambda: status(pair) and not dropping(pair), "the drop is gone")
        pair.run(pair.server.ns, [f"iptables-{variant}", "-I", "INPUT", "-s", "203.0.113.9", "-j", "DROP"])
        eventually(lambda: len(dropping(pair)) == 1, "the new drop is there")


def test_a_new_address_is_local() -> None:
    with loaded("nft") as pair:
        first = status(pair)
        pair.run(pair.server.ns, ["ip", "addr", "add", "192.0.2.77/32", "dev", pair.server.ifname])

        def known() -> bool:
            return "192.0.2.77/32" in host_of(pair)["local4"]

        eventually(known, "the address in the map")
        assert status(pair)["since"] == first["since"]  # refilled, not loaded anew


def test_a_new_address_is_compiled_in_where_a_rule_asks_for_local_ones() -> None:
    rules = "*raw\n:PREROUTING ACCEPT\n-A PREROUTING -m addrtype ! --dst-type LOCAL -j DROP\nCOMMIT\n"
    with loaded("legacy", rules) as pair:
        first = status(pair)
        assert len(dropping(pair)) == 1
        pair.run(pair.server.ns, ["ip", "addr", "add", "192.0.2.77/32", "dev", pair.server.ifname])
        eventually(lambda: (status(pair) or first)["since"] != first["since"], "loaded anew")
        assert "192.0.2.77/32" in host_of(pair)["local4"]


def test_a_budget_goes_by_the_limits_of_now() -> None:
    rules = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -j REJECT\nCOMMIT\n"

    def budgeted() -> bool:
        known = status(pair)
        return bool(known and known["rules"] and "on_budget" in known["rules"][0])

    with loaded("nft", rules, options="--reject-budget auto") as pair:
        assert budgeted()
        since = status(pair)["since"]
        pair.run(pair.server.ns, ["sysctl", "-qw", "net.ipv4.icmp_ratelimit=200"])
        eventually(lambda: (status(pair) or {"since": since})["since"] != since, "loaded anew")
        assert budgeted()
        assert host_of(pair)["icmp_ratelimit4"] == 200
        # Destination unreachable is no longer limited: every packet is owed a reply.
        pair.run(pair.server.ns, ["sysctl", "-qw", "net.ipv4.icmp_ratemask=0"])
        eventually(lambda: not budgeted(), "no budget any more")


def test_a_set_is_followed_and_what_expires_in_it_is_not() -> None:
    rules = "*raw\n:PREROUTING ACCEPT\n-A PREROUTING -m set --match-set bad src -j DROP\nCOMMIT\n"
    sets = "create bad hash:net timeout 0\nadd bad 198.51.100.0/24 timeout 0\n"

    def dropped() -> int:
        known = status(pair)
        return known["rules"][0]["packets"] if known and known["rules"] else 0

    def sent(source: str) -> None:
        to, peer = pair.server, pair.client
        spec = {"proto": 17, "src": int(ip_address(source)), "dst": int(ip_address(to.addr4))}
        place = Place(own_mac=to.mac, peer_mac=peer.mac)
        pair.send_frames([build(Family.IPV4, spec, place)])

    with loaded("legacy", rules, sets) as pair:
        sent("198.51.100.1")
        eventually(lambda: dropped() == 1, "a packet from the set")
        since = status(pair)["since"]
        pair.run(pair.server.ns, ["ipset", "add", "bad", "203.0.113.1", "timeout", "600"])
        sent("203.0.113.1")
        time.sleep(2.5)  # a look later
        assert (dropped(), status(pair)["since"]) == (1, since)
        pair.run(pair.server.ns, ["ipset", "add", "bad", "198.51.100.7", "nomatch"])
        eventually(lambda: status(pair)["since"] != since, "loaded anew")
        sent("198.51.100.7")
        sent("198.51.100.8")
        eventually(lambda: dropped() == 1, "a packet from what is left of the set")


def host_of(pair: NetnsPair) -> dict:
    from xdptables.kernel.status import find

    return json.loads(find(pair.server.ifname, pair.server.ns).host.to_json())


def test_a_chain_at_ingress_ends_the_drops() -> None:
    with loaded("nft") as pair:
        chain = f"type filter hook ingress device {pair.server.ifname} priority 0;"
        rules = f"table netdev early {{\n chain first {{\n {chain}\n ip saddr set 192.0.2.1\n }}\n}}\n"
        pair.run(pair.server.ns, ["nft", "-f", "-"], input=rules)
        eventually(lambda: status(pair) and not dropping(pair), "no drops behind the chain")


def test_a_renamed_interface_loses_the_program_and_the_watcher_ends() -> None:
    with loaded("nft") as pair:
        name = pair.server.ifname
        pair.run(pair.server.ns, ["ip", "link", "set", name, "down"])
        pair.run(pair.server.ns, ["ip", "link", "set", name, "name", "renamed0"])

        def gone() -> bool:
            out = pair.run(pair.server.ns, ["ip", "-j", "link", "show", "renamed0"]).stdout
            return "xdp" not in json.loads(out)[0]

        eventually(gone, "the program is off")


def test_unload_ends_the_watcher() -> None:
    with loaded("nft") as pair:
        pid = status(pair)["watcher"]
        xdptables("unload", pair.server.ifname, "--netns", pair.server.ns)

        def ended() -> bool:
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    return b"watch" not in f.read()
            except FileNotFoundError:
                return True

        eventually(ended, "the watcher ends")


STATEFUL = (
    "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    "-A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT\n-A INPUT -j DROP\nCOMMIT\n"
)


@pytest.mark.stock
@pytest.mark.parametrize("variant", ["legacy", "nft"])
def test_without_the_rules_that_use_conntrack_no_drop_asks_it(variant: str) -> None:
    """Nothing is tracked then, so every look-up would miss. Conntrack itself stays loaded."""
    with loaded(variant, STATEFUL) as pair:
        assert len(dropping(pair)) == 1
        with (
            serve(pair, pair.server, pair.server.addr4, 8080),
            connected(pair, pair.client, pair.server.addr4, 8080) as c,
        ):
            assert echoes(c)
            for change in (
                "-I INPUT 3 -p udp -j DROP",
                "-D INPUT 4",
                "-D INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            ):
                pair.run(pair.server.ns, [f"iptables-{variant}", *change.split()])
            eventually(lambda: any("udp" in rule for rule in dropping(pair)), "the new rules")
            assert len(dropping(pair)) == 1
            assert echoes(c)
        with pytest.raises(ConnectionRefusedError):  # dropped no longer
            connected(pair, pair.client, pair.server.addr4, 9999)
