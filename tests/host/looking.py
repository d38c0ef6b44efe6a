"""A look at a namespace of a test, and the commands that change it."""

from __future__ import annotations

from netns import End, NetnsPair
from xdptables.host.facts import HostFacts
from xdptables.host.findings import findings
from xdptables.host.observe import observe

# In a container the processes outside can't be looked into, which is true and found.
OF_THE_MACHINE = {"unscanned-namespaces"}


def look(pair: NetnsPair, end: End | None = None) -> HostFacts:
    end = end or pair.server
    with pair.enter(end):
        return observe(end.ifname)


def ids(host: HostFacts) -> set[str]:
    return {f.id for f in findings(host)} - OF_THE_MACHINE


def run(pair: NetnsPair, command: str) -> None:
    pair.run(pair.server, command.format(dev=pair.server.ifname).split())


def quiet(pair: NetnsPair) -> None:
    run(pair, "ethtool -K {dev} gro off")
