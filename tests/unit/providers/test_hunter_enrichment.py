"""Hunter's companies and persons: every status code, every shape, and what becomes of them."""

from __future__ import annotations

import json
from typing import Any

import bson
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from enricher.answer import (
    Answer,
    Found,
    Held,
    Kind,
    NotFound,
    Objected,
    Preparing,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.fields import FIELDS
from enricher.providers.base import Access
from enricher.providers.hunter import UNEXPLAINED_SECONDS, HunterCompany, HunterPerson, HunterRoute
from tests.support.mock_client import mock_client
from tests.unit.providers.test_clearbit_record import RECORD as OF_CLEARBIT
from tests.unit.providers.test_clearbit_record import VALUES as VALUES_OF_CLEARBIT
from tests.unit.providers.test_clearbit_record import like

KEY = "hunter-secret"
QUERY = Query(email="pat@acme.example", email_key="pat@acme.example", company_domain="acme.example")
REFUSED = Held("the key is refused")
USED_UP = Held("the quota is used up")
BAD_QUESTION = NotFound("the vendor refused the question")

COMPANY: dict[str, Any] = {
    **OF_CLEARBIT,
    "id": "95ca56a8-a019-5c41-881e-000000000000",
    "logo": "https://logos.hunter.io/acme.example",
    "emailProvider": "google.com",
    "company_type": "privately held",
    "metrics": {"alexaGlobalRank": None, "employees": "11-50", "raised": None},
    "indexedAt": "2024-09-09",
    "fundingRounds": [],
}
_NOT_HUNTERS = ("clearbit_id", "employee_count", "alexa_rank", "raised", "annual_revenue")
COMPANY_VALUES = {
    **{name: value for name, value in VALUES_OF_CLEARBIT.items() if name not in _NOT_HUNTERS},
    "logo_url": "https://logos.hunter.io/acme.example",
    "employee_range": "11-50",
}
del COMPANY_VALUES["estimated_annual_revenue"]
PERSON: dict[str, Any] = {
    "id": "f679f5ef-f7a0-4cb1-8790-000000000000",
    "name": {"fullName": "Pat Example", "givenName": "Pat", "familyName": "Example"},
    "email": "pat@acme.example",
    "location": "Hamburg, HH, DE",
    "timeZone": "Europe/Berlin",
    "bio": "Likes boats.",
    "avatar": "https://acme.example/pat.png",
    "employment": {"title": "Senior PM", "role": "product", "seniority": "manager"},
    "github": {"handle": "pat", "id": 7},
    "twitter": {"handle": "pat_e"},
    "linkedin": {"handle": "in/pat"},
    "phone": "+1 415 555 0100",
    "emailProvider": "google.com",
    "fuzzy": False,
}
PERSON_VALUES = {
    "full_name": "Pat Example",
    "first_name": "Pat",
    "last_name": "Example",
    "job_title": "Senior PM",
    "role": "product",
    "seniority": "manager",
    "location": "Hamburg, HH, DE",
    "timezone": "Europe/Berlin",
    "bio": "Likes boats.",
    "avatar_url": "https://acme.example/pat.png",
    "linkedin_handle": "in/pat",
    "twitter_handle": "pat_e",
    "github_handle": "pat",
}
ROUTES: tuple[type[HunterRoute], ...] = (HunterCompany, HunterPerson)
each_route = pytest.mark.parametrize("route", ROUTES, ids=["company", "person"])


def route_of(kind: type[HunterRoute], handler: Any = None) -> HunterRoute:
    return kind(
        mock_client(handler or (lambda _: httpx.Response(500))), Access(SecretStr(KEY), kind.host)
    )


def interpret(
    kind: type[HunterRoute], status: int, body: object, headers: dict[str, str] | None = None
) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return route_of(kind).interpret(Reply(status, headers or {}, raw))


def values_of(answer: Answer, kind: Kind) -> dict[str, object]:
    assert isinstance(answer, Found)
    assert answer.sections.keys() == {kind.section}
    return dict(answer.sections[kind.section])


def error(slug: str) -> dict[str, object]:
    return {"errors": [{"id": slug, "code": 400, "details": "text"}]}


@each_route
@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"),
    [
        pytest.param(202, b"", {}, Preparing(), id="202"),
        pytest.param(222, b"", {}, Unavailable("222"), id="222 is the verifier's alone"),
        pytest.param(400, error("wrong_params"), {}, BAD_QUESTION, id="400 wrong_params"),
        pytest.param(400, error("invalid_domain"), {}, BAD_QUESTION, id="400 invalid_domain"),
        pytest.param(400, error("invalid_email"), {}, BAD_QUESTION, id="400 invalid_email"),
        pytest.param(400, b"<html>", {}, Unavailable("400"), id="400 of a proxy"),
        pytest.param(401, error("authentication_failed"), {}, REFUSED, id="401"),
        pytest.param(402, error("payment_required"), {}, USED_UP, id="402"),
        pytest.param(
            402,
            b"",
            {},
            Unavailable("402 without the vendor's own words"),
            id="402 with no body",
        ),
        pytest.param(403, error("forbidden"), {}, REFUSED, id="403 forbidden"),
        pytest.param(403, error("rate_limit"), {}, Throttled(), id="403 rate limit"),
        pytest.param(404, error("not_found"), {}, NotFound(), id="404"),
        pytest.param(404, b"<html>", {}, Unavailable("404"), id="404 of a proxy"),
        pytest.param(422, error("invalid"), {}, BAD_QUESTION, id="422"),
        pytest.param(429, b"", {"retry-after": "7"}, Throttled(7.0), id="429 with a delay"),
        pytest.param(429, b"", {}, Throttled(), id="429 without hint"),
        *(
            pytest.param(status, b"<html>", {}, Unavailable(str(status)), id=str(status))
            for status in (201, 204, 301, 302, 405, 409, 410, 500, 502, 503, 504, 520, 999)
        ),
    ],
)
def test_each_status_code_has_its_own_meaning(
    route: type[HunterRoute], status: int, body: object, headers: dict[str, str], answer: Answer
) -> None:
    assert interpret(route, status, body, headers) == answer


