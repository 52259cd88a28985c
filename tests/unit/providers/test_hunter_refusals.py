"""Hunter's refusals that only several replies can explain: the account, and rows of 403s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import aiohttp
import httpx
import pytest
from pydantic import SecretStr

from enricher.answer import Answer, Held, Query, Throttled
from enricher.providers.base import Access
from enricher.providers.hunter import (
    LONGEST_HOLD_SECONDS,
    REFUSALS_BEFORE_HELD,
    UNEXPLAINED_SECONDS,
    HunterVerifier,
)
from tests.support.mock_client import mock_client

QUERY = Query(email="pat@acme.example", company_domain="acme.example")
NOW = datetime(2026, 10, 7, 12, 0, 0, tzinfo=UTC)
DATE = {"date": format_datetime(NOW, usegmt=True)}
REFUSED = Held("the key is refused")
USED_UP = Held("the quota is used up")
RATE_LIMIT = {"errors": [{"id": "rate_limit", "code": 403, "details": "text"}]}
Handler = Callable[[httpx.Request], httpx.Response]


class Clock:
    """Monotonic seconds that pass only when a test says so."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def hunter(handler: Any, clock: Callable[[], float] | None = None) -> HunterVerifier:
    http = mock_client(handler)
    access = Access(SecretStr("hunter-secret"), HunterVerifier.host)
    return HunterVerifier(http, access, clock=clock or Clock())


async def ask_patiently(provider: HunterVerifier, clock: Clock, times: int) -> list[Answer]:
    """Ask again and again, waiting each time as long as the answer says."""
    answers = []
    for _ in range(times):
        answers.append(await provider.ask(QUERY))
        clock.now += getattr(answers[-1], "retry_after", None) or 0.0
    return answers


def account(
    used: object, available: object, reset_date: object = "2026-10-07"
) -> dict[str, object]:
    bucket = {"used": used, "available": available}
    return {"data": {"reset_date": reset_date, "requests": {"verifications": bucket}}}


def out_of_breath(account_reply: httpx.Response, asked: list[str]) -> Handler:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return account_reply if request.url.path == "/v2/account" else httpx.Response(429)

    return answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        pytest.param(
            account(100, 100, "2026-10-07T13:00:00Z"), Held(USED_UP.reason, 3600.0), id="soon"
        ),
        pytest.param(
            account(100, 100, "2026-11-01"), Held(USED_UP.reason, LONGEST_HOLD_SECONDS), id="late"
        ),
        pytest.param(account(101.5, 100, "2026-10-01"), USED_UP, id="reset date is past"),
        pytest.param(account(100, 100, "someday"), USED_UP, id="garbled reset date"),
        pytest.param(account(100, 100, None), USED_UP, id="no reset date"),
        pytest.param(
            {"data": {"requests": {"credits": {"used": 50, "available": 50}}}},
            USED_UP,
            id="credits",
        ),
        pytest.param(account(99, 100), Throttled(UNEXPLAINED_SECONDS), id="one left"),
        pytest.param(account(None, 100), Throttled(UNEXPLAINED_SECONDS), id="nulls"),
        pytest.param(account("many", True), Throttled(UNEXPLAINED_SECONDS), id="wrong types"),
        pytest.param({"data": None}, Throttled(UNEXPLAINED_SECONDS), id="no account"),
        pytest.param([], Throttled(UNEXPLAINED_SECONDS), id="a list"),
    ],
)
async def test_a_429_without_hint_asks_the_account_which_limit_it_is(
    reply: object, answer: Answer
) -> None:
    asked: list[str] = []
    provider = hunter(out_of_breath(httpx.Response(200, json=reply, headers=DATE), asked))
    assert await provider.ask(QUERY) == answer
    assert asked == ["/v2/email-verifier", "/v2/account"]


