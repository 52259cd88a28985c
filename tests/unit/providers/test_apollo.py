"""Apollo: what each status code means, what is asked, what it costs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from enricher.answer import Answer, Held, NotFound, Query, Throttled, Unavailable
from enricher.catalogue import Window
from enricher.providers.apollo import ApolloCompany, ApolloPerson
from enricher.providers.http import RATE_LIMITED
from tests.support.vendor_case import DATE, KEY, UNREADABLE, interpret, provider, reply

QUERY = Query(email="pat@acme.com", email_key="pat@acme.com", company_domain="acme.com")
REFUSED_QUESTION = NotFound("the vendor refused the question")
REFUSED_KEY, USED_UP = Held("the key is refused"), Held("the quota is used up")
SCOPE = {"error": "This API key is not authorized …", "error_code": "API_INACCESSIBLE"}
LIMIT = {"message": "The maximum number of api calls allowed for … is 600 times per hour."}
both = pytest.mark.parametrize("kind", [ApolloCompany, ApolloPerson], ids=["company", "person"])


@both
@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"),
    [
        pytest.param(
            401, b"Invalid API key. See https://docs", {}, REFUSED_KEY, id="401 plain text"
        ),
        pytest.param(401, b"", {}, REFUSED_KEY, id="401 empty"),
        pytest.param(402, b"", {}, USED_UP, id="402"),
        pytest.param(403, SCOPE, {}, Held("the key may not use this route"), id="403 scope"),
        pytest.param(403, b"<html>", {}, Unavailable("403"), id="403 of a proxy"),
        pytest.param(403, {"error_code": None}, {}, Unavailable("403"), id="403 null"),
        pytest.param(400, {"error": "invalid"}, {}, REFUSED_QUESTION, id="400"),
        pytest.param(
            422,
            {"error": "Required parameter 'domain' missing"},
            {},
            REFUSED_QUESTION,
            id="422 parameter",
        ),
        pytest.param(
            422,
            {"error": "Insufficient credits. Please upgrade your plan."},
            {},
            USED_UP,
            id="422 credits",
        ),
        pytest.param(422, {"message": "INSUFFICIENT CREDITS"}, {}, USED_UP, id="422 message"),
        pytest.param(422, b"<html>", {}, Unavailable("422"), id="422 of a proxy"),
        pytest.param(429, LIMIT, {"retry-after": "31"}, Throttled(31.0), id="429 retry-after"),
        pytest.param(
            429,
            LIMIT,
            {"retry-after": "Wed, 07 Oct 2026 12:00:30 GMT"},
            Throttled(30.0),
            id="429 date",
        ),
        pytest.param(
            429, LIMIT, {"x-hourly-requests-left": "0"}, Throttled(3600.0), id="429 of the hour"
        ),
        pytest.param(429, LIMIT, {"retry-after": ""}, Throttled(60.0), id="429 empty"),
        pytest.param(429, b"", {}, Throttled(60.0), id="429 without a hint"),
        *(
            pytest.param(status, b"<html>", {}, Unavailable(str(status)), id=str(status))
            for status in (201, 202, 204, 301, 404, 405, 409, 410, 451, 500, 502, 503, 504, 520)
        ),
    ],
)
def test_each_status_code_has_its_own_meaning(
    kind: Any, status: int, body: object, headers: dict[str, str], answer: Answer
) -> None:
    assert interpret(kind, status, body, headers) == answer


NOTHING: list[bytes] = [b"", b" \n", b"null", b"{}"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        *((kind, body) for kind in (ApolloCompany, ApolloPerson) for body in NOTHING),
        (ApolloCompany, b'{"organization": null}'),
        (ApolloCompany, b'{"organization": {}}'),
        (ApolloPerson, b'{"person": null, "request_id": 1039}'),
        (ApolloPerson, b'{"person": {}}'),
    ],
)
def test_nothing_found_is_a_200(kind: Any, body: bytes) -> None:
    assert interpret(kind, 200, body) == NotFound()


@pytest.mark.parametrize(
    "body", [*UNREADABLE, b'{"organization": [], "person": "Pat"}'], ids=range(11)
)
@both
def test_any_other_200_without_a_record_is_a_failure(kind: Any, body: bytes) -> None:
    assert isinstance(interpret(kind, 200, body), Unavailable)


STUB = {"id": "5f", "name": "", "match_confidence": "none", "city": "Austin", "organization": {}}


def test_a_place_holder_is_nobody_and_costs_nothing() -> None:
    answer = interpret(ApolloPerson, 200, {"person": STUB})
    assert answer == NotFound()
    assert not provider(ApolloPerson).is_charged(reply(200, {"person": STUB}))


@pytest.mark.parametrize(
    ("status", "body", "left"),
    [
        (200, {"credit_usage_stats": {"lead_credit": {"left_over": 77}}}, 77.0),
        (200, {"credit_usage_stats": {}}, None),
        (200, [], None),
        (403, {"error": "no", "error_code": "API_INACCESSIBLE"}, None),
    ],
)
async def test_the_credits_left_are_the_vendors_own_count(
    status: int, body: object, left: float | None
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == (
            "POST",
            "/api/v1/usage_stats/credit_usage_stats",
        )
        return httpx.Response(status, json=body)

    assert await provider(ApolloCompany, answer).quota_left() == left


def test_a_company_costs_whether_it_is_known_or_not() -> None:
    company = provider(ApolloCompany)
    assert company.is_charged(reply(200, {"organization": {"name": "Acme"}}))
    assert company.is_charged(reply(200, {"organization": None}))
    assert not [status for status in range(201, 600) if company.is_charged(reply(status))]


def test_a_person_costs_only_when_there_is_one() -> None:
    person = provider(ApolloPerson)
    assert person.is_charged(reply(200, {"person": {"name": "Pat"}}))
    assert person.is_charged(reply(200, b'{"person": {"na'))
    for nothing in (b"", b"{}", b'{"person": null}', b'{"person": {}}'):
        assert not person.is_charged(reply(200, nothing))
    assert not [status for status in range(201, 600) if person.is_charged(reply(status))]


async def asked(kind: Any) -> httpx.Request:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    assert await provider(kind, answer).ask(QUERY) == NotFound()
    return seen[0]


async def test_a_company_is_asked_for_by_its_domain_and_the_key_is_in_a_header() -> None:
    request = await asked(ApolloCompany)
    assert request.method == "GET"
    url = "https://api.apollo.io/api/v1/organizations/enrich?domain=acme.com"
    assert str(request.url) == url
    assert request.headers["x-api-key"] == KEY


async def test_a_person_is_posted_with_parameters_in_the_url_and_nothing_dear_is_revealed() -> None:
    request = await asked(ApolloPerson)
    assert (request.method, request.url.path) == ("POST", "/api/v1/people/match")
    assert dict(request.url.params) == {"email": "pat@acme.com"}
    assert request.content == b""


def test_a_role_or_a_free_mail_address_is_nobody_to_ask_about() -> None:
    person = provider(ApolloPerson)
    assert person.unfit(QUERY) is None
    assert person.unfit(Query(email="info@acme.com", is_role=True)) == "role address"
    assert person.unfit(Query(email="p@gmail.com", is_free_mail=True)) == "free-mail address"
    assert provider(ApolloCompany).unfit(Query(email="p@gmail.com")) == "no company domain"


@both
@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"x-minute-requests-left": "0"}, 60.0),
        ({"x-minute-requests-left": "3", "x-hourly-requests-left": "0"}, 3600.0),
        ({"x-minute-requests-left": "3", "x-24-hour-requests-left": "0"}, None),
        ({"x-rate-limit-hourly": "", "x-minute-requests-left": "49"}, None),
        ({"x-minute-requests-left": "", "x-hourly-requests-left": "n/a"}, None),
        ({}, None),
    ],
)
async def test_who_used_the_last_call_of_a_window_waits_and_an_empty_header_is_no_limit(
    kind: Any, headers: dict[str, str], pause: float | None
) -> None:
    answer = httpx.Response(200, headers={**DATE, **headers})
    assert (await provider(kind, lambda _: answer).exchange(QUERY)).pause == pause


FREE = (Window(50, 60), Window(200, 3600), Window(600, 86_400))


@both
@pytest.mark.parametrize(
    ("per_minute", "windows"),
    [
        (None, FREE),
        (50, FREE),
        (30, (Window(30, 60), *FREE[1:])),
        (1000, (Window(1000, 60),)),
    ],
)
def test_all_windows_of_the_free_plan_hold_and_a_paid_one_has_no_long_ones(
    kind: Any, per_minute: int | None, windows: tuple[Window, ...]
) -> None:
    assert provider(kind, per_minute=per_minute).windows == windows


@both
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (httpx.Response(200, json={"healthy": True, "is_logged_in": True}), None),
        (httpx.Response(200, json={"healthy": True, "is_logged_in": False}), "the key is refused"),
        (httpx.Response(200, html="<html>"), "the body is not a health report"),
        (httpx.Response(401, text="Invalid API key."), "the key is refused"),
        (httpx.Response(403, json=SCOPE), None),
        (httpx.Response(403), "unexpected answer (403)"),
        (httpx.Response(404), "the address is wrong (404)"),
        (httpx.Response(429), RATE_LIMITED),
        (httpx.Response(500), "unexpected answer (500)"),
    ],
)
async def test_the_probe_asks_the_vendors_own_test_of_a_key(
    kind: Any, answer: httpx.Response, verdict: str | None
) -> None:
    seen: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.method} {request.url}")
        return answer

    assert await provider(kind, respond).probe() == verdict
    assert seen == ["GET https://api.apollo.io/v1/auth/health"]
