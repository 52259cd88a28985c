"""Which value of a field wins, and that nothing a lead already has gets worse."""

from __future__ import annotations

import copy
import math
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.answer import Found
from enricher.fields import SECTIONS
from enricher.values.merge import merge, metadata
from enricher.values.storable import is_blank

ORDER = ("clearbit", "hunter_company", "hunter", "local")


def company(**values: object) -> Found:
    return Found({"company_data": values})


def email(**values: object) -> Found:
    return Found({"email_verification": values})


def stored(provider: str | None, **values: object) -> dict[str, Any]:
    origins = dict.fromkeys(values, provider) if provider else {}
    return {
        "company_data": values,
        "enrichment_metadata": {"provenance": {"company_data": origins}},
    }


def provenance(enriched: dict[str, Any]) -> Any:
    return enriched["enrichment_metadata"]["provenance"]


# One run


def test_values_are_sorted_into_sections_with_their_origin() -> None:
    merged = merge({}, {"clearbit": company(name="Acme"), "hunter": email(score=0)}, ORDER)
    assert merged == {
        "company_data": {"name": "Acme"},
        "person_data": None,
        "email_verification": {"score": 0},
        "social_profiles": {},
        "enrichment_metadata": {
            "provenance": {
                "company_data": {"name": "clearbit"},
                "email_verification": {"score": "hunter"},
            }
        },
    }


def test_no_answer_at_all_is_four_empty_sections() -> None:
    merged = merge({}, {}, ORDER)
    assert [merged[section] for section in (*SECTIONS, "social_profiles")] == [None] * 3 + [{}]


@pytest.mark.parametrize("stored", [None, {}, {"company": {}}, "x", []])
def test_no_profiles_are_an_empty_object_also_where_null_is_stored(stored: object) -> None:
    merged = merge({"social_profiles": stored}, {"clearbit": company(name="Acme")}, ORDER)
    assert merged["social_profiles"] == {}


@pytest.mark.parametrize("reverse", [False, True])
def test_the_provider_named_first_in_the_order_decides_each_field(reverse: bool) -> None:
    answers = {
        "hunter_company": company(name="ACME Inc", phone="1"),
        "clearbit": company(name="Acme"),
    }
    if reverse:
        answers = dict(reversed(answers.items()))
    merged = merge({}, answers, ORDER)
    assert merged["company_data"] == {"name": "Acme", "phone": "1"}
    assert provenance(merged)["company_data"] == {"name": "clearbit", "phone": "hunter_company"}


def test_a_provider_that_is_not_in_the_order_ranks_last() -> None:
    answers = {"acme": company(name="Third"), "local": company(name="Local")}
    assert merge({}, answers, ORDER)["company_data"] == {"name": "Local"}


def test_a_provider_wins_the_fields_that_it_knows_best_whatever_its_place() -> None:
    own = company(phone="1", logo_url="https://acme.com/l.png", name="ACME", employee_count=3)
    theirs = company(phone="2", logo_url="https://x.com/l.png", name="Acme", employee_count=90)
    merged = merge({}, {"website": own, "clearbit": theirs}, [*ORDER, "website"])
    assert merged["company_data"] == {
        "phone": "1",
        "logo_url": "https://acme.com/l.png",
        "name": "Acme",
        "employee_count": 90,
    }
    assert provenance(merged)["company_data"]["phone"] == "website"
    again = merge(merged, {"clearbit": theirs}, [*ORDER, "website"])
    assert again["company_data"] == merged["company_data"]


BLANKS: list[object] = [None, "", "  ", "N/A", "n/a", "Unknown", "-", [], {}, math.nan]


@pytest.mark.parametrize("blank", BLANKS)
def test_what_says_nothing_never_beats_a_value(blank: object) -> None:
    answers = {"clearbit": company(name=blank), "hunter_company": company(name="Acme")}
    assert merge({}, answers, ORDER)["company_data"] == {"name": "Acme"}
    before = stored("local", name="Acme")
    assert merge(before, {"clearbit": company(name=blank)}, ORDER)["company_data"] == {
        "name": "Acme"
    }


@pytest.mark.parametrize("blank", BLANKS)
def test_what_says_nothing_is_not_stored(blank: object) -> None:
    assert merge({}, {"clearbit": company(name=blank)}, ORDER)["company_data"] is None


