"""Hand-written rulesets, where chains, tables and hooks matter. Matches alone are in parts.py."""

from __future__ import annotations

from judge.parts import FOUR, SIX, parts, single
from xdptables.fields import Family

__all__ = ["RULESETS", "parts", "single"]

_FILTER = ":INPUT {policy}\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n"


def _filter(*lines: str, policy: str = "ACCEPT", chains: tuple[str, ...] = ()) -> str:
    declared = _FILTER.format(policy=policy) + "".join(f":{c} -\n" for c in chains)
    return "*filter\n" + declared + "".join(f"{line}\n" for line in lines) + "COMMIT\n"


def _table(name: str, *lines: str, chains: tuple[str, ...] = ()) -> str:
    return (
        f"*{name}\n"
        + "".join(f":{c}\n" for c in chains)
        + "".join(f"{line}\n" for line in lines)
        + "COMMIT\n"
    )


#: What is passed around against floods.
BOGUS = (
    "-A PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j DROP",
    "-A PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN FIN,SYN -j DROP",
    "-A PREROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN,RST -j DROP",
    "-A PREROUTING -p tcp -m tcp --tcp-flags FIN,RST FIN,RST -j DROP",
    "-A PREROUTING -p tcp -m tcp --tcp-flags FIN,ACK FIN -j DROP",
    "-A PREROUTING -p tcp -m tcp --tcp-flags ACK,URG URG -j DROP",
    "-A PREROUTING -p tcp -m tcp --tcp-flags PSH,ACK PSH -j DROP",
    "-A PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG FIN,PSH,URG -j DROP",
    "-A PREROUTING -s 224.0.0.0/3 -j DROP",
    "-A PREROUTING -s 172.16.0.0/12 -j DROP",
    "-A PREROUTING -s 10.0.0.0/8 -j DROP",
    "-A PREROUTING -s 0.0.0.0/8 -j DROP",
    "-A PREROUTING -s 127.0.0.0/8 ! -i lo -j DROP",
    "-A PREROUTING -p icmp -j DROP",
    "-A PREROUTING -f -j DROP",
)
NOT_A_SYN = "! --tcp-flags FIN,SYN,RST,ACK SYN"