def test_451_is_the_objection_of_a_person_and_no_word_about_the_people_of_a_domain() -> None:
    assert interpret(HunterPerson, 451, error("claimed_email")) == Objected()
    assert interpret(HunterCompany, 451, error("claimed_email")) == NotFound("its owner objected")


@each_route
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", error("legal"), {"errors": {"id": "x"}}])
def test_a_451_in_anybody_elses_words_is_an_outage(route: type[HunterRoute], body: object) -> None:
    assert interpret(route, 451, body) == Unavailable("451 without the vendor's own words")


@each_route
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"7", {"meta": {}}, {"data": []}, {"data": {"a": 1}}, b"\xff"]
)
def test_a_200_that_is_no_record_is_no_answer(route: type[HunterRoute], body: object) -> None:
    assert interpret(route, 200, body) == Unavailable(f"the body is not a {route.kind} record")


@pytest.mark.parametrize(
    ("route", "record"),
    [
        (HunterCompany, None),
        (HunterPerson, None),
        (HunterCompany, dict.fromkeys(COMPANY)),
        (HunterPerson, dict.fromkeys(PERSON)),
        (HunterCompany, {"id": "1", "domain": "a.b", "logo": "https://logos.hunter.io/a.b"}),
        (HunterPerson, {"id": "1", "email": "pat@acme.example", "name": None}),
        (HunterPerson, {"name": {"fullName": "N/A", "givenName": True}, "employment": []}),
    ],
)
def test_a_record_that_says_nothing_is_not_found(route: type[HunterRoute], record: object) -> None:
    assert interpret(route, 200, {"data": record}) == NotFound("the record is empty")


def test_a_full_company_becomes_company_data() -> None:
    record = COMPANY
    assert (
        values_of(interpret(HunterCompany, 200, {"data": record}), Kind.COMPANY) == COMPANY_VALUES
    )


def test_a_full_person_becomes_person_data() -> None:
    assert values_of(interpret(HunterPerson, 200, {"data": PERSON}), Kind.PERSON) == PERSON_VALUES
    assert PERSON_VALUES.keys() == FIELDS[Kind.PERSON]


@pytest.mark.parametrize(
    ("employees", "expected"),
    [
        ("11-50", {"employee_range": "11-50"}),
        ("10K-50K", {"employee_range": "10K-50K"}),
        ("100K+", {"employee_range": "100K+"}),
        ("1,001-5,000", {"employee_range": "1,001-5,000"}),
        ("550", {"employee_count": 550}),
        (550, {"employee_count": 550}),
        ("many", {}),
        ("", {}),
        (None, {}),
        (True, {}),
        (["11-50"], {}),
    ],
)
def test_employees_are_a_range_in_words(employees: object, expected: dict[str, object]) -> None:
    record = {"name": "Acme", "metrics": {"employees": employees}}
    values = values_of(interpret(HunterCompany, 200, {"data": record}), Kind.COMPANY)
    assert values == {"name": "Acme", **expected}