def test_a_count_of_zero_says_nothing() -> None:
    assert merge({}, {"clearbit": company(employee_count=0)}, ORDER)["company_data"] is None


def test_an_email_score_of_zero_and_a_flag_that_is_false_are_values() -> None:
    merged = merge({}, {"hunter": email(score=0, is_disposable=False)}, ORDER)
    assert merged["email_verification"] == {"score": 0, "is_disposable": False}


def test_an_unknown_verdict_is_kept_while_there_is_nothing_else() -> None:
    merged = merge({}, {"hunter": email(status="unknown")}, ORDER)
    assert merged["email_verification"] == {"status": "unknown"}


VERIFIERS = ("hunter", "zerobounce", "kickbox")


def verified(stored: dict[str, Any], **answers: Found) -> tuple[Any, Any]:
    """The verdict on the lead, and who gave what of it."""
    merged = merge(stored, answers, VERIFIERS)
    return merged["email_verification"], provenance(merged)["email_verification"]


def test_what_belongs_to_an_unknown_verdict_gives_way_with_it() -> None:
    unclear = email(status="unknown", score=30, smtp_check=False, is_gibberish=False)
    clear = email(status="valid", score=95, smtp_check=True)
    values, origins = verified({}, hunter=unclear, kickbox=clear)
    assert values == {"status": "valid", "score": 95, "smtp_check": True, "is_gibberish": False}
    assert origins == dict.fromkeys(("status", "score", "smtp_check"), "kickbox") | {
        "is_gibberish": "hunter"
    }


def test_the_same_holds_when_the_clear_verdict_comes_in_a_later_attempt() -> None:
    unclear = merge({}, {"hunter": email(status="unknown", score=30)}, VERIFIERS)
    assert verified(unclear, kickbox=email(status="valid", score=95)) == (
        {"status": "valid", "score": 95},
        {"status": "kickbox", "score": "kickbox"},
    )


@pytest.mark.parametrize("provider", VERIFIERS)
def test_a_later_unknown_never_replaces_a_better_verdict(provider: str) -> None:
    valid = merge({}, {"zerobounce": email(status="valid", score=95)}, VERIFIERS)
    unknown = {provider: email(status="unknown", score=20, smtp_check=None)}
    values, origins = verified(valid, **unknown)
    assert (values, set(origins.values())) == ({"status": "valid", "score": 95}, {"zerobounce"})


def test_a_verdict_that_its_own_provider_no_longer_has_gives_way_to_a_new_one_of_another() -> None:
    valid = merge({}, {"hunter": email(status="valid", score=95)}, VERIFIERS)
    unknown = email(status="unknown")
    assert verified(valid, hunter=unknown)[0] == {"status": "valid", "score": 95}
    values, origins = verified(valid, hunter=unknown, zerobounce=email(status="invalid", score=3))
    assert values == {"status": "invalid", "score": 3}
    assert set(origins.values()) == {"zerobounce"}
    assert verified(valid, zerobounce=email(status="invalid"))[0]["status"] == "valid"


def test_any_other_verdict_replaces_an_unknown_one_also_from_a_lesser_provider() -> None:
    answers = {"hunter": email(status="unknown"), "local": email(status="valid")}
    first = merge({}, answers, ORDER)
    assert first["email_verification"] == {"status": "valid"}
    second = merge(
        merge({}, {"hunter": answers["hunter"]}, ORDER), {"local": answers["local"]}, ORDER
    )
    assert second == first
    assert merge(first, {"hunter": answers["hunter"]}, ORDER) == first


# Over time


def test_a_newer_value_of_the_same_provider_replaces_the_stored_one() -> None:
    merged = merge(stored("clearbit", name="Old"), {"clearbit": company(name="New")}, ORDER)
    assert merged["company_data"] == {"name": "New"}


def test_a_stored_value_of_a_better_provider_stays() -> None:
    merged = merge(stored("clearbit", name="Old"), {"hunter_company": company(name="New")}, ORDER)
    assert merged["company_data"] == {"name": "Old"}
    assert provenance(merged)["company_data"] == {"name": "clearbit"}


@pytest.mark.parametrize("origin", [None, "a provider of former days"])
def test_a_stored_value_of_unknown_origin_gives_way(origin: str | None) -> None:
    merged = merge(stored(origin, name="Old"), {"local": company(name="New")}, ORDER)
    assert merged["company_data"] == {"name": "New"}
    assert provenance(merged)["company_data"] == {"name": "local"}


