"""Where a key may travel in clear, and which names no stranger can have."""

from __future__ import annotations

import pytest

from enricher.settings.types import is_private, is_private_name

PRIVATE_NAMES = (
    *("simulator", "localhost", "LOCALHOST", "localhost.", "enricher", "my_proxy", "db-1"),
    *("proxy.local", "vendors.internal", "enricher.crm.svc", "enricher.crm.svc.cluster.local"),
    *("host.docker.internal", "nas.lan", "proxy.corp", "router.home.arpa", "x.test", "a.localhost"),
)
PUBLIC_NAMES = (
    *(
        "api.hunter.io",
        "evil.example.com",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "com.evil.dev",
    ),
    *("x.co.uk", "10.0.0.1.nip.io", "foo.arpa", "local.com", "internal.acme.com", "API.HUNTER.IO."),
)
NO_NAMES = (
    *("", ".", "..", "-", "a..b", "a b", "a/b", "exämple", "x:1", "[::1]", "127.0.0.1"),
    *("2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "134744072", "a.1"),
)
PRIVATE_ADDRESSES = (
    *(
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.1.1",
        "100.64.0.7",
    ),
    *("::1", "[::1]", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "0.0.0.0"),
)
PUBLIC_ADDRESSES = (
    *("8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "[2606:4700::1111]"),
    *("::ffff:8.8.8.8",),
)


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_a_name_that_no_registry_gives_away_is_private(name: str) -> None:
    assert is_private_name(name) or name == "-"
    assert is_private(name)


@pytest.mark.parametrize("name", [*PUBLIC_NAMES, *(each for each in NO_NAMES if each != "-")])
def test_a_public_name_or_none_at_all_is_not(name: str) -> None:
    assert not is_private_name(name)


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_an_address_of_a_private_network_is_private(address: str) -> None:
    assert is_private(address)
    assert not is_private_name(address)


@pytest.mark.parametrize("address", [*PUBLIC_ADDRESSES, "134744072", "0x08080808", "8.8.2056"])
def test_a_public_address_is_not_whatever_its_spelling(address: str) -> None:
    assert not is_private(address)
