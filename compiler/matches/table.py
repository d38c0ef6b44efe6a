"""The match table and the target table: parser, lowering, report and docs all read these.

To add a match: one MatchSpec here, and where its options are not plain sets on fields, one function
in lower.py. What is not in the table is kept as written, and packets that reach it go to netfilter.
"""

from __future__ import annotations

from . import args, lower, lower_host, lower_ipv6, lower_set, lower_state
from .spec import BOTH, V4, V6, Effect, MatchSpec, OptionSpec, TargetKind, TargetSpec

_O = OptionSpec

_SPORT = _O(("--sport", "--source-port"), parse=args.port_range, field="sport")
_DPORT = _O(("--dport", "--destination-port"), parse=args.port_range, field="dport")


def _ports(name: str, number: int, *more: OptionSpec) -> MatchSpec:
    return MatchSpec(
        name, (_SPORT, _DPORT, *more), protocols=frozenset({number}), lower=lower.protocol_ports(number),
        doc="ports and port ranges",
    )  # fmt: skip


def _remembers(name: str, why: str, conntrack: bool = False) -> MatchSpec:
    return MatchSpec(name, effect=Effect.REMEMBERS, reads_conntrack=conntrack, maybe_because=why, doc=why)


def _maybe(name: str, why: str, conntrack: bool = False) -> MatchSpec:
    return MatchSpec(name, reads_conntrack=conntrack, maybe_because=why, doc=why)


_PORT_LISTS = (
    _O(("--sports", "--source-ports"), parse=args.port_list),
    _O(("--dports", "--destination-ports"), parse=args.port_list),
    _O(("--ports",), parse=args.port_list),
)

_STATE = "states of packets that conntrack does not know, TCP and UDP; maybe otherwise"