def test_stored_values_without_a_newer_one_stay_with_their_origin() -> None:
    merged = merge(stored("clearbit", name="Acme", ours=0), {}, ORDER)
    assert merged["company_data"] == {"name": "Acme", "ours": 0}
    assert provenance(merged)["company_data"] == {"name": "clearbit", "ours": "clearbit"}


def test_keys_of_others_are_kept() -> None:
    previous = {"crm_notes": {"a": 1}, "social_profiles": {"company": {"tiktok": "u"}, "x": 1}}
    merged = merge(previous, {"clearbit": company(twitter_handle="acme")}, ORDER)
    assert merged["crm_notes"] == {"a": 1}
    assert merged["social_profiles"] == {
        "company": {"tiktok": "u", "twitter": "https://twitter.com/acme"},
        "person": {},
        "x": 1,
    }


def test_what_was_given_is_not_changed() -> None:
    previous = stored("local", name="Old")
    before = copy.deepcopy(previous)
    merge(previous, {"clearbit": company(name="New")}, ORDER)
    assert previous == before


@pytest.mark.parametrize(
    "previous",
    [
        None,
        "text",
        ["list"],
        7,
        {"company_data": "text", "enrichment_metadata": []},
        {"company_data": ["list"], "enrichment_metadata": {"provenance": "x"}},
        {"social_profiles": 3, "enrichment_metadata": {"provenance": {"company_data": 1}}},
        {"enrichment_metadata": {"provenance": {"company_data": {"name": ["x"]}}}},
    ],
)
def test_stored_data_of_a_wrong_type_is_treated_as_none(previous: Any) -> None:
    merged = merge(previous, {"clearbit": company(name="Acme")}, ORDER)
    assert merged["company_data"] == {"name": "Acme"}
    assert provenance(merged) == {"company_data": {"name": "clearbit"}}


# What can be stored


def test_field_names_that_mongodb_would_misread_are_made_safe() -> None:
    found = company(**{"a.b": 1, "$set": 2, "n\0ul": 3, "in": {"$x.y": {"": 1, "k": 2}}, "\0": 4})
    assert merge({}, {"clearbit": found}, ORDER)["company_data"] == {
        "a_b": 1,
        "_set": 2,
        "nul": 3,
        "in": {"_x_y": {"k": 2}},
    }


def test_every_merged_value_can_be_stored() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = {"in": [deep]}
    odd = company(text="a\ud800", big=10**30, huge=10**400, deep=deep, items=("a", {1: 2}))
    merged = merge({}, {"clearbit": odd}, ORDER)
    assert bson.encode(merged)
    assert merged["company_data"]["text"] == "a?"
    assert merged["company_data"]["big"] == 1e30
    assert merged["company_data"]["items"] == ["a", {"1": 2}]


@pytest.mark.parametrize("sections", [{}, {"company_data": None}, {"company_data": ["x"]}])
def test_a_section_that_is_no_mapping_is_no_answer(sections: Any) -> None:
    assert merge({}, {"clearbit": Found(sections)}, ORDER)["company_data"] is None


# Social profiles


@pytest.mark.parametrize(
    ("name", "handle", "url"),
    [
        ("linkedin", "company/acme", "https://www.linkedin.com/company/acme"),
        ("linkedin", "acme", "https://www.linkedin.com/company/acme"),
        ("linkedin", "linkedin.com/company/acme", "https://www.linkedin.com/company/acme"),
        (
            "linkedin",
            "HTTP://uk.LinkedIn.com/company/acme/?x=1",
            "https://www.linkedin.com/company/acme",
        ),
        (
            "linkedin",
            "company/société",
            "https://www.linkedin.com/company/soci%C3%A9t%C3%A9",
        ),
        ("twitter", "@acme", "https://twitter.com/acme"),
        ("twitter", "https://x.com/acme", "https://twitter.com/acme"),
        ("facebook", "acme", "https://www.facebook.com/acme"),
        ("crunchbase", "acme", "https://www.crunchbase.com/organization/acme"),
        ("crunchbase", "organization/acme", "https://www.crunchbase.com/organization/acme"),
    ],
)
def test_a_companys_handle_becomes_a_full_address(name: str, handle: str, url: str) -> None:
    merged = merge({}, {"clearbit": company(**{f"{name}_handle": handle})}, ORDER)
    assert merged["social_profiles"] == {"company": {name: url}, "person": {}}


