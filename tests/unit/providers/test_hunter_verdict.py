"""Hunter: what a verdict becomes on a lead, whatever is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from enricher.answer import Answer, Found, NotFound, Reply, Unavailable
from enricher.providers.base import Access
from enricher.providers.hunter import RESULTS, STATUSES, HunterVerifier
from tests.support.mock_client import mock_client

DATA: dict[str, Any] = {
    "status": "valid",
    "result": "deliverable",
    "score": 99,
    "email": "pat@acme.example",
    "regexp": True,
    "gibberish": False,
    "disposable": False,
    "webmail": False,
    "mx_records": True,
    "smtp_server": True,
    "smtp_check": True,
    "accept_all": False,
    "block": False,
    "sources": [{"domain": "acme.example", "still_on_page": True}],
}
VALUES = {
    "status": "valid",
    "result": "deliverable",
    "score": 99,
    "is_disposable": False,
    "is_webmail": False,
    "is_gibberish": False,
    "mx_records": True,
    "smtp_check": True,
    "accept_all": False,
}
ANYTHING: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**25), max_value=10**25)
    | st.floats()
    | st.text(alphabet=st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def interpret(status: int, body: object) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    access = Access(SecretStr("hunter-secret"), HunterVerifier.host)
    return HunterVerifier(mock_client(), access).interpret(Reply(status, {}, raw))


def values_of(answer: Answer) -> dict[str, object]:
    assert isinstance(answer, Found)
    assert answer.sections.keys() == {"email_verification"}
    return dict(answer.sections["email_verification"])


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"<html>All is well</html>",
            b'{"data": {"status": "va',
            b"\xff\xfe\xfa",
            b"[" * 99_999,
        ),
        *(b"[]", b"{}", b"null", b"true", b'"valid"', b'{"data": null}', b'{"data": []}'),
        *(
            b'{"data": {}}',
            b'{"data": "valid"}',
            b'{"data": [{"status": "valid"}]}',
            b'{"status": "valid"}',
        ),
    ],
    ids=range(16),
)
def test_a_200_without_a_verification_is_a_failure_and_no_answer(body: bytes) -> None:
    assert interpret(200, body) == Unavailable("the body is not a verification")


def test_a_full_verdict_becomes_email_verification() -> None:
    assert values_of(interpret(200, {"data": DATA, "meta": {}})) == VALUES


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_every_documented_status_is_stored_as_it_is(status: str) -> None:
    assert values_of(interpret(200, {"data": {**DATA, "status": status}}))["status"] == status


@pytest.mark.parametrize("status", ["ok", "", "deliverable", None, True, 1, ["valid"], {}])
def test_a_status_outside_the_known_set_is_left_out(status: object) -> None:
    assert "status" not in values_of(interpret(200, {"data": {**DATA, "status": status}}))


@pytest.mark.parametrize("score", [-1, 101, 99.5, True, None, "high", [], 10**30])
def test_a_score_is_a_whole_number_from_0_to_100(score: object) -> None:
    assert "score" not in values_of(interpret(200, {"data": {**DATA, "score": score}}))


def test_a_score_of_zero_is_a_score() -> None:
    assert values_of(interpret(200, {"data": {**DATA, "score": 0}}))["score"] == 0


@pytest.mark.parametrize("value", [None, 0, 1, "true", [], {}])
def test_a_flag_that_is_neither_true_nor_false_is_left_out(value: object) -> None:
    values = values_of(interpret(200, {"data": {**DATA, "disposable": value}}))
    assert values == {name: kept for name, kept in VALUES.items() if name != "is_disposable"}


def test_a_verdict_of_nothing_but_nulls_knows_nothing() -> None:
    assert interpret(200, {"data": dict.fromkeys(DATA)}) == NotFound("the record is empty")


@given(
    body=st.fixed_dictionaries(
        {
            "data": st.fixed_dictionaries({key: st.just(v) | ANYTHING for key, v in DATA.items()})
            | ANYTHING,
            "errors": ANYTHING | st.lists(ANYTHING, min_size=1),
        }
    )
    | ANYTHING,
    status=st.sampled_from([200, 202, 222, 400, 401, 402, 403, 404, 422, 429, 451, 500]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_raises_or_yields_a_value_that_a_lead_cannot_hold(
    body: object, status: int
) -> None:
    answer = interpret(status, body)
    if not isinstance(answer, Found):
        return
    values = values_of(answer)
    bson.encode(values)
    assert values.pop("status", "valid") in STATUSES
    assert values.pop("result", "risky") in RESULTS
    assert values.pop("score", 0) in range(101)
    assert all(type(value) is bool for value in values.values())
