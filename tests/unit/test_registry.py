"""Which providers there are, and in which order they are asked."""

from __future__ import annotations

import httpx
from pydantic import SecretStr

from enricher.answer import Kind
from enricher.providers.base import Access, Registered, Window
from enricher.providers.registry import VENDORS_PROVIDERS, build

CLEARBIT = Access(SecretStr("sk_1"), "https://company.clearbit.com")
HUNTER = Access(SecretStr("h_1"), "https://api.hunter.io")

PDL = Access(SecretStr("p_1"), "https://api.peopledatalabs.com")
APOLLO = Access(SecretStr("a_1"), "https://api.apollo.io")
EVERY_KEY = {"clearbit": CLEARBIT, "hunter": HUNTER, "pdl": PDL, "apollo": APOLLO}


def names(registered: Registered, kind: Kind | None = None) -> list[str]:
    return [each.name for each in registered.providers if kind in (None, each.kind)]


async def test_with_every_key_every_provider_is_there_and_the_free_one_comes_first() -> None:
    async with httpx.AsyncClient() as http:
        registered = build(http, EVERY_KEY, {})
    assert names(registered, Kind.EMAIL) == ["local", "hunter"]
    assert names(registered, Kind.COMPANY) == ["clearbit", "pdl_company", "apollo_company"]
    assert names(registered, Kind.PERSON) == ["pdl_person", "apollo_person"]
    assert registered.without_key == {}


async def test_without_any_key_only_the_local_rules_are_left_and_the_rest_is_explained() -> None:
    async with httpx.AsyncClient() as http:
        registered = build(http, {}, {})
    assert names(registered) == ["local"]
    assert set(registered.without_key) == {each.name for each in VENDORS_PROVIDERS}
    assert set(registered.without_key.values()) == {"no key"}


async def test_a_key_of_nothing_but_spaces_is_no_key() -> None:
    async with httpx.AsyncClient() as http:
        registered = build(http, EVERY_KEY | {"hunter": Access(SecretStr(" "), "")}, {})
    assert registered.without_key == {"hunter": "no key"}


async def test_a_limit_per_minute_is_that_of_its_vendor() -> None:
    async with httpx.AsyncClient() as http:
        registered = build(http, {"clearbit": CLEARBIT, "hunter": HUNTER}, {"hunter": 60})
    windows = {each.name: each.windows for each in registered.providers}
    assert windows["hunter"] == (Window(10, 1), Window(60, 60))
    assert windows["clearbit"] == (Window(600, 60),)