def test_a_full_name_is_made_of_its_halves_when_both_are_known() -> None:
    whole = {"name": {"givenName": "Pat", "familyName": "Example"}}
    half = {"name": {"givenName": "Pat"}}
    names = [
        values_of(interpret(HunterPerson, 200, {"data": record}), Kind.PERSON).get("full_name")
        for record in (whole, half)
    ]
    assert names == ["Pat Example", None]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (QUERY, None),
        (Query(company_domain="acme.example"), "no e-mail address"),
        (Query(email="info@acme.example", is_role=True), "role address"),
        (Query(email="pat@gmail.com", is_free_mail=True), "free-mail address"),
        (Query(email="pat@mailinator.com", is_disposable=True), "disposable address"),
    ],
)
def test_only_a_personal_address_is_asked_about(query: Query, why: str | None) -> None:
    assert route_of(HunterPerson).unfit(query) == why


def test_only_a_company_domain_is_asked_about() -> None:
    query = Query(email="pat@gmail.com", no_company_domain="free-mail domain")
    assert route_of(HunterCompany).unfit(QUERY) is None
    assert route_of(HunterCompany).unfit(query) == "free-mail domain"


@pytest.mark.parametrize(
    ("route", "path", "params", "record"),
    [
        (HunterCompany, "/v2/companies/find", {"domain": "acme.example"}, COMPANY),
        (HunterPerson, "/v2/people/find", {"email": "pat@acme.example"}, PERSON),
    ],
)
async def test_the_question_is_in_the_url_and_the_key_only_in_a_header(
    route: type[HunterRoute], path: str, params: dict[str, str], record: object
) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"data": record})

    tried = await route_of(route, answer).exchange(QUERY)
    assert (isinstance(tried.answer, Found), tried.is_charged) == (True, True)
    assert (seen[0].url.path, dict(seen[0].url.params)) == (path, params)
    assert seen[0].headers["x-api-key"] == KEY


@each_route
@pytest.mark.parametrize("status", [404, 451, 402, 429, 500])
async def test_only_a_record_is_charged(route: type[HunterRoute], status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=error("not_found"), headers={"retry-after": "1"})

    assert (await route_of(route, answer).exchange(QUERY)).is_charged is False


@each_route
@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ({"credits": {"used": 50, "available": 50}}, USED_UP),
        ({"credits": {"used": 49.5, "available": 50}}, USED_UP),
        ({"searches": {"used": 50, "available": 50}}, USED_UP),
        (
            {
                "credits": {"used": 1, "available": 50},
                "verifications": {"used": 100, "available": 100},
            },
            Throttled(UNEXPLAINED_SECONDS),
        ),
    ],
    ids=["credits", "half a credit", "searches", "verifications are others"],
)
async def test_a_429_without_a_delay_is_explained_by_the_credits_of_the_account(
    route: type[HunterRoute], requests: object, expected: Answer
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        is_account = request.url.path == "/v2/account"
        return (
            httpx.Response(200, json={"data": {"requests": requests}})
            if is_account
            else (httpx.Response(429))
        )

    assert await route_of(route, answer).ask(QUERY) == expected


@given(
    body=like({"data": COMPANY}) | like({"data": PERSON}),
    status=st.sampled_from([200, 202, 222, 400, 401, 402, 403, 404, 422, 429, 451, 500]),
    route=st.sampled_from(ROUTES),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_raises_or_yields_a_value_that_a_lead_cannot_hold(
    body: object, status: int, route: type[HunterRoute]
) -> None:
    answer = interpret(route, status, body)
    if not isinstance(answer, Found):
        return
    values = values_of(answer, route.kind)
    bson.encode(values)
    assert values.keys() <= FIELDS[route.kind]
    numbers = {"founded_year", "twitter_followers", "alexa_rank", "employee_count", "raised"}
    for name, value in values.items():
        is_number = name in numbers or name == "annual_revenue"
        expected = list if name in ("tags", "tech_stack") else int if is_number else str
        assert type(value) is expected, name
