"""People Data Labs: what each status code means, what is asked, what it costs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from enricher.answer import Answer, Found, Held, NotFound, Query, Throttled, Unavailable
from enricher.catalogue import Window
from enricher.providers.http import RATE_LIMITED
from enricher.providers.pdl import PdlCompany, PdlPerson
from tests.support.vendor_case import DATE, KEY, UNREADABLE, interpret, provider, reply

QUERY = Query(
    email="pat@acme.com", email_key="pat@acme.com", company_domain="acme.com", full_name="Pat"
)
REFUSED = NotFound("the vendor refused the question")
both = pytest.mark.parametrize("kind", [PdlCompany, PdlPerson], ids=["company", "person"])


def error(kind: object) -> dict[str, object]:
    return {"status": 404, "error": {"type": kind, "message": "text"}}


@both
@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"),
    [
        pytest.param(400, error("invalid_request_error"), {}, REFUSED, id="400"),
        pytest.param(401, error("authentication_error"), {}, Held("the key is refused"), id="401"),
        pytest.param(401, b"<html>", {}, Held("the key is refused"), id="401 html"),
        pytest.param(402, error("payment_required"), {}, Held("the quota is used up"), id="402"),
        pytest.param(404, error("not_found"), {}, NotFound(), id="404"),
        pytest.param(404, error(["not_found"]), {}, NotFound(), id="404, types in a list"),
        *(
            pytest.param(404, body, {}, Unavailable("unknown route (404)"), id=f"404 {name}")
            for name, body in {
                "of a proxy": b"<html>not_found</html>",
                "empty": b"",
                "another type": error("api_error"),
                "error is null": {"error": None},
                "error is text": {"error": "not_found"},
                "a list": [error("not_found")],
            }.items()
        ),
        pytest.param(
            429,
            error("rate_limit_error"),
            {"x-ratelimit-reset": "2026-10-07T12:00:41Z"},
            Throttled(41.0),
            id="429 ISO",
        ),
        pytest.param(
            429, b"", {"x-ratelimit-reset": "2026-10-07T11:59:00Z"}, Throttled(60.0), id="429 past"
        ),
        pytest.param(429, b"", {"x-ratelimit-reset": ""}, Throttled(60.0), id="429 empty"),
        pytest.param(429, b"", {}, Throttled(60.0), id="429 without a hint"),
        *(
            pytest.param(status, b"<html>", {}, Unavailable(str(status)), id=str(status))
            for status in (201, 202, 204, 301, 403, 405, 409, 410, 422, 451, 500, 502, 503, 520)
        ),
    ],
)
def test_each_status_code_has_its_own_meaning(
    kind: Any, status: int, body: object, headers: dict[str, str], answer: Answer
) -> None:
    assert interpret(kind, status, body, headers) == answer


@pytest.mark.parametrize("body", [*UNREADABLE, b"", b"{}", b"null"], ids=range(13))
@both
def test_a_200_without_a_record_is_a_failure_and_no_answer(kind: Any, body: bytes) -> None:
    assert isinstance(interpret(kind, 200, body), Unavailable)


@pytest.mark.parametrize("likelihood", [1, 5, "5", 5.9])
def test_what_is_too_uncertain_is_not_written(likelihood: object) -> None:
    uncertain = NotFound("the match is too uncertain")
    company = {"name": "Acme", "likelihood": likelihood}
    person = {"data": {"full_name": "Pat"}, "likelihood": likelihood}
    assert interpret(PdlCompany, 200, company) == uncertain
    assert interpret(PdlPerson, 200, person) == uncertain


@pytest.mark.parametrize("likelihood", [6, 10, None, "high", True])
def test_what_is_certain_enough_or_says_nothing_of_it_is_written(likelihood: object) -> None:
    assert isinstance(interpret(PdlCompany, 200, {"name": "Acme", "likelihood": likelihood}), Found)


async def asked(kind: Any, query: Query) -> httpx.Request:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(404, json=error("not_found"))

    assert await provider(kind, answer).ask(query) == NotFound()
    return seen[0]


async def test_a_company_is_asked_for_by_its_domain_and_only_if_it_is_certain() -> None:
    request = await asked(PdlCompany, QUERY)
    assert (request.method, request.url.path) == ("GET", "/v5/company/enrich")
    expected = {"website": "acme.com", "min_likelihood": "6", "titlecase": "true"}
    assert dict(request.url.params) == expected
    assert request.headers["x-api-key"] == KEY
    assert KEY not in str(request.url)


async def test_a_person_is_asked_for_by_the_address_alone() -> None:
    request = await asked(PdlPerson, QUERY)
    assert (request.method, request.url.path) == ("GET", "/v5/person/enrich")
    expected = {"email": "pat@acme.com", "include_if_matched": "true"}
    assert dict(request.url.params) == expected | {"min_likelihood": "6", "titlecase": "true"}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (QUERY, None),
        (Query(company_domain="acme.com"), "no e-mail address"),
        (Query(email="info@acme.com", is_role=True), "role address"),
        (Query(email="pat@gmail.com", is_free_mail=True), "free-mail address"),
        (Query(email="pat@yopmail.com", is_disposable=True), "disposable address"),
    ],
)
def test_only_a_person_s_own_address_at_a_company_is_fit(query: Query, reason: str | None) -> None:
    assert provider(PdlPerson).unfit(query) == reason


def test_only_a_query_with_a_company_domain_is_fit() -> None:
    company = provider(PdlCompany)
    assert company.unfit(QUERY) is None
    why = Query(email="pat@gmail.com", no_company_domain="free-mail address")
    assert company.unfit(why) == "free-mail address"


@both
def test_only_a_match_is_charged(kind: Any) -> None:
    charged = [each for each in range(200, 600) if provider(kind).is_charged(reply(each))]
    assert charged == [200]


@both
async def test_the_last_call_of_a_window_makes_everybody_wait_for_its_end(kind: Any) -> None:
    headers = {
        **DATE,
        "x-ratelimit-remaining": '{"minute": 0, "day": null, "month": null}',
        "x-ratelimit-reset": "2026-10-07T12:00:20Z",
    }
    last = provider(kind, lambda _: httpx.Response(200, headers=headers))
    assert (await last.exchange(QUERY)).pause == 20.0
    headers["x-ratelimit-remaining"] = '{"minute": 4, "day": null}'
    headers["x-ratelimit-remaining.minute"] = "4"
    assert (await last.exchange(QUERY)).pause is None


def test_the_limits_are_those_of_the_free_plan_unless_a_setting_replaces_them() -> None:
    assert provider(PdlCompany).windows == (Window(10, 60),)
    assert provider(PdlPerson).windows == (Window(100, 60),)
    assert provider(PdlCompany, per_minute=1000).windows == (Window(1000, 60),)
    assert provider(PdlPerson, per_minute=10).windows == (Window(10, 60),)


def test_the_routes_have_their_limits_each_for_itself() -> None:
    assert provider(PdlCompany).bucket != provider(PdlPerson).bucket


@both
@pytest.mark.parametrize(
    ("status", "headers", "verdict"),
    [
        (200, {}, None),
        (400, {}, None),
        (404, {"x-ratelimit-limit": "{}"}, None),
        (404, {}, "the address is wrong (404)"),
        (401, {}, "the key is refused"),
        (402, {}, "the quota is used up"),
        (429, {}, RATE_LIMITED),
        (403, {}, "unexpected answer (403)"),
        (503, {}, "unexpected answer (503)"),
    ],
)
async def test_the_probe_is_a_head_without_a_question(
    kind: Any, status: int, headers: dict[str, str], verdict: str | None
) -> None:
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.raw_path.decode()))
        return httpx.Response(status, headers=headers)

    assert await provider(kind, answer).probe() == verdict
    assert seen == [("HEAD", "/v5/person/enrich")]


@both
async def test_what_the_plan_and_the_window_have_left_is_read_from_the_headers(
    kind: type[PdlCompany | PdlPerson],
) -> None:
    headers = {"x-totallimit-remaining": "95", "x-ratelimit-remaining": '{"minute": 7, "age": 1}'}
    tried = await provider(kind, lambda _: httpx.Response(404, headers=headers)).exchange(QUERY)
    assert (tried.quota_left, dict(tried.window_left)) == (95, {"minute": 7})


@both
@pytest.mark.parametrize("told", ["", "many", "-1"])
async def test_a_header_without_a_number_tells_nothing_of_the_plan(
    kind: type[PdlCompany | PdlPerson], told: str
) -> None:
    answer = httpx.Response(404, headers={"x-totallimit-remaining": told})
    assert (await provider(kind, lambda _: answer).exchange(QUERY)).quota_left is None
