"""The host that the user means: assumed, or from a file."""

from __future__ import annotations

import dataclasses

from ..host.facts import ASSUMPTIONS, HostFacts
from ..host.ipsets import read_ipsets
from ..source import UserError
from .inputs import read_source


def host_of(
    assume: str, host_file: str | None, interface: str | None, ipset_file: str | None = None
) -> HostFacts:
    if host_file:
        try:
            host = HostFacts.from_json(read_source(host_file).text)
        except ValueError as e:
            raise UserError(f"{host_file}: {e}", "`xdptables host` prints such a file") from e
    else:
        host = ASSUMPTIONS[assume]
    if ipset_file:
        host = dataclasses.replace(host, ipsets=read_ipsets(read_source(ipset_file)))
    if interface:
        host = dataclasses.replace(host, interface=dataclasses.replace(host.interface, name=interface))
    return host
