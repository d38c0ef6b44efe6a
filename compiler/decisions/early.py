"""What GRO takes for itself: such packets cross no hook as they are on the wire."""

from __future__ import annotations

from ..host.facts import HostFacts
from ..intervals import IntervalSet
from ..matches.condition import Region
from ..matches.lower import ESP, UDP
from ..matches.view import View

#: Where IPsec hides ESP in UDP, unless told otherwise.
NAT_TRAVERSAL = 4500
WHY = "IPsec with GRO: ESP of a known state is decrypted before any rule sees it (esp4_offload, esp6_offload)"


def taken_early(view: View, host: HostFacts) -> Region:
    """esp4_gro_receive takes the ESP that it has a state for, and since Linux 6.10 the ESP in UDP of sockets
    that ask for it: a rule that drops ESP does not stop it. Not in fragments, which GRO leaves alone."""
    if not host.ipsec or host.interface.gro is False or view.kind.is_fragment:
        return ()
    ports = IntervalSet.of(NAT_TRAVERSAL, *host.esp_ports)
    hidden = view.test("proto", IntervalSet.of(UDP)) & view.test("dport", ports)
    return (*view.test("proto", IntervalSet.of(ESP)).may, *hidden.may)
