"""The words for a packet: `tcp 203.0.113.9:4444 > 192.0.2.1:22 syn`.

    PROTOCOL SOURCE > DESTINATION WORD…

PROTOCOL: tcp, udp, icmp, … or `proto 47`. SOURCE, DESTINATION: an address, with `:port` where the protocol
has ports (a number or a service; IPv6 in brackets then), `me` for the host, `any` for another. The words:
`WORDS` below. What `xdptables verify` prints is written in it. A frame as hex digits is taken as it is, an IP
packet gets an Ethernet header; with the offsets that tcpdump -x prints before each line, or without.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from ..fields import Family
from ..reference.connection import State
from ..reference.packet import Unreadable, parse
from ..rules.names import service_port
from ..source import Diagnostic, InputError, Source, Span
from ..verify.build import Spec, build
from ..verify.model import Place
from ..verify.readable import FLAG_BITS, PROTOCOLS
from .pcap import with_ethernet

WITH_PORTS = frozenset({6, 17, 33, 132, 136})
ICMP_TYPES = {
    Family.IPV4: {"echo-reply": 0, "unreachable": 3, "redirect": 5, "echo-request": 8, "ping": 8,
                  "router-advertisement": 9, "time-exceeded": 11, "timestamp": 13},
    Family.IPV6: {"unreachable": 1, "too-big": 2, "time-exceeded": 3, "echo-request": 128, "ping": 128,
                  "echo-reply": 129, "router-solicitation": 133, "router-advertisement": 134,
                  "neighbour-solicitation": 135, "neighbour-advertisement": 136, "redirect": 137},
}  # fmt: skip
#: word -> the bound of the number behind it
_NUMBERS = {"ttl": 255, "tos": 255, "dscp": 63, "length": 1500, "sport": 65535, "dport": 65535,
            "spi": 0xFFFFFFFF, "flags": 255, "type": 255}  # fmt: skip
#: word -> what it sets
_PLAIN: dict[str, Spec] = {
    "broadcast": {"pkttype": 1}, "multicast": {"pkttype": 2}, "options": {"options": 1},
    "noflags": {"tcp_flags": 0}, "hopopts": {"exthdr": 1}, "routing": {"exthdr": 2},
    "dstopts": {"exthdr": 4}, "data": {},
}  # fmt: skip
_NEEDS_PORTS = ("this protocol has no ports", "leave out the part behind the colon")
_WHOLE = "give all of its bytes, as `tcpdump -xx` prints them"
_STATES = {s.value.lower(): s for s in State if s not in (State.BEFORE, State.UNKNOWN)}
WORDS = (
    "syn, ack, fin, rst, psh, urg, ece, cwr (joined by +), noflags, flags N, data, type N or N/N or a name, "
    "ttl N, tos N, dscp N, length N, spi N, mac AA:BB:…, fragment first or later, options, hopopts, routing, "
    "dstopts, broadcast, multicast, state new, established, related, invalid or untracked"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """`state`: what the user says the packet counts as; None: not said."""

    frame: bytes
    state: State | None = None


def read_packet(text: str, place: Place, family: Family = Family.IPV4) -> Asked:
    """Raises InputError, with the place of the first word that is wrong. `family`: where no word tells."""
    bare = re.sub(r"\s|:", "", re.sub(r"0x[0-9a-fA-F]{4}:|^0x", "", text))
    if len(bare) >= 4 and re.fullmatch(r"[0-9a-fA-F]+", bare):
        return Asked(_frame(bare, text))
    return _Reader(text, place, family).read()


def _frame(digits: str, text: str) -> bytes:
    problem = ""
    if len(digits) % 2:
        problem = f"{len(digits)} hex digits are no whole bytes"
    elif len(digits) < 28:
        problem = f"{len(digits) // 2} bytes are no frame: an Ethernet header alone has 14"
    if problem:
        raise InputError([Diagnostic(Span(Source("packet", text), 1, 1, len(text) + 1), problem, _WHOLE)])
    data = bytes.fromhex(digits)
    if data[0] >> 4 == 4 and int.from_bytes(data[2:4]) == len(data):
        return with_ethernet(data)
    if data[0] >> 4 == 6 and int.from_bytes(data[4:6]) + 40 == len(data):
        return with_ethernet(data)
    return data


class _Reader:
    def __init__(self, text: str, place: Place, family: Family) -> None:
        self.source = Source("packet", text)
        self.place, self.usual = place, family
        self.words = [(m[0], m.start() + 1) for m in re.finditer(r">|[^\s>]+", text)]
        self.at = 0
        self.spec: Spec = {}
        self.family: Family | None = None
        self.state: State | None = None

    def fail(self, message: str, hint: str = "", back: int = 1) -> InputError:
        """At the word read last, or behind the end."""
        index = self.at - back
        if 0 <= index < len(self.words):
            word, column = self.words[index]
        else:
            word, column = "", len(self.source.text.rstrip()) + 1
        span = Span(self.source, 1, column, column + max(len(word), 1))
        return InputError([Diagnostic(span, message, hint)])

    def next(self, expected: str, hint: str = "") -> str:
        self.at += 1
        if self.at > len(self.words):
            raise self.fail(f"{expected} is missing here", hint)
        return self.words[self.at - 1][0].lower()

    def read(self) -> Asked:
        proto = self._protocol()
        self._end("src", proto)
        if self.next("`>`", "SOURCE > DESTINATION") != ">":
            raise self.fail("`>` is expected here", "tcp 203.0.113.9:4444 > 192.0.2.1:22 syn")
        self._end("dst", proto)
        family = self.family or {1: Family.IPV4, 58: Family.IPV6}.get(proto, self.usual)
        named = self.words[0][0].lower() != "proto"
        if named and proto in (1, 58) and family is not (Family.IPV4 if proto == 1 else Family.IPV6):
            raise self.fail("icmp goes with IPv4, icmp6 with IPv6", "icmp6 2001:db8::2 > 2001:db8::1")
        self.spec["proto"] = proto
        while self.at < len(self.words):
            self._word(family, proto)
        if self.spec.pop("data", 0) and proto == 6:
            self.spec["tcp_flags"] = self.spec.get("tcp_flags", 0x10) | 0x100
        frame = build(family, self.spec, self.place)
        self._check_length(frame, proto)
        return Asked(frame, self.state)

    def _protocol(self) -> int:
        word = self.next("a protocol", "tcp 203.0.113.9:4444 > 192.0.2.1:22 syn")
        if word == "proto":
            return self._number("proto", 255)
        if word in ("ipv6-icmp", "icmpv6"):
            word = "icmp6"
        if word not in PROTOCOLS:
            hint = f"one of {', '.join(PROTOCOLS)}, or `proto N`, or a whole frame as hex digits"
            raise self.fail(f"{word!r} is no protocol", hint)
        return PROTOCOLS[word]

    def _end(self, name: str, proto: int) -> None:
        word = self.next("an address", "an address, `me` or `any`, with `:port` if the protocol has ports")
        bracket = re.fullmatch(r"\[(.*)\](?::(.*))?", word)
        if bracket:
            address, port = bracket[1], bracket[2]
        elif word.count(":") > 1:  # a bare IPv6 address
            address, port = word, None
            self._unlike_a_port(word, proto)
        else:
            address, _, rest = word.partition(":")
            port = rest if ":" in word else None
        self._address(name, address)
        if port is None:
            return
        if proto not in WITH_PORTS:
            raise self.fail(*_NEEDS_PORTS)
        try:
            number = service_port(port)
        except (ValueError, LookupError) as e:
            raise self.fail(f"{port!r} is no port", "a number from 0 to 65535, or a service: ssh") from e
        self.spec["sport" if name == "src" else "dport"] = number

    def _unlike_a_port(self, word: str, proto: int) -> None:
        """2001:db8::2:22 is an address; whoever writes it for tcp is more likely to mean a port."""
        front, _, last = word.rpartition(":")
        fragment = any(w.lower() == "fragment" for w, _ in self.words)  # has no ports
        if proto not in WITH_PORTS or fragment or not last.isdigit():
            return
        try:
            ipaddress.IPv6Address(front)
        except ValueError:
            return
        hint = f"[{front}]:{last} has port {last}, [{word}] has none"
        raise self.fail(f"{word!r} may be an address, or one with a port", hint)

    def _address(self, name: str, text: str) -> None:
        if text in ("me", "any"):
            mine = text == "me"
            if self.family is Family.IPV6:
                value = self.place.own6 if mine else self.place.peer6
            elif self.family is Family.IPV4:
                value = self.place.own4 if mine else self.place.peer4
            else:
                return  # the usual ones, of whichever family it is
            self.spec[name] = int(ipaddress.ip_address(value))
            return
        try:
            address = ipaddress.ip_address(text)
        except ValueError as e:
            hint = "203.0.113.9, 203.0.113.9:4444, 2001:db8::1 or [2001:db8::1]:22, `me`, `any`"
            raise self.fail(f"{text!r} is no address", hint) from e
        family = Family.IPV4 if address.version == 4 else Family.IPV6
        if self.family not in (None, family):
            raise self.fail("the two addresses are of different families", "both IPv4, or both IPv6")
        self.family = family
        self.spec[name] = int(address)

    def _number(self, name: str, most: int) -> int:
        word = self.next("a number", f"{name} takes a number from 0 to {most}")
        try:
            value = int(word, 0)
        except ValueError:
            value = -1
        if not 0 <= value <= most:
            raise self.fail(f"{word!r} is not a number from 0 to {most}", f"`{name}` takes one")
        return value

    def _word(self, family: Family, proto: int) -> None:
        word = self.next("a word")
        self._fits(word, family, proto)
        parts = re.split(r"[+,]", word)
        if all(p in FLAG_BITS for p in parts):
            self.spec["tcp_flags"] = self.spec.get("tcp_flags", 0) | sum(FLAG_BITS[p] for p in set(parts))
        elif word == "type":
            self._icmp(family, proto)
        elif word in _NUMBERS:
            name = {"flags": "tcp_flags", "dscp": "tos"}.get(word, word)
            self.spec[name] = self._number(word, _NUMBERS[word]) << (2 if word == "dscp" else 0)
        elif word in _PLAIN:
            for name, value in _PLAIN[word].items():
                self.spec[name] = self.spec.get(name, 0) | value
            if word == "data":
                self.spec["data"] = 1
        elif word == "mac":
            text = self.next("a MAC address")
            if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
                raise self.fail(f"{text!r} is no MAC address", "mac 02:00:00:00:00:77")
            self.spec["mac_src"] = int(text.replace(":", ""), 16)
        elif word == "fragment":
            which = self.next("`first` or `later`", "fragment first, or fragment later")
            if which not in ("first", "later"):
                raise self.fail(f"{which!r} is no part of a datagram", "fragment first, or fragment later")
            self.spec["fragment"] = 1 if which == "first" else 2
        elif word == "state":
            text = self.next("a state", f"one of {', '.join(_STATES)}")
            if text not in _STATES:
                raise self.fail(f"{text!r} is no connection state", f"one of {', '.join(_STATES)}")
            self.state = _STATES[text]
        else:
            raise self.fail(f"{word!r} is not known here", WORDS)

    def _icmp(self, family: Family, proto: int) -> None:
        if proto not in (1, 58):
            raise self.fail("only icmp and icmp6 have a type", "leave it out")
        word = self.next("a type", "type 8, type 3/4 or type ping")
        kind, _, code = word.partition("/")
        names = ICMP_TYPES[Family.IPV4 if proto == 1 else Family.IPV6]
        if kind in names:
            kind = str(names[kind])
        if not kind.isdigit() or int(kind) > 255 or (code and (not code.isdigit() or int(code) > 255)):
            raise self.fail(f"{word!r} is no ICMP type", f"N, N/N, or one of {', '.join(names)}")
        self.spec["icmp"] = int(kind) << 8 | int(code or 0)

    def _fits(self, word: str, family: Family, proto: int) -> None:
        """Whether such a packet can have what the word read last says."""
        if proto != 6 and (word in ("flags", "noflags") or re.split(r"[+,]", word)[0] in FLAG_BITS):
            raise self.fail("only tcp has flags", "leave them out")
        if word in ("sport", "dport") and proto not in WITH_PORTS:
            raise self.fail(_NEEDS_PORTS[0], "leave it out")
        if word == "spi" and proto not in (50, 51):
            raise self.fail("only esp and ah have an SPI", "leave it out")
        if word in ("hopopts", "routing", "dstopts") and family is Family.IPV4:
            raise self.fail("IPv4 has no extension headers", "`options` are its own")
        if word == "options" and family is Family.IPV6:
            raise self.fail("IPv6 has no such options", "hopopts, routing and dstopts are its headers")

    def _check_length(self, frame: bytes, proto: int) -> None:
        """The headers win over a length that does not hold them: better not in silence."""
        asked = self.spec.get("length")
        if asked is None or proto not in (6, 17) or self.spec.get("fragment"):
            return
        try:
            length = parse(frame).length
        except Unreadable:
            return
        if length > asked:
            words = [w.lower() for w, _ in self.words]
            back = self.at - 1 - words.index("length")
            raise self.fail(f"its headers alone have {length} bytes", "give a larger length, or none", back)
