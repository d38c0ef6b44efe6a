"""Sets that rules of a trial may name, the same on every host: one of each kind that common kernels have."""

from __future__ import annotations

from xdptables.fields import Family

FOUR, SIX = Family.IPV4, Family.IPV6

#: What follows the name in `create`, and the entries.
_SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a4": ("hash:ip", ("192.0.2.2", "192.0.2.7", "198.51.100.7", "192.0.2.1", "10.0.0.1")),
    "n4": ("hash:net", ("198.51.100.0/24", "192.0.2.0/26", "192.0.2.8/29 nomatch", "10.0.0.0/9")),
    "p4": ("hash:ip,port", ("192.0.2.1,tcp:22", "192.0.2.1,udp:53", "192.0.2.1,icmp:8/0")),
    "np4": ("hash:net,port", ("192.0.2.0/24,tcp:80", "192.0.2.0/28,udp:0-99", "192.0.2.4/30,udp:53 nomatch")),
    "pi4": ("hash:ip,port,ip", ("192.0.2.1,tcp:22,192.0.2.2", "192.0.2.2,udp:53,192.0.2.1")),
    "pn4": ("hash:ip,port,net", ("192.0.2.1,tcp:443,192.0.2.0/24", "192.0.2.1,sctp:80,0.0.0.0/1")),
    "ni4": ("hash:net,iface", ("192.0.2.0/25,wan0", "10.0.0.0/8,wan1")),
    "b4": ("bitmap:ip range 192.0.2.0/24", ("192.0.2.2-192.0.2.9", "192.0.2.200")),
    "bp": ("bitmap:port range 0-1024", ("22", "53-80", "0")),
    "bm4": ("bitmap:ip,mac range 192.0.2.0/24", ("192.0.2.2,02:00:00:00:00:0a", "192.0.2.7")),
    "t4": ("hash:ip timeout 6000", ("192.0.2.2", "192.0.2.9 timeout 0")),
    "c4": ("hash:ip counters", ("192.0.2.2", "192.0.2.10")),
    "x4": ("hash:ip", ("192.0.2.2",)),
    "a6": ("hash:ip family inet6", ("2001:db8::2", "2001:db8::7", "fe80::1")),
    "n6": ("hash:net family inet6", ("2001:db8::/64", "2001:db8::8/125 nomatch", "fe80::/10")),
    "p6": ("hash:ip,port family inet6", ("2001:db8::1,tcp:22", "2001:db8::1,icmpv6:128/0")),
    "np6": ("hash:net,port family inet6", ("2001:db8::/32,tcp:80", "2001:db8::/120,udp:0-100")),
    "x6": ("hash:ip family inet6", ("2001:db8::2",)),
    "l4": ("list:set", ("a4", "n4")),
    "l": ("list:set", ("n4", "n6", "bp")),
}  # fmt: skip
_PARTS = {
    FOUR: (
        "a4 src", "a4 dst", "n4 src", "n4 dst", "p4 dst,dst", "p4 src,src", "p4 dst,src", "np4 src,dst",
        "np4 dst,dst", "pi4 dst,dst,src", "pn4 dst,dst,src", "ni4 src,src", "ni4 dst,src",
        "b4 src", "bm4 src,src", "t4 src", "c4 src", "l4 src", "x4 src", "a4 src,dst",
    ),
    SIX: ("a6 src", "a6 dst", "n6 src", "n6 dst", "p6 dst,dst", "p6 src,src", "np6 src,dst", "x6 src"),
}  # fmt: skip
_BOTH = ("bp dst", "bp src", "l src", "l dst")
#: By which rules add to sets, and take from them.
TARGETS = {
    FOUR: ("-j SET --add-set x4 src", "-j SET --del-set x4 src", "-j SET --add-set x4 src --exist"),
    SIX: ("-j SET --add-set x6 src", "-j SET --del-set x6 src"),
}


def parts(family: Family) -> tuple[str, ...]:
    found = []
    for words in (*_PARTS[family], *_BOTH):
        found += [f"-m set --match-set {words}", f"-m set ! --match-set {words}"]
    quiet = [f"-m set --match-set {words} ! --update-counters" for words in ("c4 src", "t4 src")]
    counted = ["-m set --match-set c4 src --packets-gt 2", "-m set --match-set n4 src --return-nomatch"]
    return (*found, *quiet, *counted) if family is FOUR else tuple(found)


def create() -> str:
    """For `ipset restore`, in an empty namespace."""
    return "".join(f"create {name} {kind}\n" for name, (kind, _) in _SETS.items())


def fill() -> str:
    """For `ipset restore`: what every set holds, in place of what it holds now."""
    lines = [f"flush {name}" for name in _SETS]
    lines += [f"add {name} {entry}" for name, (_, entries) in _SETS.items() for entry in entries]
    return "\n".join(lines) + "\n"
