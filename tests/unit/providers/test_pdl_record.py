"""People Data Labs: what a record becomes on a lead, whatever is wrong with it."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enricher.answer import Answer, Found, NotFound, Query
from enricher.providers.pdl import PdlCompany, PdlPerson
from tests.support.vendor_case import interpret, like, provider, reply

EMPTY = NotFound("the record is empty")
SOMEBODY_ELSE = NotFound("the record is about somebody else")
QUERY = Query(email="pat@acme.com", email_key="pat@acme.com", company_domain="acme.com")

COMPANY: dict[str, Any] = {
    "status": 200,
    "id": "tnHcNHbCv8MKeLh92946LAkX0000",
    "name": "Acme",
    "display_name": "ACME",
    "size": "51-200",
    "employee_count": 83,
    "founded": 2015,
    "inferred_revenue": "$50M-$100M",
    "industry": "Computer Software",
    "location": {
        "name": "San Francisco, California, United States",
        "locality": "San Francisco",
        "region": "California",
        "country": "United States",
        "geo": "37.79,-122.39",
    },
    "linkedin_url": "linkedin.com/company/acme",
    "facebook_url": "facebook.com/acme",
    "twitter_url": "twitter.com/acme",
    "website": "www.acme.com",
    "ticker": "ACM",
    "type": "Private",
    "summary": "Makes everything.",
    "headline": "Everything",
    "tags": ["saas"],
    "total_funding_raised": 55250000,
    "likelihood": 6,
}
COMPANY_DATA = {
    "pdl_id": "tnHcNHbCv8MKeLh92946LAkX0000",
    "name": "ACME",
    "domain": "acme.com",
    "description": "Makes everything.",
    "founded_year": 2015,
    "employee_count": 83,
    "employee_range": "51-200",
    "estimated_annual_revenue": "$50M-$100M",
    "industry": "Computer Software",
    "location": "San Francisco, California, United States",
    "city": "San Francisco",
    "state": "California",
    "country": "United States",
    "country_code": "US",
    "linkedin_handle": "company/acme",
    "facebook_handle": "acme",
    "twitter_handle": "acme",
    "ticker": "ACM",
    "company_type": "private",
    "tags": ["saas"],
    "raised": 55250000,
}
PERSON: dict[str, Any] = {
    "id": "qEnOZ5Oh0poWnQ1luFBfVw_0000",
    "full_name": "Pat Example",
    "first_name": "Pat",
    "last_name": "Example",
    "linkedin_url": "linkedin.com/in/pat-example",
    "twitter_url": None,
    "github_url": "github.com/pat",
    "work_email": "pat@acme.com",
    "personal_emails": [],
    "emails": [{"address": "pat@acme.com", "type": "current_professional"}],
    "job_title": "Head Of Everything",
    "job_title_role": "Operations",
    "job_title_levels": ["Director", "Manager"],
    "job_company_name": "Acme",
    "job_company_website": "acme.com",
    "job_company_size": "51-200",
    "location_name": "Berlin, Berlin, Germany",
}
JOB = {"job_title": "Head Of Everything", "role": "operations", "seniority": "director"}
WHO = {
    "pdl_id": "qEnOZ5Oh0poWnQ1luFBfVw_0000",
    "full_name": "Pat Example",
    "first_name": "Pat",
    "last_name": "Example",
    "location": "Berlin, Berlin, Germany",
    "linkedin_handle": "in/pat-example",
    "github_handle": "pat",
}
LISTS = {"tags"}
NUMBERS = {"founded_year", "employee_count", "raised"}


def of_person(
    data: object, query: Query = QUERY, matched: object = None, likelihood: object = 9
) -> Answer:
    body = {"status": 200, "likelihood": likelihood, "data": data}
    answered = reply(200, body | ({"matched": matched} if matched is not None else {}))
    recalled = provider(PdlPerson).recall(answered, query)
    assert recalled is not None
    return recalled


def values_of(answer: Answer, section: str) -> dict[str, object]:
    assert isinstance(answer, Found)
    assert answer.sections.keys() == {section}
    return dict(answer.sections[section])


def test_a_full_record_becomes_company_data() -> None:
    assert values_of(interpret(PdlCompany, 200, COMPANY), "company_data") == COMPANY_DATA


@pytest.mark.parametrize("location", [None, [], "Berlin", True, {}, {"country": None}])
def test_a_location_may_be_anything(location: object) -> None:
    values = values_of(
        interpret(PdlCompany, 200, {**COMPANY, "location": location}), "company_data"
    )
    places = {"location", "city", "state", "country", "country_code"}
    assert values == {name: COMPANY_DATA[name] for name in COMPANY_DATA.keys() - places}


@pytest.mark.parametrize("key", sorted(COMPANY.keys() - {"id", "status", "likelihood", "location"}))
@pytest.mark.parametrize("value", [True, False])
def test_a_flag_in_place_of_a_value_is_refused(key: str, value: bool) -> None:
    values = values_of(interpret(PdlCompany, 200, {**COMPANY, key: value}), "company_data")
    assert True not in values.values()
    assert False not in values.values()


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("size", "10001+", "employee_range", "10001+"),
        ("size", "many", "employee_range", None),
        ("size", 51, "employee_range", None),
        ("inferred_revenue", "$0-$1M", "estimated_annual_revenue", "$0-$1M"),
        ("inferred_revenue", "$10b+", "estimated_annual_revenue", "$10B+"),
        ("inferred_revenue", 5, "estimated_annual_revenue", None),
        ("employee_count", 0, "employee_count", None),
        ("employee_count", "83", "employee_count", 83),
        ("display_name", None, "name", "Acme"),
        ("summary", None, "description", "Everything"),
        ("website", "https://www.acme.com/de?x=1", "domain", "acme.com"),
        ("website", "acme", "domain", None),
        ("linkedin_url", "acme.com/company/acme", "linkedin_handle", None),
        ("type", "cooperative", "company_type", None),
    ],
)
def test_each_value_is_of_its_type_or_absent(
    key: str, value: object, field: str, expected: object
) -> None:
    values = values_of(interpret(PdlCompany, 200, {**COMPANY, key: value}), "company_data")
    assert values.get(field) == expected


@pytest.mark.parametrize(
    "record", [dict.fromkeys(COMPANY), {"id": "1", "website": "acme.com", "name": "N/A"}]
)
def test_a_company_of_nothing_is_not_found(record: dict[str, object]) -> None:
    assert interpret(PdlCompany, 200, record) == EMPTY


def test_a_full_record_becomes_person_data_and_no_company_data() -> None:
    assert values_of(of_person(PERSON), "person_data") == WHO | JOB


@pytest.mark.parametrize("data", [dict.fromkeys(PERSON), {"id": "1", "full_name": True}])
def test_a_person_of_nothing_is_not_found(data: object) -> None:
    assert of_person(data) == EMPTY


def test_on_a_free_plan_contacts_are_flags_and_no_address_speaks_against_it() -> None:
    masked = {**PERSON, "work_email": True, "emails": True, "personal_emails": False}
    assert values_of(of_person(masked), "person_data") == WHO | JOB


@pytest.mark.parametrize(
    "addresses",
    [
        {"work_email": "kim@acme.com"},
        {"personal_emails": ["pat@gmail.com", "kim@acme.com"]},
        {"emails": [{"address": "kim@other.com"}, {"address": None}, "kim@acme.com"]},
    ],
)
def test_a_record_that_names_other_addresses_is_somebody_elses(addresses: dict[str, Any]) -> None:
    nameless = {**PERSON, "work_email": None, "emails": None}
    assert of_person({**nameless, **addresses}) == SOMEBODY_ELSE


def test_another_spelling_of_the_address_is_the_same_person() -> None:
    spelt = {**PERSON, "emails": [], "work_email": "Pat+crm@ACME.com"}
    assert isinstance(of_person(spelt), Found)


def test_the_vendor_says_by_what_it_matched() -> None:
    hashed = {**PERSON, "emails": [{"address": "old@acme.com"}], "work_email": None}
    assert isinstance(of_person(hashed, matched=["email"]), Found)
    assert of_person(PERSON, matched=["name"]) == SOMEBODY_ELSE


@pytest.mark.parametrize(
    ("website", "employers"), [("www.other.com", ("www.other.com",)), (True, ())]
)
def test_the_answer_names_the_employer(website: object, employers: tuple[str, ...]) -> None:
    answer = of_person({**PERSON, "job_company_website": website}, matched=["email"])
    assert isinstance(answer, Found)
    assert answer.employers == employers


@given(body=like(COMPANY), status=st.sampled_from([200, 400, 401, 402, 404, 429, 500]))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_raises_or_yields_a_company_that_a_lead_cannot_hold(
    body: object, status: int
) -> None:
    answer = interpret(PdlCompany, status, body)
    if isinstance(answer, Found):
        values = values_of(answer, "company_data")
        bson.encode(values)
        for name, value in values.items():
            expected = list if name in LISTS else int if name in NUMBERS else str
            assert type(value) is expected, name


@given(body=like({"likelihood": 9, "matched": ["email"], "data": PERSON}))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_raises_or_yields_a_person_that_a_lead_cannot_hold(body: object) -> None:
    answered = reply(200, body)
    answer = provider(PdlPerson).interpret(answered)
    if isinstance(answer, Found):
        answer = provider(PdlPerson).vetted(answer, answered, QUERY)
    if isinstance(answer, Found):
        values = values_of(answer, "person_data")
        bson.encode(values)
        assert {type(value) for value in values.values()} == {str}
