"""What can be set about companies' own sites, and what is refused."""

from __future__ import annotations

import pytest

from enricher.errors import SettingsError
from enricher.settings.load import Settings, load

KEY = {"HUNTER_API_KEY": "h_1"}
HERE = {"HUNTER_BASE_URL": "http://127.0.0.1:8900/hunter"}


def loaded(**variables: str) -> Settings:
    return load(variables, env_file=None)


def complaint(**variables: str) -> str:
    with pytest.raises(SettingsError) as raised:
        loaded(**variables)
    return str(raised.value)


def test_sites_are_not_read_unless_that_is_turned_on() -> None:
    assert not loaded().website.is_on
    assert loaded(ENRICHER_WEBSITE="true").website.is_on


@pytest.mark.parametrize(
    "agent", ["acme-leads/1.0 (+https://acme.com/bot)", "acme", "acme/2 leads@acme.com"]
)
def test_an_operator_says_who_asks(agent: str) -> None:
    assert loaded(ENRICHER_USER_AGENT=agent).website.user_agent == agent


@pytest.mark.parametrize(
    "agent", ["Mozilla/5.0 (X11; Linux)", "mozilla", "(x)", "a\tb", "a\nb: c", "ä", "a" * 201]
)
def test_nobody_asks_as_a_browser_or_with_what_is_no_product(agent: str) -> None:
    assert complaint(ENRICHER_USER_AGENT=agent).startswith("ENRICHER_USER_AGENT: expected ")


def test_a_loopback_is_for_development_and_refused_beside_a_vendors_real_host() -> None:
    said = complaint(ENRICHER_WEBSITE_LOOPBACK="8900", **KEY)
    assert said.endswith("is for development only, and HUNTER_BASE_URL is not on this machine")
    for url in ("https://api.hunter.io", "http://10.0.0.1/x", "http://simulator:8900/hunter"):
        assert "development" in complaint(
            ENRICHER_WEBSITE_LOOPBACK="8900", HUNTER_BASE_URL=url, **KEY
        )
    assert loaded(ENRICHER_WEBSITE_LOOPBACK="8900", **KEY, **HERE).website.loopback == 8900
    assert loaded(ENRICHER_WEBSITE_LOOPBACK="8900").website.loopback == 8900


@pytest.mark.parametrize("port", ["0", "65536", "http://127.0.0.1:8900", "-1"])
def test_a_loopback_is_a_port(port: str) -> None:
    assert complaint(ENRICHER_WEBSITE_LOOPBACK=port).startswith("ENRICHER_WEBSITE_LOOPBACK: ")
