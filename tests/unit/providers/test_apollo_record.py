"""Apollo: what a record becomes on a lead, whatever is wrong with it."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enricher.answer import Answer, Found, NotFound, Query
from enricher.providers.apollo import ApolloCompany, ApolloPerson
from tests.support.vendor_case import interpret, like, provider, reply

EMPTY = NotFound("the record is empty")
SOMEBODY_ELSE = NotFound("the record is about somebody else")
QUERY = Query(email="pat@acme.com", email_key="pat@acme.com", company_domain="acme.com")

COMPANY: dict[str, Any] = {
    "id": "5e66b6381e05b4008c830000",
    "name": "Acme",
    "website_url": "http://www.acme.com",
    "linkedin_url": "http://www.linkedin.com/company/acme",
    "twitter_url": "https://twitter.com/acme/",
    "facebook_url": None,
    "crunchbase_url": "https://www.crunchbase.com/organization/acme",
    "primary_phone": {"number": "+1 800-555-0199", "sanitized_number": "+18005550199"},
    "phone": "+1 800-555-0199",
    "sanitized_phone": "+18005550199",
    "alexa_ranking": 3514,
    "founded_year": 2015,
    "publicly_traded_symbol": "ACM",
    "logo_url": "https://logos.example.org/acme.png",
    "primary_domain": "acme.com",
    "industry": "information technology & services",
    "keywords": ["b2b data"],
    "estimated_num_employees": 1600,
    "raw_address": "1 Test Street, San Francisco",
    "city": "San Francisco",
    "state": "California",
    "country": "United States",
    "short_description": "Makes everything.",
    "annual_revenue": 100000000,
    "total_funding": 251200000,
    "technology_names": ["Python"],
    "account_id": "77",
    "account": {"name": "Our Own Record", "domain": "crm.example.org"},
}
COMPANY_DATA = {
    "apollo_id": "5e66b6381e05b4008c830000",
    "name": "Acme",
    "domain": "acme.com",
    "linkedin_handle": "company/acme",
    "twitter_handle": "acme",
    "crunchbase_handle": "organization/acme",
    "phone": "+18005550199",
    "alexa_rank": 3514,
    "founded_year": 2015,
    "ticker": "ACM",
    "logo_url": "https://logos.example.org/acme.png",
    "industry": "Information Technology & Services",
    "tags": ["b2b data"],
    "employee_count": 1600,
    "location": "1 Test Street, San Francisco",
    "city": "San Francisco",
    "state": "California",
    "country": "United States",
    "country_code": "US",
    "description": "Makes everything.",
    "annual_revenue": 100000000,
    "raised": 251200000,
    "tech_stack": ["Python"],
}
PERSON: dict[str, Any] = {
    "id": "64a7ff0cc4dfae00013df1a5",
    "first_name": "Pat",
    "last_name": "Example",
    "name": "Pat Example",
    "linkedin_url": "http://www.linkedin.com/in/pat-example",
    "title": "Head of Everything",
    "photo_url": "https://media.example.org/pat.png",
    "twitter_url": "https://x.com/pat",
    "github_url": None,
    "headline": "Head of Everything at Acme",
    "email": "pat@acme.com",
    "state": None,
    "city": "Berlin",
    "country": "Germany",
    "contact": {"name": "Foreign Contact", "email": "foreign@other.com", "title": "Nobody"},
    "organization": {"name": "Acme", "primary_domain": "acme.com"},
    "departments": ["master_operations"],
    "functions": ["operations"],
    "seniority": "director",
}
JOB = {
    "job_title": "Head of Everything",
    "role": "operations",
    "seniority": "director",
    "bio": "Head of Everything at Acme",
}
WHO = {
    "apollo_id": "64a7ff0cc4dfae00013df1a5",
    "full_name": "Pat Example",
    "first_name": "Pat",
    "last_name": "Example",
    "linkedin_handle": "in/pat-example",
    "twitter_handle": "pat",
    "location": "Berlin, Germany",
    "avatar_url": "https://media.example.org/pat.png",
}
LISTS = {"tags", "tech_stack"}
NUMBERS = {"founded_year", "employee_count", "raised", "annual_revenue", "alexa_rank"}


def of_company(record: object) -> dict[str, object]:
    return values_of(interpret(ApolloCompany, 200, {"organization": record}), "company_data")


def of_person(record: object, query: Query = QUERY) -> Answer:
    recalled = provider(ApolloPerson).recall(reply(200, {"person": record}), query)
    assert recalled is not None
    return recalled


def values_of(answer: Answer, section: str) -> dict[str, object]:
    assert isinstance(answer, Found)
    assert answer.sections.keys() == {section}
    return dict(answer.sections[section])


def test_a_full_record_becomes_company_data_without_the_customers_own() -> None:
    assert of_company(COMPANY) == COMPANY_DATA


@pytest.mark.parametrize("phone", [{}, None, [], "+1 800", {"number": "+1 800-555-0199"}])
def test_a_primary_phone_may_be_an_empty_object(phone: object) -> None:
    assert of_company({**COMPANY, "primary_phone": phone}) == COMPANY_DATA
    unknown = {**COMPANY, "primary_phone": phone, "sanitized_phone": None}
    assert "phone" not in of_company(unknown)


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("estimated_num_employees", 0, "employee_count", None),
        ("estimated_num_employees", "11-50", "employee_count", None),
        ("annual_revenue", 100000000.0, "annual_revenue", 100000000),
        ("annual_revenue", "100M", "annual_revenue", None),
        ("primary_domain", None, "domain", "acme.com"),
        ("industry", "Retail", "industry", "Retail"),
        ("country", "Georgia", "country_code", "GE"),
        ("linkedin_url", "https://evil.example/company/acme", "linkedin_handle", None),
        ("logo_url", "javascript:alert(1)", "logo_url", None),
        ("technology_names", [], "tech_stack", None),
    ],
)
def test_each_value_is_of_its_type_or_absent(
    key: str, value: object, field: str, expected: object
) -> None:
    assert of_company({**COMPANY, key: value}).get(field) == expected


@pytest.mark.parametrize("record", [dict.fromkeys(COMPANY), {"id": "1", "primary_domain": "a.com"}])
def test_a_company_of_nothing_is_not_found(record: object) -> None:
    assert interpret(ApolloCompany, 200, {"organization": record}) == EMPTY


def test_a_full_record_becomes_person_data_without_contact_and_company() -> None:
    assert values_of(of_person(PERSON), "person_data") == WHO | JOB


def test_the_customers_own_contact_is_never_read() -> None:
    assert of_person({"id": "1", "contact": PERSON}) == EMPTY


@pytest.mark.parametrize("email", ["email_not_unlocked@domain.com", None, True, "", "locked"])
def test_a_locked_or_missing_address_is_nobodys(email: object) -> None:
    assert values_of(of_person({**PERSON, "email": email}), "person_data") == WHO | JOB


@pytest.mark.parametrize("email", ["kim@acme.com", "pat@other.com", "KIM@ACME.COM"])
def test_a_record_with_another_address_is_somebody_elses(email: str) -> None:
    assert of_person({**PERSON, "email": email}) == SOMEBODY_ELSE


@pytest.mark.parametrize(
    ("organization", "employers"),
    [
        ({"primary_domain": "other.com"}, ("other.com",)),
        ({"website_url": "https://www.other.com/x"}, ("https://www.other.com/x",)),
        ({"primary_domain": None}, ()),
        ({}, ()),
        ("Acme", ()),
        (None, ()),
    ],
)
def test_the_answer_names_the_employer(organization: object, employers: tuple[str, ...]) -> None:
    answer = of_person({**PERSON, "organization": organization})
    assert isinstance(answer, Found)
    assert answer.employers == employers


@given(
    body=like({"organization": COMPANY}),
    status=st.sampled_from([200, 400, 401, 403, 422, 429, 500]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_raises_or_yields_a_company_that_a_lead_cannot_hold(
    body: object, status: int
) -> None:
    answer = interpret(ApolloCompany, status, body)
    provider(ApolloCompany).is_charged(reply(status, body))
    if isinstance(answer, Found):
        values = values_of(answer, "company_data")
        bson.encode(values)
        for name, value in values.items():
            expected = list if name in LISTS else int if name in NUMBERS else str
            assert type(value) is expected, name


@given(body=like({"person": PERSON}))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_raises_or_yields_a_person_that_a_lead_cannot_hold(body: object) -> None:
    answered = reply(200, body)
    provider(ApolloPerson).is_charged(answered)
    answer = provider(ApolloPerson).interpret(answered)
    if isinstance(answer, Found):
        answer = provider(ApolloPerson).vetted(answer, answered, QUERY)
    if isinstance(answer, Found):
        values = values_of(answer, "person_data")
        bson.encode(values)
        assert {type(value) for value in values.values()} == {str}
