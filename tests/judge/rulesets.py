"""Hand-written rules: each supported match alone, and rulesets where chains, tables and hooks matter."""

from __future__ import annotations

from xdptables.fields import Family

FOUR, SIX = Family.IPV4, Family.IPV6

#: The part of a rule before its target. Each has frames that it matches and frames that it does not.
BOTH = (
    "",
    "-i wan0",
    "! -i wan0",
    "-i wan+",
    "! -i w+",
    "-i lo",
    "! -i lo",
    "-i eth9",
    "-p tcp",
    "! -p tcp",
    "-p udp",
    "-p sctp",
    "-p 33",
    "-p 136",
    "-p 253",
    "! -p 253",
    "-p esp",
    "-p gre",
    "-p tcp -m tcp --dport 22",
    "-p tcp -m tcp ! --dport 22",
    "-p tcp -m tcp --sport 1024:65535",
    "-p tcp -m tcp ! --sport :1023 --dport 80:443",
    "-p tcp -m tcp --dport 65535",
    "-p tcp -m tcp --dport 0",
    "-p udp -m udp --dport 53",
    "-p udp -m udp --sport 53 ! --dport 22",
    "-p sctp -m sctp --dport 443",
    "-p sctp -m sctp ! --sport 1",
    "-p dccp -m dccp --dport 80",
    "-p dccp -m dccp ! --dport 1:100",
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
    "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN",
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE",
    "-p tcp -m tcp --tcp-flags FIN,SYN FIN,SYN",
    "-p tcp -m tcp --tcp-flags SYN,RST SYN,RST",
    "-p tcp -m tcp --tcp-flags ALL FIN,PSH,URG",
    "-p tcp -m tcp --tcp-flags PSH PSH",
    "-p tcp -m multiport --dports 22,80,443",
    "-p tcp -m multiport ! --dports 22,80,443",
    "-p udp -m multiport --sports 53,1000:50000",
    "-p tcp -m multiport --ports 443,1",
    "-p tcp -m multiport ! --ports 22,1",
    "-p sctp -m multiport --dports 22,80",
    "-p udplite -m multiport --dports 22,80",
    "-p dccp -m multiport --ports 22,80",
    "-m mac --mac-source 02:00:00:00:00:77",
    "-m mac ! --mac-source 02:00:00:00:00:77",
    "-m tos --tos 0x10/0xff",
    "-m tos --tos 0x08/0x3f",
    "-m tos ! --tos 0x10/0x10",
    "-m dscp --dscp 0x2e",
    "-m dscp ! --dscp 0x00",
    "-m dscp --dscp-class AF11",
    "-m length --length 0:60",
    "-m length ! --length 100:200",
    "-m length --length 200",
    "-m pkttype --pkt-type unicast",
    "-m pkttype --pkt-type broadcast",
    "-m pkttype --pkt-type multicast",
    "-m pkttype ! --pkt-type unicast",
    "-p esp -m esp --espspi 256:257",
    "-p esp -m esp ! --espspi 256",
    "-m comment --comment anything",
    "-m policy --dir in --pol ipsec",
    "-m policy --dir in --pol none",
)
ONLY4 = (
    "-s 192.0.2.2",
    "! -s 192.0.2.2",
    "-s 10.0.0.0/8",
    "! -s 10.0.0.0/8",
    "-s 198.51.100.0/24 -d 192.0.2.1",
    "-d 192.0.2.1",
    "! -d 192.0.2.1",
    "-d 255.255.255.255",
    "-d 224.0.0.0/4",
    "-d 192.0.2.255",
    "-s 0.0.0.7/0.0.0.255",
    "-s 192.0.0.2/255.0.255.255",
    "-f",
    "! -f",
    "-m ecn --ecn-ip-ect 1",
    "-m ecn ! --ecn-ip-ect 0",
    "-m addrtype --dst-type MULTICAST",
    "-m addrtype --dst-type BROADCAST",
    "-m addrtype --src-type BROADCAST",
    "-m addrtype ! --dst-type MULTICAST",
    "-m addrtype --src-type MULTICAST,BROADCAST",
    "-m addrtype ! --src-type UNICAST",
    "-m addrtype --dst-type LOCAL",
    "-p igmp",
    "-p icmp",
    "-p icmp -m icmp --icmp-type 8",
    "-p icmp -m icmp --icmp-type 3/4",
    "-p icmp -m icmp ! --icmp-type 8",
    "-p icmp -m icmp ! --icmp-type 3/1",
    "-p icmp -m icmp --icmp-type any",
    "-m iprange --src-range 192.0.2.2-192.0.2.100",
    "-m iprange ! --src-range 10.0.0.0-10.255.255.255",
    "-m iprange --src-range 1.0.0.0-100.0.0.0 ! --dst-range 192.0.2.0-192.0.2.1",
    "-m iprange --dst-range 192.0.2.1-192.0.2.1",
    "-m ttl --ttl-eq 64",
    "-m ttl --ttl-lt 64",
    "-m ttl --ttl-gt 64",
    "-m ttl ! --ttl-eq 64",
    "-p ah",
    "-p ah -m ah --ahspi 256",
    "-p ah -m ah ! --ahspi 257:511",
)
ONLY6 = (
    "-s 2001:db8::2",
    "! -s 2001:db8::2",
    "-s 2001:db8::/32",
    "! -s fe80::/10",
    "-d 2001:db8::1",
    "! -d 2001:db8::1",
    "-d ff00::/8",
    "-s ::2/::ffff",
    "-p ipv6-icmp",
    "! -p ipv6-icmp",
    "-p ipv6-icmp -m icmp6 --icmpv6-type 128",
    "-p ipv6-icmp -m icmp6 --icmpv6-type 1/4",
    "-p ipv6-icmp -m icmp6 ! --icmpv6-type 135",
    "-p ipv6-nonxt",
    "-m iprange --src-range 2001:db8::2-2001:db8::100",
    "-m iprange ! --dst-range 2001:db8::1-2001:db8::1",
    "-m hl --hl-eq 64",
    "-m hl --hl-lt 65",
    "-m hl --hl-gt 254",
    "-m hl ! --hl-eq 64",
    "-m ipv6header --header hop-by-hop --soft",
    "-m ipv6header --header ipv6-opts --soft",
    "-m ipv6header ! --header ipv6-route --soft",
    "-m ipv6header ! --header ipv6-route,ipv6-opts --soft",
    "-m ipv6header --header protocol",
    "-m ipv6header ! --header protocol",
    "-m ipv6header --header ipv6-opts,protocol",
    "-m ipv6header --header esp",
    "-m ipv6header --header ipv6-nonxt --soft",
    "-m ipv6header --header ipv6-frag --soft",
    "-m frag --fragid 0:100",
    "-m frag",
    "-m hbh",
    "-m dst",
    "-m rt",
    "-m rt --rt-type 4",
    "-m ah",
    "-m eui64",
)


def single(part: str, family: Family, negative: bool = False) -> str:
    """A filter table in which `part` drops; `negative`: in which it alone is accepted."""
    if negative:
        return f"*filter\n:INPUT DROP\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n-A INPUT {part} -j ACCEPT\nCOMMIT\n"
    return f"*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n-A INPUT {part} -j DROP\nCOMMIT\n"


def parts(family: Family) -> tuple[str, ...]:
    return BOTH + (ONLY4 if family is FOUR else ONLY6)


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


RULESETS: dict[str, tuple[Family, str]] = {
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
}
