"""Clearbit: what a company record becomes on a lead, whatever is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from enricher.answer import Answer, Found, NotFound, Reply
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitCompany
from tests.support.mock_client import mock_client

RECORD: dict[str, Any] = {
    "id": "546ba3f6-a6b7-41a1-aed8-000000000000",
    "name": "Acme",
    "legalName": None,
    "domain": "acme.example",
    "domainAliases": ["acme.cloud.example"],
    "category": {
        "sector": "Information Technology",
        "industryGroup": "Software & Services",
        "industry": "Internet Software & Services",
        "subIndustry": "Internet",
    },
    "tags": ["Software", "B2B"],
    "description": "Makes everything.",
    "foundedYear": 2019,
    "location": "Teststr. 27, 10115 Berlin, Germany",
    "timeZone": "Europe/Berlin",
    "geo": {"city": "Berlin", "state": "Berlin", "country": "Germany", "countryCode": "DE"},
    "logo": "https://logo.clearbit.com/acme.example",
    "facebook": {"handle": "acmefb", "likes": None},
    "linkedin": {"handle": "company/acme"},
    "twitter": {"handle": "acme", "followers": 7238},
    "crunchbase": {"handle": "organization/acme"},
    "emailProvider": False,
    "type": "private",
    "ticker": "ACM",
    "phone": "+49 30 5550100",
    "metrics": {
        "alexaGlobalRank": 61323,
        "employees": 550,
        "employeesRange": "251-1K",
        "raised": 13500000,
        "annualRevenue": 20000000,
        "estimatedAnnualRevenue": "$10M-$50M",
    },
    "tech": ["google_tag_manager", "aws"],
}
VALUES = {
    "clearbit_id": "546ba3f6-a6b7-41a1-aed8-000000000000",
    "name": "Acme",
    "domain": "acme.example",
    "sector": "Information Technology",
    "industry_group": "Software & Services",
    "industry": "Internet Software & Services",
    "sub_industry": "Internet",
    "tags": ["Software", "B2B"],
    "description": "Makes everything.",
    "founded_year": 2019,
    "location": "Teststr. 27, 10115 Berlin, Germany",
    "timezone": "Europe/Berlin",
    "city": "Berlin",
    "state": "Berlin",
    "country": "Germany",
    "country_code": "DE",
    "facebook_handle": "acmefb",
    "linkedin_handle": "company/acme",
    "twitter_handle": "acme",
    "twitter_followers": 7238,
    "crunchbase_handle": "organization/acme",
    "company_type": "private",
    "ticker": "ACM",
    "phone": "+49 30 5550100",
    "alexa_rank": 61323,
    "employee_count": 550,
    "employee_range": "251-1K",
    "raised": 13500000,
    "annual_revenue": 20000000,
    "estimated_annual_revenue": "$10M-$50M",
    "tech_stack": ["google_tag_manager", "aws"],
}
LISTS = {"tags", "tech_stack"}
NUMBERS = {"founded_year", "twitter_followers", "alexa_rank", "employee_count", "raised"}
NUMBERS |= {"annual_revenue"}
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
    access = Access(SecretStr("sk_secret"), ClearbitCompany.host)
    provider = ClearbitCompany(mock_client(), access)
    return provider.interpret(Reply(status, {}, json.dumps(body).encode()))


def values_of(answer: Answer) -> dict[str, object]:
    assert isinstance(answer, Found)
    assert answer.sections.keys() == {"company_data"}
    return dict(answer.sections["company_data"])


@pytest.mark.parametrize(
    "record",
    [
        dict.fromkeys(RECORD),
        dict.fromkeys(RECORD) | {"id": "1", "domain": "acme.example"},
        {
            "name": "N/A",
            "category": {"industry": "Unknown"},
            "tags": [],
            "metrics": {"employees": 0},
        },
        {"name": True, "domain": 7, "metrics": [], "geo": "Berlin", "twitter": None},
    ],
    ids=["nulls", "an echo of the domain", "placeholders", "wrong types"],
)
def test_a_200_with_an_empty_record_knows_nothing(record: dict[str, object]) -> None:
    assert interpret(200, record) == NotFound("the record is empty")


def test_a_full_record_becomes_company_data() -> None:
    assert values_of(interpret(200, RECORD)) == VALUES


def test_a_logo_on_the_dead_host_is_dropped_and_any_other_is_kept() -> None:
    assert "logo_url" not in values_of(interpret(200, RECORD))
    alive = {**RECORD, "logo": "https://logos.acme.example/a.png"}
    assert values_of(interpret(200, alive))["logo_url"] == "https://logos.acme.example/a.png"


@pytest.mark.parametrize(
    "logo", ["javascript:alert(1)", "HTTPS://LOGO.CLEARBIT.COM/acme.example", True]
)
def test_a_logo_that_cannot_be_shown_is_dropped(logo: object) -> None:
    assert "logo_url" not in values_of(interpret(200, {**RECORD, "logo": logo}))


@pytest.mark.parametrize("metrics", [None, {}, {"employees": None, "raised": 0}, [], "550", True])
def test_where_metrics_lack_a_value_the_top_level_stands_in(metrics: object) -> None:
    record = {"name": "Acme", "metrics": metrics}
    record |= {"employees": 40, "employeesRange": "11-50", "raised": 900}
    expected = {"name": "Acme", "employee_count": 40, "employee_range": "11-50", "raised": 900}
    assert values_of(interpret(200, record)) == expected


def test_metrics_win_over_the_top_level() -> None:
    record = {**RECORD, "employees": 1, "employeesRange": "1-10", "raised": 1}
    assert values_of(interpret(200, record)) == VALUES


def test_clean_digits_count_as_a_number_and_a_range_does_not() -> None:
    metrics = {"employees": "11-50", "raised": "900", "annualRevenue": "$1M"}
    values = values_of(interpret(200, {"name": "Acme", "metrics": metrics}))
    assert values == {"name": "Acme", "raised": 900}


@pytest.mark.parametrize(
    "parent", ["category", "geo", "facebook", "linkedin", "twitter", "metrics"]
)
@pytest.mark.parametrize("value", [None, True, 7, "text", [], ["text"]])
def test_a_parent_of_the_wrong_type_costs_only_its_own_fields(parent: str, value: object) -> None:
    values = values_of(interpret(200, {**RECORD, parent: value}))
    assert values.items() <= VALUES.items() or parent in ("tags", "tech")
    assert values["name"] == "Acme"


def test_a_record_under_another_domain_is_still_the_companys() -> None:
    values = values_of(interpret(200, {**RECORD, "domain": "acme.cloud.example"}))
    assert values["domain"] == "acme.cloud.example"


def like(example: object) -> st.SearchStrategy[object]:
    """A record of the vendor's shape in which any part may be anything at all."""
    if isinstance(example, dict):
        return (
            st.fixed_dictionaries({key: like(value) for key, value in example.items()}) | ANYTHING
        )
    return st.just(example) | ANYTHING


@given(body=like(RECORD), status=st.sampled_from([200, 202, 400, 401, 402, 404, 422, 429, 500]))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_json_raises_or_yields_a_value_that_a_lead_cannot_hold(
    body: object, status: int
) -> None:
    answer = interpret(status, body)
    if not isinstance(answer, Found):
        return
    values = values_of(answer)
    bson.encode(values)
    for name, value in values.items():
        expected = list if name in LISTS else int if name in NUMBERS else str
        assert type(value) is expected, name
