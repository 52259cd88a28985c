"""Which providers there are, and in which order they are asked."""

from __future__ import annotations

from pydantic import SecretStr

from enricher.answer import Kind
from enricher.catalogue import VENDORS, Window
from enricher.providers.base import Access, Registered
from enricher.providers.registry import build, built_in
from enricher.providers.website.fetch import loopback
from enricher.providers.website.provider import Website
from enricher.providers.website.visit import Visitor
from enricher.settings.vendors import PROVIDERS, ProviderSettings
from tests.support.mock_client import mock_client

CLEARBIT = Access(SecretStr("sk_1"), "https://company.clearbit.com")
HUNTER = Access(SecretStr("h_1"), "https://api.hunter.io")

PDL = Access(SecretStr("p_1"), "https://api.peopledatalabs.com")
APOLLO = Access(SecretStr("a_1"), "https://api.apollo.io")
FURTHER_VERIFIERS = ["zerobounce", "kickbox", "bouncer", "emailable"]
EVERY_KEY = {
    **{name: Access(SecretStr("v_1"), VENDORS[name].host) for name in FURTHER_VERIFIERS},
    "clearbit": CLEARBIT,
    "hunter": HUNTER,
    "pdl": PDL,
    "apollo": APOLLO,
}


def names(registered: Registered, kind: Kind | None = None) -> list[str]:
    return [each.name for each in registered.providers if kind in (None, each.kind)]


async def test_with_every_key_every_provider_is_there_and_the_free_one_comes_first() -> None:
    http = mock_client()
    registered = build(http, EVERY_KEY, {})
    assert names(registered, Kind.EMAIL) == ["local", "hunter", *FURTHER_VERIFIERS]
    companies = ["clearbit", "hunter_company", "pdl_company", "apollo_company"]
    assert names(registered, Kind.COMPANY) == companies
    persons = ["hunter_person", "pdl_person", "apollo_person", "clearbit_person"]
    assert names(registered, Kind.PERSON) == persons
    assert registered.without_key == {}


async def test_without_any_key_only_the_local_rules_are_left_and_the_rest_is_explained() -> None:
    http = mock_client()
    registered = build(http, {}, {})
    assert names(registered) == ["local"]
    assert registered.without_key == dict.fromkeys(PROVIDERS, "no key")


async def test_a_key_of_nothing_but_spaces_is_no_key() -> None:
    http = mock_client()
    registered = build(http, EVERY_KEY | {"hunter": Access(SecretStr(" "), "")}, {})
    of_hunter = ("hunter_company", "hunter_person", "hunter")
    assert registered.without_key == dict.fromkeys(of_hunter, "no key")


async def test_a_limit_per_minute_is_that_of_its_vendor() -> None:
    http = mock_client()
    registered = build(http, {"clearbit": CLEARBIT, "hunter": HUNTER}, {"hunter": 60})
    windows = {each.name: each.windows for each in registered.providers}
    assert windows["hunter"] == (Window(10, 1), Window(60, 60))
    assert windows["clearbit"] == (Window(600, 60),)


async def test_the_limit_of_hunters_other_routes_keeps_its_proportion_to_the_verifiers() -> None:
    http = mock_client()
    limits = {
        limit: build(http, {"hunter": HUNTER}, {"hunter": limit}).providers
        for limit in (300, 600, 60, 1)
    }
    found = {
        limit: {each.windows for each in providers if each.bucket == "hunter_enrichment"}
        for limit, providers in limits.items()
    }
    assert found == {
        300: {(Window(15, 1), Window(500, 60))},
        600: {(Window(30, 1), Window(1000, 60))},
        60: {(Window(15, 1), Window(100, 60))},
        1: {(Window(15, 1), Window(1, 60))},
    }


def test_the_settings_know_the_providers_by_name_and_in_their_order() -> None:
    assert tuple(each.name for each in built_in()) == PROVIDERS


async def _built(**wishes: object) -> Registered:
    http = mock_client()
    told = ProviderSettings.model_validate({"off": (), **wishes})
    return build(http, {"clearbit": CLEARBIT, "hunter": HUNTER}, {}, told)


async def test_the_operators_order_goes_before_the_usual_one() -> None:
    registered = await _built(order=("clearbit_person", "hunter_company"))
    assert names(registered, Kind.COMPANY) == ["hunter_company", "clearbit"]
    assert names(registered, Kind.PERSON) == ["clearbit_person", "hunter_person"]
    assert names(registered, Kind.EMAIL) == ["local", "hunter"]


async def test_a_provider_that_is_turned_off_is_not_there_and_the_lead_will_say_so() -> None:
    registered = await _built(off=("clearbit", "hunter_person"))
    assert names(registered, Kind.COMPANY) == ["hunter_company"]
    assert names(registered, Kind.PERSON) == ["clearbit_person"]
    off = {name for name, why in registered.without_key.items() if why == "turned off"}
    assert off == {"clearbit", "hunter_person"}


async def test_a_provider_is_asked_for_what_the_operator_requires_and_it_can_know() -> None:
    company = frozenset({"description", "employee_count"})
    registered = await _built(required={"company": company})
    required = {each.name: each.required for each in registered.providers}
    assert required["clearbit"] == company
    assert required["hunter_company"] == {"description"}
    assert required["hunter_person"] == {"full_name", "job_title"}


async def test_a_provider_that_can_know_nothing_required_is_asked_while_that_is_missing() -> None:
    company = frozenset({"employee_count"})
    registered = await _built(required={"company": company})
    required = {each.name: each.required for each in registered.providers}
    assert required["hunter_company"] == company


async def test_a_companys_own_site_is_asked_before_all_vendors_where_it_is_turned_on() -> None:
    asked = Website(Visitor(loopback(1), "acme/1.0"))
    registered = build(mock_client(), {"clearbit": CLEARBIT}, {}, own=[asked])
    assert names(registered, Kind.COMPANY) == ["website", "clearbit"]
    assert "website" not in registered.without_key
    last = ProviderSettings.model_validate({"off": (), "order": ("clearbit", "website")})
    registered = build(mock_client(), {"clearbit": CLEARBIT}, {}, last, own=[asked])
    assert names(registered, Kind.COMPANY) == ["clearbit", "website"]


async def test_without_it_nothing_tells_of_it() -> None:
    registered = build(mock_client(), {"clearbit": CLEARBIT}, {})
    assert "website" not in names(registered)
    assert "website" not in registered.without_key
