"""The rule of where steps may call: by address, however it is written."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from runtime.model.errors import SetupError
from runtime.transport.egress import EgressRule

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "fec0::1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str):
    assert not EgressRule().permits("name.example", 443, ip_address(address))
    assert EgressRule().permits_literal(address, 443) is False


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str):
    assert EgressRule().permits("name.example", 443, ip_address(address))
    assert EgressRule().permits_literal(address, 443) is True


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "127.0.0.1.", "1.1.1.0x1", "a:b"],
)
def test_odd_spellings_of_an_address_are_refused_even_when_loopback_is_allowed(host: str):
    assert EgressRule(["127.0.0.0/8", host.replace("a:b", "a")]).permits_literal(host, 80) is False


@pytest.mark.parametrize("host", ["example.org", "1password.com", "x1.0y", "localhost", "a.b.c1"])
def test_names_are_left_to_the_resolver(host: str):
    assert EgressRule().permits_literal(host, 80) is None


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "permitted"),
    [
        ("10.0.0.0/8", "db", 80, "10.1.2.3", True),
        ("10.0.0.0/8", "db", 80, "11.1.2.3", True),
        ("10.0.0.0/8", "db", 80, "192.168.0.1", False),
        ("10.0.0.0/8", "db", 80, "::ffff:10.0.0.1", True),
        ("10.1.2.3", "db", 80, "10.1.2.3", True),
        ("10.1.2.3", "db", 80, "10.1.2.4", False),
        ("10.1.2.3:8080", "db", 8080, "10.1.2.3", True),
        ("10.1.2.3:8080", "db", 80, "10.1.2.3", False),
        ("::1", "me", 80, "::1", True),
        ("[::1]:8080", "me", 8080, "::1", True),
        ("[::1]:8080", "me", 80, "::1", False),
        ("fd00::/8", "me", 80, "fd12::1", True),
        ("127.0.0.0/8", "me", 80, "0.0.0.0", False),
        ("localhost", "localhost", 80, "127.0.0.1", True),
        ("localhost", "LOCALHOST.", 80, "127.0.0.1", True),
        ("localhost", "other", 80, "127.0.0.1", False),
        ("localhost:8900", "localhost", 8900, "::1", True),
        ("localhost:8900", "localhost", 80, "::1", False),
        ("*.internal", "db.internal", 5432, "10.0.0.1", True),
        ("*.internal", "internal", 5432, "10.0.0.1", False),
        ("*.internal", "db.internal.evil.org", 5432, "10.0.0.1", False),
        ("*", "any", 80, "10.0.0.1", True),
    ],
)
def test_entries_allow_networks_addresses_and_names(
    entry: str, host: str, port: int, address: str, permitted: bool
):
    assert EgressRule([entry]).permits(host, port, ip_address(address)) is permitted


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254"])
def test_a_name_never_opens_the_metadata_service_and_an_address_does(address: str):
    assert not EgressRule(["*"]).permits("metadata", 80, ip_address(address))
    assert EgressRule([address]).permits("metadata", 80, ip_address(address))


@pytest.mark.parametrize("entry", ["", "http://x", "10.0.0.0/99", "a b", "x/y", "host:"])
def test_an_entry_that_means_nothing_is_refused_by_name(entry: str):
    with pytest.raises(SetupError, match="is no place that steps may be allowed to call"):
        EgressRule([entry])