RULESETS: dict[str, tuple[Family, str]] = {
    "port scans": (
        FOUR,
        _filter(
            "-A INPUT -m recent --name scan --rcheck --seconds 600 --mask 255.255.255.255 --rsource -j DROP",
            "-A INPUT -p udp -m udp --dport 53 -j ACCEPT",
            "-A INPUT -p tcp -m tcp --dport 22 -m statistic --mode random --probability 1.0 -j ACCEPT",
            "-A INPUT -p sctp -m recent --name scan --set --mask 255.255.255.255 --rsource -j DROP",
            policy="DROP",
        ),
    ),
    "floods raw": (FOUR, _table("raw", *BOGUS)),
    "floods mangle": (
        FOUR,
        _table(
            "mangle",
            "-A PREROUTING -m conntrack --ctstate INVALID -j DROP",
            f"-A PREROUTING -p tcp -m tcp {NOT_A_SYN} -m conntrack --ctstate NEW -j DROP",
            "-A PREROUTING -p tcp -m conntrack --ctstate NEW -m tcpmss ! --mss 536:65535 -j DROP",
            *BOGUS,
        ),
    ),
    "output devices": (
        FOUR,
        _filter(
            "-A INPUT -j outs",
            "-A outs ! -o eth0 -p udp -j ACCEPT",
            "-A outs -o eth0 -p tcp -j ACCEPT",
            "-A outs -o + -p sctp -j ACCEPT",
            policy="DROP",
            chains=("outs",),
        ),
    ),
    "connection mark": (
        FOUR,
        _table("mangle", "-A PREROUTING -p udp -j CONNMARK --save-mark", chains=("PREROUTING ACCEPT",))
        + _filter(policy="DROP"),
    ),
    "authentication header": (
        SIX,
        _filter("-A INPUT -m ah -j ACCEPT", "-A INPUT -s 2001:db8::2 -j DROP"),
    ),
    "empty": (FOUR, _filter()),
    "policy drop": (FOUR, _filter(policy="DROP")),
    "policy drop 6": (SIX, _filter(policy="DROP")),
    "chains": (
        FOUR,
        _filter(
            "-A INPUT -i lo -j ACCEPT",
            "-A INPUT -p tcp -j tcps",
            "-A INPUT -p udp -g udps",
            "-A INPUT -p icmp -j RETURN",
            "-A INPUT -s 192.0.2.0/24 -j ACCEPT",
            "-A tcps -m tcp -p tcp --dport 22 -j ACCEPT",
            "-A tcps -m tcp -p tcp --dport 80 -j RETURN",
            "-A tcps -s 192.0.2.2 -j deeper",
            "-A tcps -j DROP",
            "-A deeper -p tcp -m tcp --dport 443 -g udps",
            "-A deeper -m ttl --ttl-gt 100 -j RETURN",
            "-A deeper -j ACCEPT",
            "-A udps -p udp -m udp --dport 53 -j DROP",
            "-A udps -m length --length 0:50 -j RETURN",
            policy="DROP",
            chains=("tcps", "udps", "deeper"),
        ),
    ),
    "unknown matches": (
        FOUR,
        _filter(
            "-A INPUT -p tcp -m u32 --u32 0x0>>0x18=0x45 -j ACCEPT",
            "-A INPUT -p udp -m string --algo bm --string zz -j late",
            "-A INPUT -p sctp -m ecn --ecn-ip-ect 0 -j DROP",
            "-A late -p udp -m udp --dport 7 -j DROP",
            "-A late -s 192.0.2.2 -j RETURN",
            policy="DROP",
            chains=("late",),
        ),
    ),
    "effects": (
        FOUR,
        _filter(
            "-A INPUT -p tcp -m tcp --dport 22 -m limit --limit 3/min -j ACCEPT",
            "-A INPUT -p udp -j LOG",
            "-A INPUT -p icmp -j REJECT",
            "-A INPUT -j MARK --set-mark 7",
            "-A INPUT -p sctp -j NFLOG --nflog-group 3",
            "-A INPUT -s 192.0.2.0/24",
            policy="DROP",
        ).replace("-A INPUT -j MARK --set-mark 7\n", ""),
    ),
    "raw": (
        FOUR,
        _table(
            "raw",
            "-A PREROUTING -s 10.0.0.0/8 -j DROP",
            "-A PREROUTING -m ttl --ttl-lt 3 -j DROP",
            "-A PREROUTING -p tcp -m tcp --tcp-flags ALL NONE -j DROP",
            "-A PREROUTING -m pkttype --pkt-type broadcast -j ACCEPT",
            "-A PREROUTING -p udp -m length --length 100:300 -j DROP",
            chains=("PREROUTING ACCEPT", "OUTPUT ACCEPT"),
        )
        + _filter("-A INPUT -p tcp -j ACCEPT", "-A INPUT -p icmp -m icmp --icmp-type 8 -j DROP"),
    ),
    "mangle": (
        FOUR,
        _table(
            "mangle",
            "-A PREROUTING -p tcp -m tcp --dport 22 -j TTL --ttl-set 9",
            "-A PREROUTING -m tos --tos 0x10/0xff -j DSCP --set-dscp 3",
            "-A PREROUTING -j MARK --set-mark 1",
            "-A INPUT -m ttl --ttl-lt 64 -j DROP",
            "-A INPUT -p udp -m udp --dport 22 -j ACCEPT",
            chains=("PREROUTING ACCEPT", "INPUT ACCEPT"),
        )
        + _filter("-A INPUT -p udp -j DROP", "-A INPUT -m mark --mark 1 -j ACCEPT", policy="DROP")
        + _table("security", "-A INPUT -p tcp -m tcp --dport 80 -j DROP", chains=("INPUT ACCEPT",)),
    ),
    "state": (
        FOUR,
        _filter(
            "-A INPUT -s 198.51.100.0/24 -j DROP",
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A INPUT -m conntrack --ctstate INVALID -j DROP",
            "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
            policy="DROP",
        )
        + _table("raw", "-A PREROUTING -s 10.0.0.0/8 -j DROP", chains=("PREROUTING ACCEPT",)),
    ),
    "state 6": (
        SIX,
        _filter(
            "-A INPUT -s 2001:db8::77 -j DROP",
            "-A INPUT -p tcp -m tcp --dport 443 -j DROP",
            "-A INPUT -m hl --hl-lt 60 -j DROP",
            "-A INPUT -m conntrack --ctstate NEW -p udp -j DROP",
        ),
    ),
    "nat": (
        FOUR,
        _table(
            "nat",
            "-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 22",
            chains=("PREROUTING ACCEPT",),
        )
        + _table("mangle", "-A PREROUTING -s 198.51.100.0/24 -j DROP", chains=("PREROUTING ACCEPT",))
        + _filter("-A INPUT -p tcp -m tcp --dport 80 -j DROP", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"),
    ),
    "notrack": (
        FOUR,
        _table(
            "raw",
            "-A PREROUTING -p udp -j CT --notrack",
            "-A PREROUTING -m ttl --ttl-eq 1 -j DROP",
            chains=("PREROUTING ACCEPT",),
        )
        + _filter(
            "-A INPUT -m conntrack --ctstate INVALID -j DROP", "-A INPUT -p udp -m udp --dport 53 -j DROP"
        ),
    ),
    "outbound state": (
        FOUR,
        _filter("-A INPUT -p tcp -m tcp --dport 80 -j DROP", "-A OUTPUT -m state --state INVALID -j DROP"),
    ),
    "bogons 6": (
        SIX,
        _table(
            "raw",
            "-A PREROUTING -s fd00::/8 -j DROP",
            "-A PREROUTING -m rt -j DROP",
            chains=("PREROUTING ACCEPT",),
        )
        + _filter(
            "-A INPUT -p ipv6-icmp -j icmps",
            "-A INPUT -p udp -m udp --dport 5353 -d ff02::fb -j ACCEPT",
            "-A INPUT -p tcp -m tcp --dport 22 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT",
            "-A icmps -m icmp6 -p ipv6-icmp --icmpv6-type 128 -j DROP",
            "-A icmps -m hl ! --hl-eq 255 -j RETURN",
            "-A icmps -j ACCEPT",
            policy="DROP",
            chains=("icmps",),
        ),
    ),
    "each state": (
        FOUR,
        _filter(
            "-A INPUT -m conntrack --ctstate INVALID -j bad",
            "-A INPUT -m conntrack ! --ctstate NEW,INVALID -j ACCEPT",
            "-A INPUT -p tcp -m state --state NEW -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
            "-A INPUT -p tcp -m multiport --dports 22,443 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT",
            "-A INPUT -p udp -m conntrack ! --ctstate NEW -j ACCEPT",
            "-A INPUT -p udp -m ttl --ttl-gt 63 -m conntrack --ctstate NEW -j DROP",
            "-A bad -p tcp -m tcp --tcp-flags RST RST -j RETURN",
            "-A bad -p icmp -m icmp --icmp-type 10 -j ACCEPT",
            "-A bad -j DROP",
            chains=("bad",),
            policy="DROP",
        ),
    ),
    "each state 6": (
        SIX,
        _filter(
            "-A INPUT -p ipv6-icmp -m conntrack --ctstate UNTRACKED -m hl ! --hl-eq 255 -j DROP",
            "-A INPUT -p ipv6-icmp -m state --state INVALID,UNTRACKED -m icmp6 --icmpv6-type 143 -j DROP",
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED,UNTRACKED -j ACCEPT",
            "-A INPUT -m state --state INVALID -j DROP",
            "-A INPUT -m state --state NEW -p tcp -m tcp --dport 80 -j ACCEPT",
            "-A INPUT -p udp -j DROP",
        ),
    ),
}
