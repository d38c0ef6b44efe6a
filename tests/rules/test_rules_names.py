"""Names resolve to what the kernel headers and iptables' extensions define."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdptables.fields import Family
from xdptables.intervals import IntervalSet
from xdptables.matches import args
from xdptables.rules import names


def test_protocols_services_and_icmp():
    assert names.protocol_number("tcp") == 6 and names.protocol_number("47") == 47
    assert names.service_port("ssh") == 22 and names.service_port("8080") == 8080
    assert names.icmp_types("3/4", Family.IPV4) == IntervalSet.of(0x304)
    assert names.icmp_types("echo-request", Family.IPV6) == IntervalSet.range(0x8000, 0x80FF)
    assert names.DSCP_CLASSES["AF41"] == 0x22


@pytest.mark.parametrize("text", ["-1", "65536"])
def test_ports_out_of_range(text):
    with pytest.raises(ValueError, match="65535"):
        names.service_port(text)


def test_addresses():
    v4 = Family.IPV4
    assert args.address(("10.11.12.13/255.0.0.0",), v4) == IntervalSet.range(0x0A000000, 0x0AFFFFFF)
    assert args.address(("10.8",), v4) == IntervalSet.of(0x0A080000)
    assert len(args.address(("10.11.12.13/255.0.255.0",), v4).pairs) == 256
    with pytest.raises(LookupError):
        args.address(("www.example.org",), v4)
    with pytest.raises(ValueError, match="over 32"):
        args.address(("10.0.0.0/33",), v4)


SETS = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255))).map(IntervalSet.union_of)


@given(SETS, SETS)
def test_interval_algebra_is_that_of_sets(a, b):
    def values(s):
        return {v for lo, hi in s for v in range(lo, hi + 1)}

    assert values(a | b) == values(a) | values(b)
    assert values(a & b) == values(a) & values(b)
    assert values(a - b) == values(a) - values(b)
    assert values(a.complement(8)) == set(range(256)) - values(a)
    assert (a <= b) == (values(a) <= values(b))


@given(st.integers(0, 255), st.integers(0, 255))
def test_masked_is_the_mask_test(value, mask):
    got = IntervalSet.masked(value & mask, mask, 8)
    assert all((x in got) == (x & mask == value & mask) for x in range(256))
