from __future__ import annotations

import dataclasses

import pytest

from xdptables.host.facts import ASSUMPTIONS, HostFacts, InterfaceFacts, NativeTable, PacketSocket

FULL = HostFacts(
    assumed=False,
    interface=InterfaceFacts("eth0", 2, "02:00:00:00:00:01", "veth", ("bridge:br0",), gro=None, rxvlan=False),
    local4=("10.0.0.1/32",),
    local6=("fd00::1/128",),
    native_tables=(NativeTable("inet", "t", ("input",), False, "log", reach="input", helpers=("ftp",)),),
    packet_sockets=(PacketSocket(3, 0, 17, "tcpdump"),),
    helpers=("sysctl",),
    unknown=("tc: no",),
)


@pytest.mark.parametrize("host", [*ASSUMPTIONS.values(), FULL], ids=lambda h: h.label)
def test_round_trip(host: HostFacts) -> None:
    assert HostFacts.from_json(host.to_json()) == host


def test_left_out_fields_keep_their_default() -> None:
    assert HostFacts.from_json('{"forwards4": true}') == dataclasses.replace(HostFacts(), forwards4=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "host: an object is expected, not []"),
        ('{"forwards": true}', "host has no field 'forwards'; it has assumed"),
        ('{"forwards4": 1}', "host.forwards4: true or false is expected, not 1"),
        ('{"local4": "10.0.0.1/32"}', "host.local4: a list is expected"),
        ('{"local4": [4]}', "host.local4[0]: a text is expected, not 4"),
        ('{"local4": ["10.0.0.1/24"]}', "host.local4: 10.0.0.1/24 has host bits set"),
        ('{"local4": ["fd00::1/128"]}', "host.local4: fd00::1/128 is not an IPv4 prefix"),
        ('{"interface": {"ifindex": true}}', "host.interface.ifindex: a whole number is expected, not True"),
        ('{"interface": {"gro": "on"}}', "host.interface.gro: true or false is expected"),
        ('{"interface": {"mac": "eth"}}', "host.interface.mac: 'eth' is not like"),
        ('{"native_tables": [{"family": "ip"}]}', "host.native_tables[0]: missing 1 required"),
        ('{"packet_sockets": [3]}', "host.packet_sockets[0]: an object is expected"),
    ],
)
def test_errors_name_the_place(text: str, message: str) -> None:
    with pytest.raises(ValueError) as e:
        HostFacts.from_json(text)
    assert str(e.value).startswith(message)