_KNOWN = (
    MatchSpec("ip", (
        _O(("-s", "--source", "--src"), parse=args.address),
        _O(("-d", "--destination", "--dst"), parse=args.address),
        _O(("-p", "--protocol", "--proto"), parse=args.protocol),
        _O(("-i", "--in-interface"), parse=args.text),
        _O(("-o", "--out-interface"), parse=args.text),
        _O(("-f", "--fragment"), args=(0, 0)),
    ), lower=lower.header, doc="addresses, protocol, interfaces, fragments"),
    MatchSpec("tcp", (
        _SPORT, _DPORT,
        _O(("--tcp-flags",), args=(2, 2), parse=args.tcp_flags),
        _O(("--syn",), args=(0, 0)),
        _O(("--tcp-option",), parse=args.number_to(255)),
    ), protocols=frozenset({6}), lower=lower.tcp, doc="ports, flags; options are maybe"),
    MatchSpec("tcpmss", (_O(("--mss",), parse=args.number_range(65535)),), protocols=frozenset({6}),
              lower=lower.tcpmss, doc="the MSS, where it is the first option, or there is none"),
    _ports("udp", 17),
    _ports("udplite", 136),
    _ports("sctp", 132, _O(("--chunk-types",), args=(2, 2))),
    _ports("dccp", 33, _O(("--dccp-types",)), _O(("--dccp-option",))),
    MatchSpec("multiport", _PORT_LISTS, protocols=frozenset({6, 17, 33, 132, 136}), lower=lower.multiport,
              doc="lists of ports"),
    MatchSpec("icmp", (_O(("--icmp-type",), parse=args.icmp),), V4, frozenset({1}), lower=lower.icmp,
              doc="type and code"),
    MatchSpec("icmp6", (_O(("--icmpv6-type", "--icmp6-type"), parse=args.icmp),), V6, frozenset({58}),
              lower=lower.icmp, doc="type and code"),
    MatchSpec("iprange", (
        _O(("--src-range",), parse=args.address_range, field="src"),
        _O(("--dst-range",), parse=args.address_range, field="dst"),
    ), doc="address ranges"),
    MatchSpec("mac", (_O(("--mac-source",), parse=args.mac, field="mac_src"),), doc="Ethernet source"),
    MatchSpec("ttl", tuple(_O((f"--ttl-{n}",), parse=args.number_to(255)) for n in ("eq", "lt", "gt")), V4,
              lower=lower.ttl, doc="time to live"),
    MatchSpec("hl", tuple(_O((f"--hl-{n}",), parse=args.number_to(255)) for n in ("eq", "lt", "gt")), V6,
              lower=lower.ttl, doc="hop limit"),
    MatchSpec("tos", (_O(("--tos",), parse=args.tos),), lower=lower.tos, doc="TOS byte under a mask"),
    MatchSpec("dscp", (
        _O(("--dscp",), parse=args.dscp), _O(("--dscp-class",), parse=args.dscp_class),
    ), lower=lower.dscp, doc="DSCP value or class"),
    MatchSpec("ecn", (
        _O(("--ecn-tcp-cwr",), args=(0, 0)), _O(("--ecn-tcp-ece",), args=(0, 0)),
        _O(("--ecn-ip-ect",), parse=args.number_to(3)),
    ), lower=lower.ecn, doc="ECN bits of IP; those of TCP are maybe"),
    MatchSpec("length", (_O(("--length",), parse=args.number_range(65535), field="length"),),
              doc="IP total length; maybe where GRO is on"),
    MatchSpec("pkttype", (_O(("--pkt-type",), parse=args.pkt_type),), lower=lower.pkttype,
              doc="link-layer type"),
    MatchSpec("addrtype", (
        _O(("--src-type",)), _O(("--dst-type",)),
        _O(("--limit-iface-in",), args=(0, 0)), _O(("--limit-iface-out",), args=(0, 0)),
    ), facts=lower_host.ADDRESS_FACTS, lower=lower_host.addrtype,
              doc="by the host's own addresses; where those are not known, classes fixed by the address"),
    MatchSpec("comment", (_O(("--comment",)),), lower=lower.comment, doc="no test"),
    MatchSpec("ah", (_O(("--ahspi",), parse=args.number_range(0xFFFFFFFF), field="spi"),
                     _O(("--ahlen",)), _O(("--ahres",), args=(0, 0))), lower=lower.spi, doc="SPI"),
    MatchSpec("esp", (_O(("--espspi",), parse=args.number_range(0xFFFFFFFF), field="spi"),),
              protocols=frozenset({50}), lower=lower.spi, doc="SPI"),
    MatchSpec("hbh", (_O(("--hbh-len",)), _O(("--hbh-opts",))), V6, lower=lower_ipv6.hbh, doc="presence"),
    MatchSpec("dst", (_O(("--dst-len",)), _O(("--dst-opts",))), V6, lower=lower_ipv6.dst, doc="presence"),
    MatchSpec("rt", (
        _O(("--rt-type",)), _O(("--rt-segsleft",)), _O(("--rt-len",)), _O(("--rt-0-res",), args=(0, 0)),
        _O(("--rt-0-addrs",)), _O(("--rt-0-not-strict",), args=(0, 0)),
    ), V6, lower=lower_ipv6.rt, doc="presence"),
    MatchSpec("ipv6header", (
        _O(("--header",)), _O(("--soft",), args=(0, 0), negatable=False),
    ), V6, lower=lower_ipv6.ipv6header, doc="the set of headers, also --soft"),
    MatchSpec("frag", (
        _O(("--fragid",)), _O(("--fraglen",)),
        *(_O((f"--frag{n}",), args=(0, 0)) for n in ("res", "first", "more", "last")),
    ), V6, lower=lower_ipv6.frag, doc="never in a whole packet; maybe in a fragment"),
    MatchSpec("policy", (
        _O(("--dir",)), _O(("--pol",)), _O(("--strict",), args=(0, 0)), _O(("--reqid",)), _O(("--spi",)),
        _O(("--proto",)), _O(("--mode",)), _O(("--tunnel-src",)), _O(("--tunnel-dst",)),
        _O(("--next",), args=(0, 0)),
    ), facts=frozenset({"ipsec"}), lower=lower.policy, doc="--dir in --pol ipsec or none; the rest is maybe"),
    MatchSpec("set", (
        _O(("--match-set", "--set"), args=(2, 2)), _O(("--return-nomatch",), args=(0, 0)),
        _O(("--update-counters",), args=(0, 0)), _O(("--update-subcounters",), args=(0, 0)),
        *(_O((f"--{what}-{how}",)) for what in ("packets", "bytes") for how in ("eq", "lt", "gt")),
    ), trace=lower_set.counted, lower=lower_set.set_match,
              doc="known sets of most types; what expires is maybe, what counts remembers"),
    MatchSpec("recent", trace=lower_host.writes_recent, lower=lower_host.recent,
              doc="--rcheck without --reap is maybe; the rest remembers addresses"),
    MatchSpec("statistic", trace=lower_host.counts_packets, lower=lower_host.statistic,
              doc="--mode random is maybe; the rest counts packets"),
    MatchSpec("mark", (_O(("--mark",), parse=args.mark),), facts=frozenset({"ipsec"}), lower=lower_host.mark,
              doc="0 on a NIC, until a rule or a program before may have set one"),
    MatchSpec("physdev", (
        _O(("--physdev-in",)), _O(("--physdev-out",)),
        *(_O((f"--physdev-is-{n}",), args=(0, 0)) for n in ("in", "out", "bridged")),
    ), lower=lower_host.physdev, doc="no packet of a bridge comes in by another interface"),
    MatchSpec("state", (_O(("--state",), parse=args.ct_states),), reads_conntrack=True,
              lower=lower_state.state, doc=_STATE),
    MatchSpec("conntrack", (
        _O(("--ctstate",), parse=args.ct_states), _O(("--ctproto",)), _O(("--ctorigsrc",)),
        _O(("--ctorigdst",)),
        _O(("--ctreplsrc",)), _O(("--ctrepldst",)), _O(("--ctorigsrcport",)), _O(("--ctorigdstport",)),
        _O(("--ctreplsrcport",)), _O(("--ctrepldstport",)), _O(("--ctstatus",)), _O(("--ctexpire",)),
        _O(("--ctdir",)),
    ), reads_conntrack=True, lower=lower_state.state, doc=_STATE + "; other options are maybe"),
    MatchSpec("connmark", (_O(("--mark",)),), reads_conntrack=True, maybe_because="connection mark",
              doc="connection mark"),
    _maybe("connbytes", "connection counters", conntrack=True),
    _maybe("connlabel", "connection labels", conntrack=True),
    _maybe("helper", "connection helper", conntrack=True),
    _maybe("cluster", "connection hash", conntrack=True),
    _maybe("u32", "bytes chosen by an expression"),
    MatchSpec("bpf", trace=lower_host.runs_program, maybe_because="a BPF program of its own",
              doc="a BPF program of its own; one that is pinned may remember"),
    _maybe("string", "payload contents"),
    _maybe("time", "the time of day"),
    _maybe("owner", "the local socket"),
    MatchSpec("socket", maybe_because="the local socket", changes=frozenset({"mark"}),
              doc="the local socket; --restore-skmark gives the packet its mark"),
    _maybe("cgroup", "the local socket"),
    _maybe("realm", "the route's realm"),
    _maybe("rpfilter", "the reverse path"),
    _maybe("ipvs", "IPVS connection"),
    _maybe("cpu", "the CPU that handles the packet"),
    _maybe("devgroup", "the interface's group"),
    _maybe("mh", "mobility headers"),
    _maybe("srh", "segment routing headers"),
    _maybe("eui64", "an address made from the MAC"),
    _maybe("ipcomp", "IPComp's CPI"),
    MatchSpec("limit", (
        _O(("--limit",), parse=args.rate, negatable=False),
        _O(("--limit-burst",), parse=args.number_to(10000), negatable=False),
    ), effect=Effect.REMEMBERS, maybe_because="counts packets",
        doc="counts packets; before LOG alone, packets may pass on a budget (--log-budget)"),
    _remembers("hashlimit", "counts packets by source or destination"),
    _remembers("connlimit", "counts connections", conntrack=True),
    _remembers("quota", "counts bytes"),
    _remembers("rateest", "reads a running estimate"),
    _remembers("nfacct", "accounts packets"),
    _remembers("osf", "may log the system it recognises"),
)  # fmt: skip

