"""Hunter's companies and people and Clearbit's people, simulated, and our own clients asking them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from enricher.answer import Answer, Found, Held, Kind, NotFound, Objected, Query, Throttled
from enricher.providers import transport
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitPerson
from enricher.providers.http import HttpProvider
from enricher.providers.hunter import HunterCompany, HunterPerson, HunterVerifier
from enricher.simulator.server import Simulator
from tests.support.vendor_client import ACCOUNT, VERIFY, client_of

COMPANY = "/hunter/v2/companies/find"
PERSON = "/hunter/v2/people/find"
CLEARBITS_PERSON = "/clearbit/v2/people/find"
ADA = "ada.lovelace@brisk-lemur.com"
QUERY = Query(email=ADA, email_key=ADA, company_domain="brisk-lemur.com")


def query(word: str) -> Query:
    domain = f"{word}-lemur.com"
    return Query(email=f"ada.lovelace@{domain}", company_domain=domain)


async def answers(simulator: Simulator, kind: type[HttpProvider], *queries: Query) -> list[Answer]:
    async with simulator, transport.open_client("enricher/test") as http:
        access = Access(SecretStr("any"), simulator.base_urls[kind.vendor], timeout=30)
        provider = kind(http, access)
        return [await provider.ask(each) for each in queries]


# Our clients


async def test_a_company_is_found_with_a_range_and_never_a_head_count() -> None:
    queries = [query(f"brisk{number}") for number in range(30)]
    found = [
        answer.sections[Kind.COMPANY.section]
        for answer in await answers(Simulator(windows={"hunter": ()}), HunterCompany, *queries)
        if isinstance(answer, Found)
    ]
    assert len(found) == 30
    assert any("employee_range" in values for values in found)
    assert not any("employee_count" in values or "clearbit_id" in values for values in found)
    assert [values["domain"] for values in found] == [each.company_domain for each in queries]


@pytest.mark.parametrize("kind", [HunterPerson, ClearbitPerson])
async def test_a_person_is_found_by_their_address(kind: type[HttpProvider]) -> None:
    [answer] = await answers(Simulator(), kind, QUERY)
    assert isinstance(answer, Found)
    assert answer.sections[Kind.PERSON.section]["full_name"] == "Ada Lovelace"


@pytest.mark.parametrize("kind", [HunterCompany, HunterPerson, ClearbitPerson])
async def test_what_is_unknown_or_hollow_is_not_found(kind: type[HttpProvider]) -> None:
    unknown, hollow = await answers(Simulator(), kind, query("unknown"), query("hollow"))
    assert (unknown, hollow) == (NotFound(), NotFound("the record is empty"))


async def test_who_objected_has_objected_at_the_verifier_and_as_a_person_but_not_as_a_company() -> (
    None
):
    kinds: tuple[type[HttpProvider], ...] = (HunterVerifier, HunterPerson, HunterCompany)
    said = [(await answers(Simulator(), kind, query("claimed")))[0] for kind in kinds]
    assert said[:2] == [Objected(), Objected()]
    assert isinstance(said[2], Found)


@pytest.mark.parametrize("kind", [HunterCompany, HunterPerson])
@pytest.mark.parametrize("dialect", ["docs", "connector"])
async def test_a_spent_quota_is_told_from_the_rate_limit_in_both_dialects(
    kind: type[HttpProvider], dialect: str
) -> None:
    spent = Simulator(quotas={"hunter": 3}, hunter_dialect=dialect)
    first, second = await answers(spent, kind, QUERY, query("another"))
    assert isinstance(first, Found)
    assert isinstance(second, Held)
    throttling = Simulator(windows={"hunter": [(1, 60)]}, hunter_dialect=dialect)
    _, late = await answers(throttling, kind, QUERY, query("another"))
    assert isinstance(late, Throttled)


# The vendor's side


async def _three(client: Any) -> list[int]:
    paths = ((VERIFY, {"email": ADA}), (PERSON, {"email": ADA}), (COMPANY, {"domain": "b-l.com"}))
    return [(await client.get(path, **params)).status_code for path, params in paths]


async def test_each_route_bills_the_same_question_once_and_the_account_adds_it_up() -> None:
    async with client_of(Simulator()) as client:
        assert await _three(client) + await _three(client) == [200] * 6
        assert [entry.charged for entry in client.journal] == [True] * 3 + [False] * 3
        account = (await client.get(ACCOUNT)).json()["data"]
    assert account["requests"]["verifications"]["used"] == 5
    assert account["requests"]["credits"]["used"] == 3


async def test_a_miss_is_free_at_hunter_and_charged_at_clearbit() -> None:
    address = "ada.lovelace@unknown-lemur.com"
    async with client_of(Simulator()) as client:
        await client.get(COMPANY, domain="unknown-lemur.com")
        await client.get(PERSON, email=address)
        await client.get(CLEARBITS_PERSON, email=address)
        found = [(entry.vendor, entry.status, entry.charged) for entry in client.journal]
    assert found == [("hunter", 404, False)] * 2 + [("clearbit", 404, True)]


@pytest.mark.parametrize(
    ("path", "params", "status", "slug"),
    [
        (COMPANY, {}, 400, "wrong_params"),
        (COMPANY, {"domain": "nodot"}, 400, "invalid_domain"),
        (PERSON, {}, 400, "wrong_params"),
        (PERSON, {"email": "nobody"}, 400, "invalid_email"),
    ],
)
async def test_hunter_refuses_a_malformed_question_in_its_own_words(
    path: str, params: dict[str, str], status: int, slug: str
) -> None:
    async with client_of(Simulator()) as client:
        response = await client.get(path, **params)
        assert (response.status_code, response.json()["errors"][0]["id"]) == (status, slug)
        assert not client.journal.calls(charged=True)


async def test_clearbit_refuses_a_malformed_address() -> None:
    async with client_of(Simulator()) as client:
        response = await client.get(CLEARBITS_PERSON, email="nobody")
    assert (response.status_code, response.json()["error"]["type"]) == (422, "params_invalid")


async def test_the_test_key_is_no_good_for_enrichment() -> None:
    async with client_of(Simulator()) as client:
        url, headers = client.simulator.url + COMPANY, {"X-API-KEY": "test-api-key"}
        response = await client.http.get(url, params={"domain": "b-l.com"}, headers=headers)
    assert response.status_code == 401


async def test_companies_and_people_share_their_windows_and_the_verifier_has_its_own() -> None:
    async with client_of(Simulator()) as client:
        companies = [client.get(COMPANY, domain=f"b-{number}.com") for number in range(10)]
        people = [client.get(PERSON, email=f"a.b@b-{number}.com") for number in range(10)]
        verified = [client.get(VERIFY, email=f"a.b@b-{number}.com") for number in range(10)]
        replies = await asyncio.gather(*companies, *people)
        others = await asyncio.gather(*verified)
    assert sorted(_statuses(replies)) == [200] * 15 + [403] * 5
    assert _statuses(others) == [200] * 10


def _statuses(replies: list[httpx.Response]) -> list[int]:
    return [reply.status_code for reply in replies]


async def test_clearbits_hosts_have_a_limit_each() -> None:
    windows = {"clearbit/companies/find": [(1, 60)], "clearbit/people/find": [(1, 60)]}
    async with client_of(Simulator(windows=windows)) as client:
        company = await client.get("/clearbit/v2/companies/find", domain="b-l.com")
        people = await client.statuses(CLEARBITS_PERSON, 2, email=ADA)
    assert (company.status_code, people) == (200, [200, 429])
