"""The table of points, line by line."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.values.merge import TABLE, completeness

FULL: dict[str, Any] = {
    "company_data": {
        "name": "Acme",
        "employee_count": 120,
        "industry": "Software",
        "description": "Makes things.",
        "linkedin_handle": "company/acme",
        "tech_stack": ["python"],
    },
    "email_verification": {
        "status": "valid",
        "score": 95,
        "is_disposable": False,
        "mx_records": True,
    },
}


def test_a_lead_that_has_everything_scores_100() -> None:
    assert completeness(FULL) == (100, [])


def test_a_lead_that_has_nothing_scores_0_and_misses_every_line() -> None:
    assert completeness({}) == (0, list(TABLE))


@pytest.mark.parametrize(
    ("section", "field", "line", "points"),
    [
        ("company_data", "name", "company.name", 10),
        ("company_data", "employee_count", "company.employee_count", 15),
        ("company_data", "industry", "company.industry", 10),
        ("company_data", "description", "company.description", 10),
        ("company_data", "linkedin_handle", "company.linkedin_handle", 5),
        ("company_data", "tech_stack", "company.tech_stack", 10),
        ("email_verification", "status", "email.valid", 20),
        ("email_verification", "score", "email.score", 10),
        ("email_verification", "is_disposable", "email.not_disposable", 5),
        ("email_verification", "mx_records", "email.mx_records", 5),
    ],
)
def test_a_missing_field_costs_its_points(section: str, field: str, line: str, points: int) -> None:
    lacking = copy.deepcopy(FULL)
    del lacking[section][field]
    assert completeness(lacking) == (100 - points, [line])


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("company_data", "name", "N/A"),
        ("company_data", "name", True),
        ("company_data", "employee_count", 0),
        ("company_data", "employee_count", float("nan")),
        ("company_data", "tech_stack", []),
        ("email_verification", "status", "accept_all"),
        ("email_verification", "status", ["valid"]),
        ("email_verification", "score", 70),
        ("email_verification", "score", "95"),
        ("email_verification", "score", True),
        ("email_verification", "is_disposable", None),
        ("email_verification", "is_disposable", True),
        ("email_verification", "is_disposable", 0),
        ("email_verification", "mx_records", False),
        ("email_verification", "mx_records", "yes"),
    ],
)
def test_a_value_that_does_not_count_gives_no_points(
    section: str, field: str, value: object
) -> None:
    lacking = copy.deepcopy(FULL)
    lacking[section][field] = value
    score, missing = completeness(lacking)
    assert score < 100
    assert len(missing) == 1


@pytest.mark.parametrize("garbage", [None, "text", 7, [], {"company_data": "text"}])
def test_data_of_a_wrong_type_scores_0(garbage: Any) -> None:
    assert completeness(garbage)[0] == 0


FIELDS = st.sampled_from([*FULL["company_data"], *FULL["email_verification"], "something_else"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


@given(
    st.dictionaries(
        st.sampled_from([*FULL, "x"]), st.one_of(VALUES, st.dictionaries(FIELDS, VALUES))
    )
)
def test_the_score_is_within_0_and_100_and_full_only_when_nothing_is_missing(
    enriched: dict[str, Any],
) -> None:
    score, missing = completeness(enriched)
    assert 0 <= score <= 100
    assert (score == 100) is (not missing)


@given(st.sets(st.sampled_from(sorted(TABLE))))
def test_the_points_of_what_is_there_and_what_is_missing_add_up(gone: set[str]) -> None:
    lacking = copy.deepcopy(FULL)
    for line, (section, _, _) in TABLE.items():
        name = {"valid": "status", "not_disposable": "is_disposable"}.get(line.split(".")[1])
        if line in gone:
            del lacking[section][name or line.split(".")[1]]
    score, missing = completeness(lacking)
    assert set(missing) == gone
    assert score == 100 - sum(TABLE[line][1] for line in gone)
