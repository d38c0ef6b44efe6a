"""The host that the user means: assumed, or from a file."""

from __future__ import annotations

import dataclasses

from ..host.facts import ASSUMPTIONS, HostFacts
from ..host.ipsets import read_ipsets
from ..source import UserError
from .inputs import read_source

_SETS = "give what `ipset save` prints"
_HOST = "give what `xdptables host INTERFACE` prints"


def host_of(
    assume: str, host_file: str | None, interface: str | None, ipset_file: str | None = None
) -> HostFacts:
    if host_file:
        try:
            host = HostFacts.from_json(read_source(host_file, _HOST).text)
        except ValueError as e:
            raise UserError(f"{host_file}: {e}", _HOST) from e
    else:
        host = ASSUMPTIONS[assume]
    if ipset_file:
        host = dataclasses.replace(host, ipsets=read_ipsets(read_source(ipset_file, _SETS)))
    if interface:
        host = dataclasses.replace(host, interface=dataclasses.replace(host.interface, name=interface))
    return host
