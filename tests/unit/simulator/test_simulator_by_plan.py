"""The simulated People Data Labs and Apollo as they are on the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime

import httpx
import pytest

from enricher.simulator.server import Simulator
from tests.support.vendor_client import Client, client_of

PDL_COMPANY, PDL_PERSON = "/pdl/v5/company/enrich", "/pdl/v5/person/enrich"
ORGANIZATION, MATCH = "/apollo/api/v1/organizations/enrich", "/apollo/api/v1/people/match"
DOMAIN, EMAIL = "brisk-lemur.com", "pat@brisk-lemur.com"


@pytest.fixture
async def ask() -> AsyncIterator[Client]:
    async with client_of(Simulator(seed=1)) as client:
        yield client


async def send(
    ask: Client, path: str, method: str = "GET", key: str = "good", **params: str
) -> httpx.Response:
    headers = {"X-Api-Key": key} if key else {}
    url = ask.simulator.url + path
    return await ask.http.request(method, url, params=params, headers=headers)


# -- People Data Labs on the wire ------------------------------------------------------------


async def test_a_company_is_flat_and_in_small_letters(ask: Client) -> None:
    record = (await send(ask, PDL_COMPANY, website=DOMAIN)).json()
    assert (record["status"], record["name"], record["display_name"]) == (
        200,
        "brisk lemur",
        "Brisk Lemur",
    )
    titled = (await send(ask, PDL_COMPANY, website=DOMAIN, titlecase="true")).json()
    assert titled["name"] == "Brisk Lemur"


async def test_pdl_tells_windows_as_an_object_and_the_reset_as_a_time(ask: Client) -> None:
    headers = (await send(ask, PDL_COMPANY, website=DOMAIN)).headers
    assert json.loads(headers["x-ratelimit-limit"])["minute"] == 1000
    windows = {"minute": 999, "day": None, "month": None}
    assert json.loads(headers["x-ratelimit-remaining"]) == windows
    assert headers["x-ratelimit-remaining.minute"] == "999"
    assert datetime.fromisoformat(headers["x-ratelimit-reset"]).tzinfo is not None
    assert headers["x-call-credits-spent"] == "1"


async def test_pdl_charges_each_match_anew_and_no_miss(ask: Client) -> None:
    for _ in range(2):
        await send(ask, PDL_COMPANY, website=DOMAIN)
    await send(ask, PDL_COMPANY, website=f"unknown-{DOMAIN}")
    assert [entry.charged for entry in ask.journal] == [True, True, False]


async def test_a_poor_match_is_404_for_who_asks_for_a_better_one(ask: Client) -> None:
    domains = [f"brisk{number}.com" for number in range(60)]
    loose = [await send(ask, PDL_COMPANY, website=each) for each in domains]
    strict = [await send(ask, PDL_COMPANY, website=each, min_likelihood="6") for each in domains]
    assert {each.status_code for each in loose} == {200}
    poor = [each.json()["likelihood"] < 6 for each in loose]
    assert [each.status_code == 404 for each in strict] == poor
    assert any(poor)


@pytest.mark.parametrize(
    ("path", "method", "params", "status"),
    [
        (PDL_COMPANY, "POST", {"website": DOMAIN}, 405),
        (PDL_COMPANY, "HEAD", {"website": DOMAIN}, 405),
        (PDL_PERSON, "POST", {"email": EMAIL}, 200),
        (PDL_PERSON, "HEAD", {}, 400),
        (PDL_PERSON, "GET", {"email": "nobody"}, 400),
        (PDL_COMPANY, "GET", {}, 400),
        ("/pdl/v5/company", "GET", {}, 404),
        (ORGANIZATION, "GET", {"domain": DOMAIN}, 200),
        (ORGANIZATION, "GET", {}, 422),
        (MATCH, "POST", {"email": EMAIL}, 200),
        (MATCH, "GET", {"email": EMAIL}, 404),
        (MATCH, "POST", {"email": "@"}, 422),
    ],
)
async def test_method_and_parameters_decide(
    ask: Client, path: str, method: str, params: dict[str, str], status: int
) -> None:
    assert (await send(ask, path, method, **params)).status_code == status


@pytest.mark.parametrize("path", [PDL_COMPANY, PDL_PERSON])
async def test_pdl_takes_a_key_in_the_url_and_the_journal_tells(ask: Client, path: str) -> None:
    params = {"website": DOMAIN, "email": EMAIL, "api_key": "good"}
    assert (await send(ask, path, key="", **params)).status_code in (200, 404)
    assert [entry.key_in_url for entry in ask.journal] == [True]
    assert (await send(ask, path, key="", website=DOMAIN, email=EMAIL)).status_code == 401


async def test_on_a_free_plan_contacts_are_true_or_false(ask: Client) -> None:
    data = (await send(ask, PDL_PERSON, key="free", email=EMAIL)).json()["data"]
    assert (data["work_email"], data["mobile_phone"]) == (True, False)


async def test_a_spent_quota_is_402_at_pdl_and_422_at_apollo() -> None:
    async with client_of(Simulator(quotas={"pdl": 1, "apollo": 1})) as ask:
        pdl = [(await send(ask, PDL_COMPANY, website=DOMAIN)).status_code for _ in range(2)]
        apollo = [await send(ask, ORGANIZATION, domain=DOMAIN) for _ in range(2)]
    assert pdl == [200, 402]
    assert [each.status_code for each in apollo] == [200, 422]
    assert "Insufficient credits" in apollo[1].json()["error"]


# -- Apollo on the wire ----------------------------------------------------------------------


async def test_apollo_has_a_header_for_each_window_and_an_empty_one_without_limit(
    ask: Client,
) -> None:
    paid = (await send(ask, ORGANIZATION, domain=DOMAIN)).headers
    assert (paid["x-rate-limit-minute"], paid["x-minute-requests-left"]) == ("1000", "999")
    assert (paid["x-rate-limit-hourly"], paid["x-rate-limit-24-hour"]) == ("", "")
    assert "x-hourly-usage" not in paid
    free = (await send(ask, ORGANIZATION, key="free", domain=DOMAIN)).headers
    left = [free[f"x-{window}-requests-left"] for window in ("minute", "hourly", "24-hour")]
    assert left == ["49", "199", "599"]


@pytest.mark.parametrize(("key", "status"), [("wrong", 401), ("", 401), ("scoped", 403)])
async def test_a_refused_key_gets_no_headers_about_limits(
    ask: Client, key: str, status: int
) -> None:
    response = await send(ask, ORGANIZATION, key=key, domain=DOMAIN)
    assert response.status_code == status
    assert not [name for name in response.headers if name.startswith(("x-rate", "x-minute"))]
    kind = "text/plain" if status == 401 else "application/json"
    assert response.headers["content-type"].startswith(kind)


async def test_apollo_says_in_three_ways_that_it_knows_nothing(ask: Client) -> None:
    bodies = [
        (await send(ask, ORGANIZATION, domain=f"unknown-{number}.com")).content
        for number in range(3)
    ]
    assert bodies == [b"{}", b'{"organization":null}', b""]


async def test_apollo_charges_a_person_only_when_there_is_one(ask: Client) -> None:
    await send(ask, MATCH, "POST", email=EMAIL)
    for number in range(3):
        await send(ask, MATCH, "POST", email=f"unknown{number}@{DOMAIN}")
    assert [entry.charged for entry in ask.journal] == [True, False, False, False]


async def test_the_contact_is_another_person(ask: Client) -> None:
    person = (await send(ask, MATCH, "POST", email=EMAIL)).json()["person"]
    assert person["contact"]["name"] != person["name"]