def test_a_persons_handle_becomes_a_full_address() -> None:
    found = Found({"person_data": {"linkedin_handle": "pat", "github_handle": "pat"}})
    assert merge({}, {"clearbit": found}, ORDER)["social_profiles"] == {
        "company": {},
        "person": {
            "linkedin": "https://www.linkedin.com/in/pat",
            "github": "https://github.com/pat",
        },
    }


@pytest.mark.parametrize(
    "handle",
    ["javascript:alert(1)", "https://evil.com/a", "a b", 7, True, "@", "linkedin.com", "/"],
)
def test_a_handle_that_is_none_becomes_no_link(handle: object) -> None:
    merged = merge({}, {"clearbit": company(linkedin_handle=handle)}, ORDER)
    assert merged["social_profiles"] == {}


# Metadata


def test_metadata_lists_providers_in_their_order() -> None:
    merged = merge({}, {"clearbit": company(name="Acme")}, ORDER)
    assert metadata(
        merged,
        now=datetime(2025, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
        order=ORDER,
        used={"local", "clearbit"},
        failed=["hunter"],
        not_found=["zeta", "alpha", "hunter_company"],
        skipped={"pdl": "no key", "hunter": "held"},
        completeness=(10, ["company.industry"]),
    ) == {
        "enriched_at": "2025-01-02T03:04:05.678+00:00",
        "sources_used": ["clearbit", "local"],
        "sources_failed": ["hunter"],
        "sources_not_found": ["hunter_company", "alpha", "zeta"],
        "sources_skipped": {"hunter": "held", "pdl": "no key"},
        "completeness_score": 10,
        "completeness_missing": ["company.industry"],
        "flags": [],
        "provenance": {"company_data": {"name": "clearbit"}},
    }


def test_metadata_of_nothing_is_empty_lists() -> None:
    figures = metadata({}, now=datetime.now(UTC), order=ORDER, completeness=(0, []))
    assert figures["sources_used"] == []
    assert figures["sources_skipped"] == {}
    assert figures["provenance"] == {}


# Properties

NAMES = st.sampled_from(["name", "status", "score", "employee_count", "linkedin_handle", "a.b"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "N/A", "unknown", "Acme", "valid", "company/acme"]),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
PROVIDERS = st.sampled_from([*ORDER, "stranger"])
FOUND = st.builds(
    Found, st.dictionaries(st.sampled_from(SECTIONS), st.dictionaries(NAMES, VALUES, max_size=4))
)
ANSWERS = st.dictionaries(PROVIDERS, FOUND, max_size=3)


def values_of(enriched: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (section, name)
        for section in SECTIONS
        for name, value in (enriched[section] or {}).items()
        if not is_blank(value)
    }


@given(ANSWERS, ANSWERS)
def test_no_answer_ever_removes_a_value(first: dict[str, Found], second: dict[str, Found]) -> None:
    before = merge({}, first, ORDER)
    assert values_of(before) <= values_of(merge(before, second, ORDER))


@given(ANSWERS, ANSWERS)
def test_merging_the_same_answers_again_changes_nothing(
    first: dict[str, Found], second: dict[str, Found]
) -> None:
    once = merge(merge({}, first, ORDER), second, ORDER)
    assert merge(once, second, ORDER) == once


@given(ANSWERS)
def test_every_value_names_its_origin_and_no_more(answers: dict[str, Found]) -> None:
    merged = merge({}, answers, ORDER)
    named = {(s, n) for s, names in provenance(merged).items() for n in names}
    assert named == {(s, n) for s in SECTIONS for n in merged[s] or {}}


@given(
    st.recursive(
        VALUES,
        lambda v: st.dictionaries(
            st.sampled_from(
                [
                    *SECTIONS,
                    "enrichment_metadata",
                    "social_profiles",
                    "provenance",
                    "company",
                    "name",
                    "linkedin_handle",
                ]
            ),
            v,
        ),
    ),
    ANSWERS,
)
def test_no_stored_data_makes_merging_fail(previous: Any, answers: dict[str, Found]) -> None:
    merged = merge(previous, answers, ORDER)
    assert set(SECTIONS) < set(merged)
