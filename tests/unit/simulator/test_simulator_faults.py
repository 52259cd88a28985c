"""Faults of the simulated vendors: what each does on the wire, when it is due, and its control."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from enricher.simulator.server import Simulator
from tests.support.vendor_client import ACCOUNT, FIND, VERIFY, Client, client_of

DOMAIN = "brisk-lemur.com"
EMAIL = "pat@brisk-lemur.com"


@pytest.fixture
async def ask() -> AsyncIterator[Client]:
    async with client_of(Simulator(seed=1)) as client:
        yield client


# When a fault is due


async def test_a_fault_hits_the_first_calls_and_then_no_more(ask: Client) -> None:
    ask.simulator.inject("server_error", times=2)
    assert await ask.statuses(FIND, 3, domain=DOMAIN) == [503, 503, 200]


async def test_a_fault_may_let_calls_through_first(ask: Client) -> None:
    ask.simulator.inject("server_error", after=1, times=1)
    assert await ask.statuses(FIND, 3, domain=DOMAIN) == [200, 503, 200]


async def test_a_fault_may_count_each_question_on_its_own(ask: Client) -> None:
    ask.simulator.inject("server_error", times=1, per_question=True)
    assert await ask.statuses(FIND, 2, domain=DOMAIN) == [503, 200]
    assert await ask.statuses(FIND, 2, domain="other-lemur.com") == [503, 200]


async def test_a_fault_is_picked_by_vendor_route_and_question(ask: Client) -> None:
    ask.simulator.inject("server_error", vendor="hunter", route="email-verifier", question="pat@*")
    assert await ask.statuses(VERIFY, 1, email=EMAIL) == [503]
    assert await ask.statuses(VERIFY, 1, email="sam@brisk-lemur.com") == [200]
    assert await ask.statuses(ACCOUNT, 1) == [200]
    assert await ask.statuses(FIND, 1, domain=DOMAIN) == [200]


async def test_chance_depends_on_the_seed_and_not_on_the_order() -> None:
    async def failed(order: int) -> set[str]:
        async with client_of(Simulator(seed=3)) as ask:
            ask.simulator.inject("server_error", probability=0.3)
            for number in range(60)[::order]:
                await ask.get(FIND, domain=f"lemur-{number}.com")
            return {entry.question for entry in ask.journal.calls(status=503)}

    forwards, backwards = await failed(1), await failed(-1)
    assert forwards == backwards
    assert 5 < len(forwards) < 35


async def test_latency_adds_up_with_the_fault_behind_it(ask: Client) -> None:
    ask.simulator.inject("latency", seconds=0.1)
    ask.simulator.inject("latency", seconds=0.1)
    ask.simulator.inject("server_error")
    assert await ask.statuses(FIND, 1, domain=DOMAIN) == [503]
    (entry,) = ask.journal
    assert entry.duration is not None
    assert entry.duration >= 0.2


async def test_a_call_over_the_limit_uses_no_fault_up() -> None:
    async with client_of(Simulator(windows={"clearbit": [(1, 60)]})) as ask:
        ask.simulator.inject("server_error", after=1)
        assert await ask.statuses(FIND, 2, domain=DOMAIN) == [200, 429]
        assert ask.simulator.faults.as_json()[0]["hits"] == 0


async def test_stories_can_be_switched_off() -> None:
    async with client_of(Simulator(stories=False)) as ask:
        assert await ask.statuses(FIND, 1, domain="outage-unknown-pending.com") == [200]


async def test_a_flaky_question_fails_twice(ask: Client) -> None:
    assert await ask.statuses(FIND, 3, domain="flaky-lemur.com") == [503, 503, 200]
    assert await ask.statuses(VERIFY, 3, email="pat@flaky-lemur.com") == [503, 503, 200]


async def test_a_throttled_question_is_told_when_to_come_back(ask: Client) -> None:
    company = await ask.get(FIND, domain="throttled-lemur.com")
    address = await ask.get(VERIFY, email="pat@throttled-lemur.com")
    assert (company.status_code, company.headers["X-RateLimit-Remaining"]) == (429, "0")
    assert (address.status_code, address.headers["Retry-After"]) == (429, "1")


# What it does


@pytest.mark.parametrize(
    ("kind", "how", "status", "slug"),
    [
        ("throttled", {}, 403, "rate_limit"),
        ("throttled", {"dialect": "429", "seconds": 7}, 429, "too_many_requests"),
        ("quota_spent", {}, 429, "usage_limit"),
        ("quota_spent", {"dialect": "402"}, 402, "payment_required"),
        ("unauthorized", {}, 401, "authentication_failed"),
        ("forbidden", {}, 403, "forbidden"),
        ("unknown_record", {}, 404, "not_found"),
        ("claimed_email", {}, 451, "claimed_email"),
        ("smtp_failed", {}, 222, "smtp_error"),
        ("invalid_domain", {}, 400, "invalid_domain"),
    ],
)
async def test_hunter_spells_a_fault_in_its_own_words(
    ask: Client, kind: str, how: dict[str, Any], status: int, slug: str
) -> None:
    ask.simulator.inject(kind, **how)
    response = await ask.get(VERIFY, email=EMAIL)
    assert (response.status_code, response.json()["errors"][0]["id"]) == (status, slug)
    assert response.headers.get("Retry-After") == ("7" if "seconds" in how else None)


@pytest.mark.parametrize(
    ("kind", "status", "slug", "charged"),
    [
        ("throttled", 429, "rate_limit", False),
        ("quota_spent", 402, "over_quota", False),
        ("unauthorized", 401, "invalid_api_key", False),
        ("unknown_record", 404, "unknown_record", True),
        ("unknown_route", 404, "unknown_route", False),
    ],
)
async def test_clearbit_spells_a_fault_in_its_own_words(
    ask: Client, kind: str, status: int, slug: str, charged: bool
) -> None:
    ask.simulator.inject(kind)
    response = await ask.get(FIND, domain=DOMAIN)
    assert (response.status_code, response.json()["error"]["type"]) == (status, slug)
    assert [(entry.fault, entry.charged) for entry in ask.journal] == [(kind, charged)]


async def test_a_vendor_without_a_word_for_a_fault_is_unaffected(ask: Client) -> None:
    ask.simulator.inject("claimed_email")
    assert await ask.statuses(FIND, 1, domain=DOMAIN) == [200]


async def test_any_status_body_and_header_can_be_had(ask: Client) -> None:
    ask.simulator.inject("status", status=418, body='{"a":1}', headers={"Retry-After": "9"})
    response = await ask.get(FIND, domain=DOMAIN)
    assert (response.status_code, response.json()) == (418, {"a": 1})
    assert response.headers["Retry-After"] == "9"


@pytest.mark.parametrize(
    ("kind", "body"), [("html", b"<!DOCTYPE"), ("empty", b""), ("empty_list", b"[]")]
)
async def test_a_200_may_hold_no_record(ask: Client, kind: str, body: bytes) -> None:
    ask.simulator.inject(kind)
    response = await ask.get(FIND, domain=DOMAIN)
    assert response.status_code == 200
    assert response.content[:9] == body


async def test_a_truncated_body_is_half_of_the_json(ask: Client) -> None:
    whole = (await ask.get(FIND, domain=DOMAIN)).content
    ask.simulator.inject("truncated")
    half = (await ask.get(FIND, domain=DOMAIN)).content
    assert half == whole[: len(whole) // 2]


async def test_wrong_types_are_texts_for_numbers(ask: Client) -> None:
    ask.simulator.inject("wrong_types")
    data = (await ask.get(VERIFY, email=EMAIL)).json()["data"]
    assert isinstance(data["score"], str)
    assert data["regexp"] is True


async def test_all_nulls_keep_the_keys(ask: Client) -> None:
    ask.simulator.inject("all_nulls")
    data = (await ask.get(VERIFY, email=EMAIL)).json()["data"]
    assert data["status"] is data["score"] is data["email"] is None


async def test_a_wrong_charset_cannot_be_decoded(ask: Client) -> None:
    ask.simulator.inject("wrong_charset")
    content = (await ask.get(FIND, domain=DOMAIN)).content
    assert json.loads(content.decode("latin-1"))["note"] == "café"
    with pytest.raises(UnicodeDecodeError):
        json.loads(content)


async def test_a_huge_body_is_as_large_as_asked_for(ask: Client) -> None:
    ask.simulator.inject("huge", size=1_000_000)
    response = await ask.get(FIND, domain=DOMAIN)
    assert len(response.content) > 1_000_000
    assert response.json()["domain"] == DOMAIN


async def test_a_client_may_leave_in_the_middle_of_a_huge_body(
    ask: Client, caplog: pytest.LogCaptureFixture
) -> None:
    ask.simulator.inject("huge")
    headers = {"Authorization": "Bearer k"}
    url = f"{ask.simulator.url}{FIND}?domain={DOMAIN}"
    async with ask.http.stream("GET", url, headers=headers) as response:
        async for _ in response.aiter_bytes():
            break
    await ask.journal.until(lambda: bool(ask.journal.calls(abandoned=True)))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_gzip_bomb_is_small_until_it_is_unpacked(ask: Client) -> None:
    ask.simulator.inject("gzip_bomb", size=5_000_000)
    url, headers = f"{ask.simulator.url}{FIND}?domain={DOMAIN}", {"Authorization": "Bearer k"}
    async with ask.http.stream("GET", url, headers=headers) as response:
        packed = b"".join([chunk async for chunk in response.aiter_raw()])
    assert len(packed) < 20_000
    assert len(gzip.decompress(packed)) == 5_000_002


async def test_a_dripping_body_comes_in_many_pieces(ask: Client) -> None:
    ask.simulator.inject("drip", seconds=0.2)
    assert (await ask.get(FIND, domain=DOMAIN)).json()["domain"] == DOMAIN
    (entry,) = ask.journal
    assert entry.duration is not None
    assert entry.duration >= 0.2


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [("reset", httpx.ReadError, 0), ("cut_off", httpx.RemoteProtocolError, 200)],
)
async def test_a_broken_connection_has_cost_money(
    ask: Client, kind: str, error: type[Exception], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    ask.simulator.inject(kind, times=1)
    with pytest.raises(error):
        await ask.get(FIND, domain=DOMAIN)
    assert (await ask.get(FIND, domain=DOMAIN)).status_code == 200
    found = [(entry.status, entry.charged) for entry in ask.journal]
    assert found == [(status, True), (200, False)]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_hanging_call_ends_with_its_client_or_with_the_simulator(ask: Client) -> None:
    ask.simulator.inject("hang", charged=False)
    call = asyncio.create_task(ask.get(FIND, domain=DOMAIN))
    await ask.journal.until(lambda: bool(ask.journal.calls()))
    call.cancel()
    await ask.journal.until(lambda: bool(ask.journal.calls(abandoned=True, status=0)))
    assert not ask.journal.calls(charged=True)
