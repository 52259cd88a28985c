"""Profiles and web sites in the spellings in which vendors write them."""

from __future__ import annotations

import pytest

from enricher.providers import reading
from enricher.values.types import NETWORKS, handle_of
from tests.support.bodies import ODD


@pytest.mark.parametrize(
    ("network", "address", "handle"),
    [
        ("linkedin", "linkedin.com/company/acme", "company/acme"),
        ("linkedin", "http://www.linkedin.com/company/acme/about/", "company/acme"),
        ("linkedin", "https://uk.linkedin.com/in/pat-example?trk=1", "in/pat-example"),
        ("linkedin", "linkedin.com/company", None),
        ("linkedin", "https://linkedin.com.evil.example/company/acme", None),
        ("linkedin", "https://notlinkedin.com/company/acme", None),
        ("linkedin", True, None),
        ("linkedin", "http://[", None),
        ("linkedin", "", None),
        ("twitter", "https://twitter.com/@acme/", "acme"),
        ("twitter", "x.com/acme", "acme"),
        ("twitter", "https://twitter.com/hashtag/acme", None),
        ("facebook", "facebook.com/acme", "acme"),
        ("facebook", "https://www.facebook.com/profile.php?id=7", None),
        ("crunchbase", "https://www.crunchbase.com/organization/acme", "organization/acme"),
        ("github", "github.com/pat", "pat"),
        ("github", "github.com/pat example", None),
        ("linkedin", "notlinkedin.com/company/acme", None),
        ("linkedin", "linkedin.com/pub/pat/1/2b/3c", "pub/pat/1/2b/3c"),
        ("linkedin", "company/booking.com", "company/booking.com"),
        ("facebook", "facebook.com/pages/Acme/77", "pages/Acme/77"),
        ("facebook", "acme.inc", "acme.inc"),
        ("twitter", "acme/status/7", "acme"),
        ("twitter", "..", None),
        ("linkedin", "linkedin.com/company/..", None),
        ("linkedin", "company/%2e%2E", None),
        ("github", "https://github.com/./pat", None),
    ],
)
def test_a_handle_is_the_path_on_its_own_network(
    network: str, address: object, handle: str | None
) -> None:
    assert handle_of(network, address) == handle


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("acme.com", "acme.com"),
        ("http://www.Acme.com/about", "acme.com"),
        ("https://müller.de", "xn--mller-kva.de"),
        ("acme", None),
        ("http://10.0.0.1/", None),
        ("http://[::1", None),
        ("linkedin.com/company/acme", None),
        (True, None),
        (None, None),
    ],
)
def test_a_domain_is_the_host_of_a_web_site(address: object, domain: str | None) -> None:
    assert reading.domain({"site": address}, "site") == domain


@pytest.mark.parametrize("network", ["twitter", "facebook", "github"])
def test_another_networks_handle_is_no_account_called_company(network: str) -> None:
    """Else the link would lead to somebody who has that name there."""
    assert handle_of(network, "company/acme") is None
    assert handle_of(network, f"https://{network}.com/company/acme") is None


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "value", ["@@acme", "@@company", "\ud800", "acme/", "x.com/@company/x", *ODD]
)
def test_a_handle_that_was_read_reads_the_same_again(network: str, value: object) -> None:
    handle = handle_of(network, value)
    assert handle is None or handle_of(network, handle) == handle