MATCHES: dict[str, MatchSpec] = {spec.name: spec for spec in _KNOWN}


def _effect(name: str, doc: str, conntrack: bool = False) -> TargetSpec:
    return TargetSpec(name, TargetKind.EFFECT, uses_conntrack=conntrack, doc=doc)


def _changes(name: str, *fields: str, conntrack: bool = False) -> TargetSpec:
    doc = f"changes {', '.join(fields)}" if fields else "changes only the packet"
    return TargetSpec(name, TargetKind.CONTINUE, changes=frozenset(fields), uses_conntrack=conntrack, doc=doc)


def _nat(name: str) -> TargetSpec:
    return TargetSpec(name, TargetKind.NAT, uses_conntrack=True, doc="rewrites addresses or ports")


_TARGETS = (
    TargetSpec("ACCEPT", TargetKind.VERDICT, doc="ends this table's base chain"),
    TargetSpec("DROP", TargetKind.VERDICT, doc="final"),
    TargetSpec("RETURN", TargetKind.VERDICT, doc="back to the calling chain, or the policy"),
    TargetSpec("REJECT", TargetKind.REJECT, (_O(("--reject-with",)),),
               doc="DROP where the kernel sends no reply; else left to netfilter, or on a budget "
                   "(--reject-budget)"),
    *(_changes(n, "mark") for n in ("MARK", "HMARK")),
    TargetSpec("CONNMARK", TargetKind.EFFECT, (
        _O(("--restore-mark",), args=(0, 0)), _O(("--save-mark",), args=(0, 0)), _O(("--set-mark",)),
        _O(("--set-xmark",)), _O(("--and-mark",)), _O(("--or-mark",)), _O(("--xor-mark",)), _O(("--mask",)),
        _O(("--nfmask",)), _O(("--ctmask",)), _O(("--left-shift-mark",)), _O(("--right-shift-mark",)),
    ), harmless_with="--restore-mark", writes_connection=True, changes=frozenset({"mark"}),
        uses_conntrack=True,
        doc="--restore-mark changes the packet's mark; the rest writes to the connection, if there is one"),
    _changes("DSCP", "tos"), _changes("TOS", "tos"), _changes("ECN", "tos", "tcp_flags"),
    _changes("TTL", "ttl"), _changes("HL", "ttl"),
    _changes("CLASSIFY"), _changes("CHECKSUM"), _changes("TCPMSS", "length", "mss"),
    _changes("TCPOPTSTRIP", "mss"),
    *(_nat(n) for n in ("DNAT", "SNAT", "REDIRECT", "MASQUERADE", "NETMAP", "TPROXY", "DNPT", "SNPT")),
    TargetSpec("CT", TargetKind.EFFECT, (
        _O(("--notrack",), args=(0, 0)), _O(("--helper",)), _O(("--zone",)), _O(("--zone-orig",)),
        _O(("--zone-reply",)), _O(("--ctevents",)), _O(("--expevents",)), _O(("--timeout",)),
    ), harmless_with="--notrack", uses_conntrack=True,
        doc="--notrack: untracked; the rest is left to netfilter"),
    TargetSpec("NOTRACK", TargetKind.CONTINUE, uses_conntrack=True, doc="untracked"),
    *(_effect(n, "leaves a log line or a trace") for n in ("LOG", "NFLOG", "ULOG", "AUDIT", "TRACE")),
    *(_effect(n, "an effect that outlives the packet") for n in
      ("SET", "TEE", "NFQUEUE", "QUEUE", "TARPIT", "RATEEST", "IDLETIMER", "LED", "CLUSTERIP", "SECMARK")),
    TargetSpec("CONNSECMARK", TargetKind.EFFECT, uses_conntrack=True, writes_connection=True,
               doc="writes to the connection, if there is one"),
    _effect("SYNPROXY", "answers the handshake", conntrack=True),
)  # fmt: skip

TARGETS: dict[str, TargetSpec] = {spec.name: spec for spec in _TARGETS}


__all__ = ["BOTH", "MATCHES", "TARGETS"]
