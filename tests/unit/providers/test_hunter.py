"""Hunter: both dialects of its refusals, and what a verdict becomes on a lead."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import aiohttp
import httpx
import pytest
from pydantic import SecretStr

from enricher.answer import (
    Answer,
    Found,
    Held,
    NotFound,
    Objected,
    Preparing,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.catalogue import Window
from enricher.providers.base import Access
from enricher.providers.http import RATE_LIMITED
from enricher.providers.hunter import (
    HunterVerifier,
)
from tests.support.mock_client import mock_client

KEY = "hunter-secret"
QUERY = Query(email="pat+crm@acme.example", company_domain="acme.example")
NOW = datetime(2026, 10, 7, 12, 0, 0, tzinfo=UTC)
DATE = {"date": format_datetime(NOW, usegmt=True)}
REFUSED = Held("the key is refused")
USED_UP = Held("the quota is used up")
BAD_QUESTION = NotFound("the vendor refused the question")

DATA = {"status": "valid", "score": 99, "email": "pat+crm@acme.example"}
Handler = Callable[[httpx.Request], httpx.Response]


def hunter(handler: Any, **more: Any) -> HunterVerifier:
    http = mock_client(handler)
    return HunterVerifier(http, Access(SecretStr(KEY), HunterVerifier.host), **more)


def always(status: int, body: object = None, headers: dict[str, str] | None = None) -> Handler:
    return lambda _: httpx.Response(status, json=body, headers=headers)


def interpret(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return hunter(always(500)).interpret(Reply(status, headers or {}, raw))


def error(kind: str) -> dict[str, object]:
    return {"errors": [{"id": kind, "code": 400, "details": "text"}]}


def not_hunters(status: int) -> Unavailable:
    """What somebody in between says counts as an outage."""
    return Unavailable(f"{status} without the vendor's own words")


@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"),
    [
        pytest.param(202, b"", {}, Preparing(), id="202"),
        pytest.param(202, {"data": DATA}, {}, Preparing(), id="202 with data"),
        pytest.param(202, b"", {"retry-after": "5"}, Preparing(5.0), id="202 with a delay"),
        pytest.param(
            222,
            {"data": DATA},
            {},
            Unavailable("the mailbox's server gave no clear answer (222)"),
            id="222",
        ),
        pytest.param(400, error("wrong_params"), {}, BAD_QUESTION, id="400 wrong_params"),
        pytest.param(400, error("invalid_email"), {}, BAD_QUESTION, id="400 invalid_email"),
        pytest.param(400, error("invalid_domain"), {}, BAD_QUESTION, id="400 invalid_domain"),
        pytest.param(400, b"<html>", {}, Unavailable("400"), id="400 of a proxy"),
        pytest.param(401, error("authentication_failed"), {}, REFUSED, id="401"),
        pytest.param(401, b"<html>", {}, not_hunters(401), id="401 html"),
        pytest.param(402, error("payment_required"), {}, USED_UP, id="402"),
        pytest.param(402, b"", {}, not_hunters(402), id="402 with no body"),
        pytest.param(403, error("forbidden"), {}, REFUSED, id="403 forbidden"),
        pytest.param(403, error("unauthorized"), {}, REFUSED, id="403 unauthorized"),
        pytest.param(403, error("payment_required"), {}, USED_UP, id="403 payment_required"),
        pytest.param(403, error("claimed_email"), {}, Objected(), id="403 claimed_email"),
        pytest.param(403, error("too_many_requests"), {}, Throttled(), id="403 rate limit"),
        pytest.param(403, b"", {}, not_hunters(403), id="403 with no body"),
        pytest.param(404, error("not_found"), {}, NotFound(), id="404"),
        pytest.param(404, b"<html>", {}, Unavailable("404"), id="404 of a proxy"),
        pytest.param(422, error("invalid"), {}, BAD_QUESTION, id="422"),
        pytest.param(429, b"", {"retry-after": "7"}, Throttled(7.0), id="429 seconds"),
        pytest.param(
            429,
            b"",
            {"retry-after": "Wed, 07 Oct 2026 12:00:30 GMT"},
            Throttled(30.0),
            id="429 date",
        ),
        pytest.param(429, b"", {"retry-after": "soon"}, Throttled(), id="429 garbled"),
        pytest.param(429, b"", {}, Throttled(), id="429 without hint"),
        pytest.param(
            429, error("payment_required"), {"retry-after": "7"}, USED_UP, id="429 paid out"
        ),
        pytest.param(451, error("claimed_email"), {}, Objected(), id="451"),
        pytest.param(451, b"<html>", {}, not_hunters(451), id="451 with no id"),
        pytest.param(451, error("legal"), {}, not_hunters(451), id="451 with another id"),
        *(
            pytest.param(status, b"<html>", {}, Unavailable(str(status)), id=str(status))
            for status in (201, 204, 301, 302, 405, 409, 410, 500, 502, 503, 504, 520, 999)
        ),
    ],
)
def test_each_status_code_has_its_own_meaning(
    status: int, body: object, headers: dict[str, str], answer: Answer
) -> None:
    assert interpret(status, body, {**DATE, **headers}) == answer


@pytest.mark.parametrize(
    "body",
    [
        error("x"),
        {"errors": []},
        {"errors": None},
        {"errors": [None]},
        {"errors": "x"},
        {"errors": {}},
    ],
    ids=range(6),
)
def test_an_error_envelope_of_any_shape_is_read_safely(body: object) -> None:
    assert interpret(503, body) == Unavailable("503")


async def test_the_question_carries_the_address_whole_and_the_key_only_in_a_header() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"data": DATA})

    assert isinstance(await hunter(answer).ask(QUERY), Found)
    assert seen[0].url.path == "/v2/email-verifier"
    assert dict(seen[0].url.params) == {"email": "pat+crm@acme.example"}
    assert seen[0].headers["x-api-key"] == KEY
    assert "authorization" not in seen[0].headers


def test_only_a_query_with_an_address_is_fit() -> None:
    provider = hunter(always(500))
    assert provider.unfit(QUERY) is None
    assert provider.unfit(Query(company_domain="acme.example")) == "no e-mail address"


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, {"data": {"email": "owner@acme.example"}}, None),
        (200, [], "the body is not an account"),
        (401, error("authentication_failed"), "the key is refused"),
        (403, error("forbidden"), "the key is refused"),
        (403, error("too_many_requests"), RATE_LIMITED),
        (403, None, "unexpected answer (403)"),
        (402, None, "unexpected answer (402)"),
        (429, None, "the quota is used up"),
        (429, error("usage_exceeded"), "the quota is used up"),
        (404, None, "the address is wrong (404)"),
        (500, None, "unexpected answer (500)"),
    ],
)
async def test_the_probe_looks_at_the_free_account(
    status: int, body: object, verdict: str | None
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(status, json=body)

    assert await hunter(answer).probe() == verdict
    assert asked == ["https://api.hunter.io/v2/account"]


async def test_the_probe_says_so_when_nobody_answers() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise aiohttp.ClientConnectionError("no")

    assert await hunter(refuse).probe() == "the connection failed"


def test_a_setting_replaces_the_limit_of_the_minute_and_not_of_the_second() -> None:
    assert hunter(always(500)).windows == (Window(10, 1), Window(300, 60))
    assert hunter(always(500), per_minute=90).windows == (Window(10, 1), Window(90, 60))
