"""The simulated vendors, asked over a real socket: statuses, bodies, bills."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from enricher.simulator.server import Simulator
from tests.support.plain_http import plain_client
from tests.support.vendor_client import ACCOUNT, FIND, VERIFY, Client, client_of


@pytest.fixture
async def ask() -> AsyncIterator[Client]:
    async with client_of(Simulator(seed=1)) as client:
        yield client


def error_type(response: httpx.Response) -> Any:
    return response.json()["error"]["type"]


def error_id(response: httpx.Response) -> Any:
    return response.json()["errors"][0]["id"]


# Clearbit


async def test_a_company_has_the_full_key_set(ask: Client) -> None:
    response = await ask.get(FIND, domain="brisk-lemur.com")
    record = response.json()
    assert response.status_code == 200
    assert record["domain"] == "brisk-lemur.com"
    assert {"id", "legalName", "category", "geo", "metrics", "tech", "ultimateParent"} <= set(
        record
    )
    assert len(record) == 30


async def test_the_same_seed_and_domain_give_the_same_company(ask: Client) -> None:
    first = await ask.get(FIND, domain="brisk-lemur.com")
    async with Simulator(seed=1) as other, plain_client() as http:
        second = await Client(other, http).get(FIND, domain="BRISK-lemur.com")
    assert first.content == second.content


async def test_limits_and_the_version_come_with_every_normal_answer(ask: Client) -> None:
    headers = (await ask.get(FIND, domain="brisk-lemur.com")).headers
    assert headers["X-Api-Version"] == "2019-12-19"
    assert headers["X-RateLimit-Limit"] == "600"
    assert headers["X-RateLimit-Remaining"] == "599"
    assert int(headers["X-RateLimit-Reset"]) > time.time()


async def test_an_unknown_route_is_refused_before_the_key_and_costs_nothing(ask: Client) -> None:
    response = await ask.http.get(ask.simulator.url + "/clearbit/v2/company/find")
    assert (response.status_code, error_type(response)) == (404, "unknown_route")
    assert [entry.charged for entry in ask.journal] == [False]


@pytest.mark.parametrize(
    ("headers", "kind"),
    [({}, "auth_required"), ({"Authorization": "Bearer wrong"}, "invalid_api_key")],
)
async def test_a_bad_key_is_401_and_still_tells_the_limit(
    ask: Client, headers: dict[str, str], kind: str
) -> None:
    url = ask.simulator.url + FIND
    response = await ask.http.get(url, params={"domain": "a-b.com"}, headers=headers)
    assert (response.status_code, error_type(response)) == (401, kind)
    assert response.headers["X-RateLimit-Remaining"] == "599"


async def test_the_key_may_be_the_user_of_basic_authentication(ask: Client) -> None:
    url = ask.simulator.url + FIND
    response = await ask.http.get(url, params={"domain": "a-b.com"}, auth=("sk_good", ""))
    assert response.status_code == 200


@pytest.mark.parametrize("domain", ["", "nodot", "pat@a-b.com", "a b.com"])
async def test_a_malformed_domain_is_422_and_free(ask: Client, domain: str) -> None:
    response = await ask.get(FIND, domain=domain)
    assert (response.status_code, error_type(response)) == (422, "params_invalid")
    assert not ask.journal.calls(charged=True)


async def test_a_pending_company_answers_202_in_both_spellings_then_200(ask: Client) -> None:
    answers = [await ask.get(FIND, domain="pending-lemur.com") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 200]
    assert [answer.content for answer in answers[:2]] == [b"", b'{"error":{"type":"queued"}}']
    assert [entry.charged for entry in ask.journal] == [True, False, False]


async def test_cached_true_does_not_wait_for_a_pending_company(ask: Client) -> None:
    response = await ask.get(FIND, domain="pending-lemur.com", cached="true")
    assert response.json()["domain"] == "pending-lemur.com"


async def test_an_unknown_company_is_404_and_charged_once(ask: Client) -> None:
    answers = [await ask.get(FIND, domain="unknown-lemur.com") for _ in range(2)]
    assert [error_type(answer) for answer in answers] == ["unknown_record"] * 2
    assert [entry.charged for entry in ask.journal] == [True, False]


async def test_a_domain_is_charged_again_in_a_new_month(ask: Client) -> None:
    await ask.statuses(FIND, 2, domain="brisk-lemur.com")
    ask.journal.new_month()
    await ask.get(FIND, domain="brisk-lemur.com")
    assert [entry.charged for entry in ask.journal] == [True, False, True]


async def test_an_old_version_is_warned_about(ask: Client) -> None:
    url, headers = (
        ask.simulator.url + FIND,
        {"Authorization": "Bearer k", "API-Version": "2018-11-19"},
    )
    response = await ask.http.get(url, params={"domain": "a-b.com"}, headers=headers)
    assert response.headers["X-Api-Version"] == "2018-11-19"
    assert "deprecated" in response.headers["X-API-Warn"]


async def test_a_spent_quota_is_402_for_new_questions_only() -> None:
    async with client_of(Simulator(quotas={"clearbit": 1})) as ask:
        assert await ask.statuses(FIND, 2, domain="brisk-lemur.com") == [200, 200]
        assert await ask.statuses(FIND, 1, domain="other-lemur.com") == [402]


# Hunter


async def test_a_verification_has_the_full_key_set(ask: Client) -> None:
    body = (await ask.get(VERIFY, email="pat@brisk-lemur.com")).json()
    assert body["meta"] == {"params": {"email": "pat@brisk-lemur.com"}}
    assert len(body["data"]) == 14


@pytest.mark.parametrize(
    ("email", "status"),
    [
        ("pat@brisk-lemur.com", "valid"),
        ("bounce@brisk-lemur.com", "invalid"),
        ("pat@catchall-lemur.com", "accept_all"),
        ("pat@gmail.com", "webmail"),
        ("pat@mailinator.com", "disposable"),
        ("pat@unknown-lemur.com", "unknown"),
    ],
)
async def test_every_status_of_the_verifier_can_be_had(
    ask: Client, email: str, status: str
) -> None:
    assert (await ask.get(VERIFY, email=email)).json()["data"]["status"] == status


async def test_an_unknown_verdict_has_null_score_and_null_checks(ask: Client) -> None:
    data = (await ask.get(VERIFY, email="pat@unknown-lemur.com")).json()["data"]
    names = ("score", "gibberish", "mx_records", "smtp_server", "smtp_check", "accept_all")
    assert [data[name] for name in names] == [None] * 6


async def test_a_pending_verification_is_charged_once_with_its_200(ask: Client) -> None:
    assert await ask.statuses(VERIFY, 4, email="pat@pending-lemur.com") == [202, 202, 200, 200]
    assert [entry.charged for entry in ask.journal] == [False, False, True, False]


async def test_222_comes_once_then_the_verdict(ask: Client) -> None:
    assert await ask.statuses(VERIFY, 2, email="smtpfail@brisk-lemur.com") == [222, 200]


async def test_an_objection_is_451_and_free(ask: Client) -> None:
    response = await ask.get(VERIFY, email="claimed.pat@brisk-lemur.com")
    assert (response.status_code, error_id(response)) == (451, "claimed_email")
    assert not ask.journal.calls(charged=True)


@pytest.mark.parametrize(("email", "slug"), [("", "wrong_params"), ("no-at", "invalid_email")])
async def test_a_malformed_address_is_400(ask: Client, email: str, slug: str) -> None:
    response = await ask.get(VERIFY, email=email)
    assert (response.status_code, error_id(response)) == (400, slug)


async def test_an_unknown_hunter_route_is_404(ask: Client) -> None:
    response = await ask.get("/hunter/v2/nothing")
    assert (response.status_code, error_id(response)) == (404, "not_found")


@pytest.mark.parametrize("path", [VERIFY, ACCOUNT])
async def test_a_wrong_key_is_401(ask: Client, path: str) -> None:
    url, headers = ask.simulator.url + path, {"X-API-KEY": "wrong"}
    response = await ask.http.get(url, params={"email": "a@b.io"}, headers=headers)
    assert (response.status_code, error_id(response)) == (401, "authentication_failed")


async def test_a_key_in_the_url_works_and_is_noted(ask: Client) -> None:
    url = ask.simulator.url + VERIFY
    response = await ask.http.get(url, params={"email": "a@b.io", "api_key": "k"})
    assert response.status_code == 200
    assert [(entry.key, entry.key_in_url) for entry in ask.journal] == [("ok", True)]


async def test_the_test_key_gets_a_free_dummy_from_the_verifier_alone(ask: Client) -> None:
    headers = {"X-API-KEY": "test-api-key"}
    base, params = ask.simulator.url, {"email": "pat@brisk-lemur.com"}
    verified = await ask.http.get(base + VERIFY, params=params, headers=headers)
    refused = await ask.http.get(base + ACCOUNT, headers=headers)
    assert verified.json()["data"]["email"] != params["email"]
    assert refused.status_code == 401
    assert not ask.journal.calls(charged=True)


async def test_the_account_counts_verifications_and_half_credits() -> None:
    async with client_of(Simulator(quotas={"hunter": 100})) as ask:
        for number in range(3):
            await ask.get(VERIFY, email=f"pat{number}@brisk-lemur.com")
        requests = (await ask.get(ACCOUNT)).json()["data"]["requests"]
        assert requests["verifications"] == {"used": 3, "available": 100}
        assert requests["credits"] == {"used": 2, "available": 50}


@pytest.mark.parametrize(
    ("dialect", "throttle", "quota"), [("docs", 403, 429), ("connector", 429, 402)]
)
async def test_windows_and_quota_speak_the_chosen_dialect(
    dialect: str, throttle: int, quota: int
) -> None:
    windows = {"hunter": [(2, 60)]}
    simulator = Simulator(windows=windows, quotas={"hunter": 1}, hunter_dialect=dialect)
    async with client_of(simulator) as ask:
        assert await ask.statuses(VERIFY, 1, email="pat@brisk-lemur.com") == [200]
        assert await ask.statuses(VERIFY, 1, email="sam@brisk-lemur.com") == [quota]
        over = await ask.get(VERIFY, email="kim@brisk-lemur.com")
        assert over.status_code == throttle
        assert ("Retry-After" in over.headers) == (dialect == "connector")


def test_a_dialect_that_nobody_speaks_is_refused() -> None:
    with pytest.raises(ValueError, match="docs, connector"):
        Simulator(hunter_dialect="klingon")