@pytest.mark.parametrize("status", [401, 403, 429, 500])
async def test_an_account_that_cannot_be_seen_makes_it_the_rate_limit(status: int) -> None:
    provider = hunter(out_of_breath(httpx.Response(status), []))
    assert await provider.ask(QUERY) == Throttled(UNEXPLAINED_SECONDS)


async def test_an_account_that_does_not_answer_makes_it_the_rate_limit() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v2/account":
            raise aiohttp.ClientConnectionError("no")
        return httpx.Response(429)

    assert await hunter(answer).ask(QUERY) == Throttled(UNEXPLAINED_SECONDS)


async def test_one_look_at_the_account_answers_for_many_refused_calls() -> None:
    asked: list[str] = []
    provider = hunter(out_of_breath(httpx.Response(200, json=account(9, 9, None)), asked))
    first = await provider.ask(QUERY)
    later = await asyncio.gather(*(provider.ask(QUERY) for _ in range(20)))
    assert [first, *later] == [USED_UP] * 21
    assert asked.count("/v2/account") == 1


async def test_a_minute_later_the_account_is_looked_at_again() -> None:
    asked: list[str] = []
    account_reply = httpx.Response(200, json=account(9, 9, None))
    provider = hunter(out_of_breath(account_reply, asked), clock := Clock())
    await provider.ask(QUERY)
    clock.now += UNEXPLAINED_SECONDS
    await provider.ask(QUERY)
    assert asked.count("/v2/account") == 2


async def test_a_429_with_a_delay_does_not_look_at_the_account() -> None:
    provider = hunter(lambda _: httpx.Response(429, headers={"retry-after": "3"}))
    assert await provider.ask(QUERY) == Throttled(3.0)


async def test_unexplained_403s_wait_longer_each_time_and_end_as_a_refused_key() -> None:
    provider = hunter(lambda _: httpx.Response(403, json=RATE_LIMIT), clock := Clock())
    answers = await ask_patiently(provider, clock, REFUSALS_BEFORE_HELD)
    assert answers == [Throttled(15.0), Throttled(30.0), Throttled(60.0), Throttled(120.0), REFUSED]


async def test_a_key_stays_refused_until_it_is_accepted() -> None:
    provider = hunter(lambda _: httpx.Response(403, json=RATE_LIMIT), clock := Clock())
    await ask_patiently(provider, clock, REFUSALS_BEFORE_HELD)
    for _ in range(20):
        clock.now += REFUSED.seconds
        assert await provider.ask(QUERY) == REFUSED


async def test_403s_of_callers_that_do_not_wait_are_one_refusal() -> None:
    provider = hunter(lambda _: httpx.Response(403, json=RATE_LIMIT), clock := Clock())
    for _ in range(50):
        assert await provider.ask(QUERY) == Throttled(15.0)
        clock.now += 0.2


async def test_a_burst_of_403s_is_one_refusal() -> None:
    all_sent = asyncio.Barrier(20)

    async def refuse(request: httpx.Request) -> httpx.Response:
        await all_sent.wait()
        return httpx.Response(403, json=RATE_LIMIT)

    provider = hunter(refuse)
    answers = await asyncio.gather(*(provider.ask(QUERY) for _ in range(20)))
    assert answers == [Throttled(15.0)] * 20


@pytest.mark.parametrize(
    ("status", "next_answer"), [(200, Throttled(15.0)), (404, Throttled(15.0)), (500, REFUSED)]
)
async def test_only_an_answer_that_accepts_the_key_ends_a_row_of_403s(
    status: int, next_answer: Answer
) -> None:
    replies = [403] * (REFUSALS_BEFORE_HELD - 1) + [status, 403]
    body = {"data": {"status": "valid"}} if status == 200 else {"errors": [{"id": "not_found"}]}
    provider = hunter(
        lambda _: httpx.Response(code := replies.pop(0), json=body if code != 403 else RATE_LIMIT),
        clock := Clock(),
    )
    answers = await ask_patiently(provider, clock, REFUSALS_BEFORE_HELD + 1)
    assert answers[-1] == next_answer
