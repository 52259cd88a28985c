"""What an operator adds to our words, and takes away from them."""

from __future__ import annotations

import pytest

from enricher.errors import SettingsError
from enricher.identity.identify import Identity, identify, own_words
from enricher.lead import Inputs
from enricher.settings.load import load
from enricher.wiring import words_of

WORDS = own_words(
    role_names=["frota", "p\u00f3s.Venda2", "-sales", "-info"],
    platform_domains=[
        "shops.example-host.com",
        "other-host.com",
        "-zendesk.com",
        "-github.io",
        "-linkedin.com",
    ],
)


def of(email: str, website: str | None = None) -> Identity:
    return identify(Inputs(email=email, website=website), WORDS)


@pytest.mark.parametrize(
    "local", ["frota", "Frota2", "frota.sp", "fro-ta", "posvenda", "p\u00f3s-venda"]
)
def test_a_desk_that_was_added_is_one(local: str) -> None:
    assert of(f"{local}@acme.com").is_role


@pytest.mark.parametrize("local", ["sales", "sales2", "sales.berlin", "info"])
def test_a_desk_that_was_taken_away_is_a_person(local: str) -> None:
    assert not of(f"{local}@acme.com").is_role
    assert identify(Inputs(email=f"{local}@acme.com")).is_role


def test_the_other_desks_stay() -> None:
    assert of("vendas@acme.com").is_role
    assert not identify(Inputs(email="frota.x@acme.com"), own_words()).is_role


@pytest.mark.parametrize(
    ("website", "right"),
    [
        ("https://acme.shops.example-host.com/x", "acme.shops.example-host.com"),
        ("https://www.acme.other-host.com", "acme.other-host.com"),
        ("https://other-host.com/acme", None),
        ("https://other-host.com", None),
        ("https://www.example-host.com", "example-host.com"),
        ("https://help.zendesk.com/x", "zendesk.com"),
        ("https://zendesk.com/x", "zendesk.com"),
        ("https://acme.github.io", "github.io"),
        ("https://www.linkedin.com/company/acme", "linkedin.com"),
        ("https://acme.weebly.com", "acme.weebly.com"),
    ],
)
def test_platforms_are_added_and_taken_away(website: str, right: str | None) -> None:
    assert of("pat.acme@gmail.com", website).company_domain == right


@pytest.mark.parametrize(
    ("domain", "right"),
    [
        ("acme.other-host.com", "acme.other-host.com"),
        ("other-host.com", None),
        ("acme.zendesk.com", "zendesk.com"),
    ],
)
def test_they_count_for_addresses_too(domain: str, right: str | None) -> None:
    identity = of(f"pat@{domain}")
    assert identity.company_domain == right
    assert identity.email == f"pat@{domain}"


def test_free_mail_stays_free_mail_whatever_the_operator_says() -> None:
    words = own_words(platform_domains=["gmail.com", "-gmail.com"])
    assert identify(Inputs(email="pat@gmail.com"), words).is_free_mail


def test_the_settings_become_words() -> None:
    settings = load(
        {
            "MONGODB_URI": "mongodb://127.0.0.1/",
            "ENRICHER_ROLE_NAMES": '["Frota","-Sales"]',
            "ENRICHER_PLATFORM_DOMAINS": '[" Other-Host.com. ","- zendesk.com"]',
        },
        None,
    )
    assert settings.identity.role_names == ("frota", "-sales")
    assert settings.identity.platform_domains == ("other-host.com", "-zendesk.com")
    words = words_of(settings)
    assert identify(Inputs(email="frota@acme.com"), words).is_role
    assert identify(Inputs(email="x@a.zendesk.com"), words).company_domain == "zendesk.com"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENRICHER_ROLE_NAMES", '["jane@acme.com"]'),
        ("ENRICHER_ROLE_NAMES", '["-"]'),
        ("ENRICHER_ROLE_NAMES", "frota"),
        ("ENRICHER_PLATFORM_DOMAINS", '["https://acme.com/"]'),
        ("ENRICHER_PLATFORM_DOMAINS", '["--acme.com"]'),
        ("ENRICHER_PLATFORM_DOMAINS", '[""]'),
    ],
)
def test_what_is_no_name_or_domain_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({"MONGODB_URI": "mongodb://127.0.0.1/", name: value}, None)
