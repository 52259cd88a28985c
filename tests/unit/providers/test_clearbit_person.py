"""Clearbit's persons: the person's host, what a miss costs, and what becomes of a record."""

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
    Preparing,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.fields import FIELDS
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitCompany, ClearbitPerson
from tests.support.mock_client import mock_client
from tests.unit.providers.test_clearbit_record import like
from tests.unit.providers.test_hunter_enrichment import PERSON, PERSON_VALUES

QUERY = Query(email="pat@acme.example", company_domain="acme.example")


def provider(handler: Any = None, base_url: str = ClearbitCompany.host) -> ClearbitPerson:
    http = mock_client(handler or (lambda _: httpx.Response(500)))
    return ClearbitPerson(http, Access(SecretStr("sk_secret"), base_url))


def interpret(status: int, body: object) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return provider().interpret(Reply(status, {}, raw))


def error(kind: str) -> dict[str, object]:
    return {"error": {"type": kind, "message": "text"}}


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (202, b"", Preparing()),
        (202, error("queued"), Preparing()),
        (400, error("params_invalid"), NotFound("the vendor refused the question")),
        (422, error("email_invalid"), NotFound("the vendor refused the question")),
        (401, error("invalid_api_key"), Held("the key is refused")),
        (402, b"", Held("the quota is used up")),
        (404, error("unknown_record"), NotFound()),
        (404, error("unknown_route"), Unavailable("unknown route (404)")),
        (429, error("rate_limit"), Throttled()),
        (500, b"<html>", Unavailable("500")),
        (200, b"<html>", Unavailable("the body is not a person record")),
        (200, [], Unavailable("the body is not a person record")),
        (200, {"person": PERSON}, Unavailable("the body is not a person record")),
        (200, dict.fromkeys(PERSON), NotFound("the record is empty")),
    ],
)
def test_each_status_code_has_its_own_meaning(status: int, body: object, answer: Answer) -> None:
    assert interpret(status, body) == answer


def test_a_full_record_becomes_person_data() -> None:
    assert interpret(200, PERSON) == Found({"person_data": PERSON_VALUES})


@pytest.mark.parametrize(
    ("base_url", "asked"),
    [
        (ClearbitCompany.host, "https://person.clearbit.com/v2/people/find"),
        ("https://proxy.internal/clearbit", "https://proxy.internal/clearbit/v2/people/find"),
    ],
)
async def test_persons_have_a_host_of_their_own_unless_another_is_named(
    base_url: str, asked: str
) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=PERSON)

    assert isinstance(await provider(answer, base_url).ask(QUERY), Found)
    assert str(seen[0].url) == f"{asked}?email=pat@acme.example"
    assert seen[0].headers["authorization"] == "Bearer sk_secret"


@pytest.mark.parametrize(("kind", "is_charged"), [("unknown_record", True), ("x", False)])
async def test_a_person_who_is_not_known_is_charged(kind: str, *, is_charged: bool) -> None:
    asked = provider(lambda _: httpx.Response(404, json=error(kind)))
    assert (await asked.exchange(QUERY)).is_charged is is_charged


def test_only_a_personal_address_is_asked_about() -> None:
    assert provider().unfit(QUERY) is None
    assert provider().unfit(Query(email="info@acme.example", is_role=True)) == "role address"


@given(body=like(PERSON), status=st.sampled_from([200, 202, 400, 401, 402, 404, 422, 429, 500]))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_raises_or_yields_a_value_that_a_lead_cannot_hold(
    body: object, status: int
) -> None:
    answer = interpret(status, body)
    if isinstance(answer, Found):
        values = answer.sections[Kind.PERSON.section]
        bson.encode(values)
        assert values.keys() <= FIELDS[Kind.PERSON]
        assert {type(value) for value in values.values()} == {str}
