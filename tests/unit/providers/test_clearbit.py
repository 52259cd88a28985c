"""Clearbit: what each status code means, and what a record becomes on a lead."""

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
    Preparing,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.catalogue import Window
from enricher.providers.base import Access
from enricher.providers.clearbit import API_VERSION, ClearbitCompany
from enricher.providers.http import RATE_LIMITED
from tests.support.mock_client import mock_client

KEY = "sk_secret"
QUERY = Query(email="pat@acme.example", company_domain="acme.example")
NOW = datetime(2026, 10, 7, 12, 0, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
DATE = {"date": format_datetime(NOW, usegmt=True)}

RECORD = {"id": "1", "name": "Acme", "domain": "acme.example", "tags": ["B2B"]}


def clearbit(handler: Callable[[httpx.Request], httpx.Response], **more: Any) -> ClearbitCompany:
    http = mock_client(handler)
    return ClearbitCompany(http, Access(SecretStr(KEY), ClearbitCompany.host), **more)


def interpret(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return clearbit(lambda _: httpx.Response(500)).interpret(Reply(status, headers or {}, raw))


def error(kind: str) -> dict[str, object]:
    return {"error": {"type": kind, "message": "text"}}


@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"),
    [
        pytest.param(202, b"", {}, Preparing(), id="202 with no body"),
        pytest.param(202, error("queued"), {}, Preparing(), id="202 queued"),
        pytest.param(202, b"", {"retry-after": "9"}, Preparing(9.0), id="202 with a delay"),
        pytest.param(
            400,
            error("params_invalid"),
            {},
            NotFound("the vendor refused the question"),
            id="400",
        ),
        pytest.param(
            422,
            error("params_invalid"),
            {},
            NotFound("the vendor refused the question"),
            id="422",
        ),
        pytest.param(422, b"<html>", {}, Unavailable("422"), id="422 of a proxy"),
        pytest.param(401, error("auth_required"), {}, Held("the key is refused"), id="401 no key"),
        pytest.param(401, error("invalid_api_key"), {}, Held("the key is refused"), id="401"),
        pytest.param(402, b"", {}, Held("the quota is used up"), id="402"),
        pytest.param(404, error("unknown_record"), {}, NotFound(), id="404 unknown_record"),
        *(
            pytest.param(404, body, {}, Unavailable("unknown route (404)"), id=f"404 {name}")
            for name, body in {
                "unknown_route": error("unknown_route"),
                "with no body": b"",
                "html": b"<html>unknown_record</html>",
                "list": [error("unknown_record")],
                "null error": {"error": None},
                "text error": {"error": "unknown_record"},
            }.items()
        ),
        pytest.param(
            429,
            error("rate_limit"),
            {"x-ratelimit-reset": str(EPOCH + 40)},
            Throttled(40.0),
            id="429 epoch",
        ),
        pytest.param(429, b"", {"x-ratelimit-reset": "55"}, Throttled(55.0), id="429 relative"),
        pytest.param(429, b"", {"x-ratelimit-reset": "soon"}, Throttled(), id="429 garbled reset"),
        pytest.param(429, b"", {"x-ratelimit-reset": ""}, Throttled(), id="429 empty reset"),
        pytest.param(429, b"", {}, Throttled(), id="429 without hint"),
        pytest.param(429, b"", {"retry-after": "12"}, Throttled(12.0), id="429 retry-after"),
        pytest.param(
            429,
            b"",
            {"retry-after": "Wed, 07 Oct 2026 12:00:30 GMT", "x-ratelimit-reset": "55"},
            Throttled(30.0),
            id="429 date before reset",
        ),
        *(
            pytest.param(status, b"<html>", {}, Unavailable(str(status)), id=str(status))
            for status in (201, 204, 301, 302, 403, 405, 410, 451, 500, 502, 503, 504, 520, 999)
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
        *(
            b"",
            b"<html>All is well</html>",
            b'{"id": "1", "name": "Ac',
            b"\xff\xfe\xfa\xfb",
            b"[" * 99_999,
        ),
        *(b"[]", b"{}", b"null", b"true", b'"Acme"', b"7", b'[{"name": "Acme"}]'),
        *(b'{"error": {"type": "queued"}}', '{"name": "Müller"}'.encode("latin-1")),
    ],
    ids=range(14),
)
def test_a_200_without_a_company_record_is_a_failure_and_no_answer(body: bytes) -> None:
    assert interpret(200, body) == Unavailable("the body is not a company record")


async def test_the_question_carries_the_domain_and_the_key_only_in_a_header() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=RECORD)

    assert isinstance(await clearbit(answer).ask(QUERY), Found)
    assert str(seen[0].url) == "https://company.clearbit.com/v2/companies/find?domain=acme.example"
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert seen[0].headers["api-version"] == API_VERSION


def test_only_a_query_with_a_company_domain_is_fit() -> None:
    provider = clearbit(lambda _: httpx.Response(500))
    assert provider.unfit(QUERY) is None
    assert provider.unfit(Query(email="pat@acme.example")) == "no company domain"
    why = Query(email="pat@gmail.com", no_company_domain="free-mail address")
    assert provider.unfit(why) == "free-mail address"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (422, None),
        (400, None),
        (401, "the key is refused"),
        (402, "the quota is used up"),
        (404, "the address is wrong (404)"),
        (429, RATE_LIMITED),
        (500, "unexpected answer (500)"),
        (200, "unexpected answer (200)"),
    ],
)
async def test_the_probe_asks_for_no_company_and_reads_the_refusal(
    status: int, verdict: str | None
) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json=error("some_type"))

    assert await clearbit(answer).probe() == verdict
    assert [str(request.url) for request in seen] == [
        "https://company.clearbit.com/v2/companies/find"
    ]


async def test_the_probe_says_so_when_nobody_answers() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise aiohttp.ClientConnectionError("no")

    assert await clearbit(refuse).probe() == "the connection failed"


def test_the_limit_is_the_vendors_unless_a_setting_replaces_it() -> None:
    assert clearbit(lambda _: httpx.Response(500)).windows == (Window(600, 60),)
    assert clearbit(lambda _: httpx.Response(500), per_minute=30).windows == (Window(30, 60),)
    assert ClearbitCompany.windows == (Window(600, 60),)
