"""What lost stays readable beside the winner, bounded, and never becomes a value by itself."""

from __future__ import annotations

from typing import Any

import bson
import pytest

from enricher.answer import Found
from enricher.values.merge import MOST_BYTES, MOST_PROVIDERS, merge
from tests.support.scripted import company, person, verdict

ORDER = ("clearbit", "pdl", "apollo", "hunter_company", "hunter", "person", "local")


def merged(*runs: dict[str, Found], stated: Any = None) -> dict[str, Any]:
    """What a lead has after some runs, one after the other."""
    data: dict[str, Any] = {}
    for answers in runs:
        data = merge(data, answers, ORDER, stated)
    return data


def of(data: dict[str, Any]) -> Any:
    return data["enrichment_metadata"].get("alternatives")


def unsure(confidence: float, **values: object) -> Found:
    return Found({"company_data": values}, confidence=confidence)


def test_what_lost_is_kept_with_who_said_it() -> None:
    data = merged({"clearbit": company(name="Acme"), "pdl": company(name="Acme Holding")})
    assert data["company_data"] == {"name": "Acme"}
    assert of(data) == {"company_data": {"name": {"pdl": "Acme Holding"}}}


def test_what_says_the_same_in_other_words_is_no_alternative() -> None:
    first = company(name="Acme", employee_range="1K-5K", country="United States")
    second = company(name="ACME ", employee_range="1000-5000", country="usa")
    assert of(merged({"clearbit": first, "pdl": second})) is None


def test_who_agrees_with_nobody_is_the_only_alternative() -> None:
    said = {"clearbit": "51-250", "pdl": "51-200", "apollo": "51 - 250"}
    data = merged({name: company(employee_range=text) for name, text in said.items()})
    assert of(data) == {"company_data": {"employee_range": {"pdl": "51-200"}}}


def test_a_stored_value_that_loses_becomes_an_alternative() -> None:
    data = merged({"pdl": company(name="Acme Holding")}, {"clearbit": company(name="Acme")})
    assert data["company_data"] == {"name": "Acme"}
    assert of(data) == {"company_data": {"name": {"pdl": "Acme Holding"}}}


def test_a_new_value_that_loses_against_a_stored_one_is_an_alternative() -> None:
    data = merged({"clearbit": company(name="Acme")}, {"pdl": company(name="Acme Holding")})
    assert of(data) == {"company_data": {"name": {"pdl": "Acme Holding"}}}


def test_an_alternative_outlives_runs_in_which_its_provider_says_nothing() -> None:
    first = {"clearbit": company(name="Acme"), "pdl": company(name="Acme Holding")}
    assert of(merged(first, {}, {"clearbit": company(name="Acme")})) == of(merged(first))


def test_who_comes_to_agree_has_no_alternative_any_more() -> None:
    first = {"clearbit": company(name="Acme"), "pdl": company(name="Acme Holding")}
    assert of(merged(first, {"pdl": company(name="ACME")})) is None


def test_a_newer_value_of_the_same_provider_replaces_its_alternative() -> None:
    first = {"clearbit": company(name="Acme"), "pdl": company(name="Acme Holding")}
    data = merged(first, {"pdl": company(name="Acme Group")})
    assert of(data) == {"company_data": {"name": {"pdl": "Acme Group"}}}


def test_what_says_nothing_is_no_alternative() -> None:
    blank = company(name="Unknown", employee_count=0)
    data = merged({"clearbit": company(name="Acme", employee_count=5), "pdl": blank})
    assert of(data) is None
    verdicts = {"hunter": verdict(status="unknown"), "local": verdict(status="invalid")}
    assert of(merged(verdicts)) is None


def test_a_false_flag_and_a_score_of_zero_are_alternatives() -> None:
    said = {
        "hunter": verdict(is_webmail=True, score=90),
        "local": verdict(is_webmail=False, score=0),
    }
    assert of(merged(said)) == {
        "email_verification": {"is_webmail": {"local": False}, "score": {"local": 0}}
    }


# -- confidence --------------------------------------------------------------------------------


def test_the_better_provider_wins_also_when_it_is_less_sure() -> None:
    said = {"clearbit": unsure(0.6, name="Acme"), "pdl": unsure(1.0, name="Acme Holding")}
    data = merged(said)
    assert data["company_data"] == {"name": "Acme"}
    assert data["enrichment_metadata"]["confidence"] == {"company_data": {"name": 0.6}}


def test_of_one_provider_the_surer_value_stays_and_a_hair_makes_no_difference() -> None:
    first = {"pdl": unsure(0.9, name="Acme")}
    assert merged(first, {"pdl": unsure(0.6, name="Other")})["company_data"]["name"] == "Acme"
    assert merged(first, {"pdl": unsure(0.88, name="Newer")})["company_data"]["name"] == "Newer"
    assert merged(first, {"pdl": company(name="Newer")})["company_data"]["name"] == "Newer"


def test_of_two_providers_of_no_rank_the_surer_one_wins() -> None:
    said = {"a": unsure(0.6, name="A"), "b": unsure(0.9, name="B")}
    assert merge({}, said, ORDER)["company_data"] == {"name": "B"}


def test_what_is_more_likely_about_somebody_else_is_only_an_alternative() -> None:
    data = merged({"clearbit": unsure(0.3, name="Some other Acme")})
    assert data["company_data"] is None
    assert of(data) == {"company_data": {"name": {"clearbit": "Some other Acme"}}}
    assert merged({"clearbit": unsure(0.3, name="Acme")}, {})["company_data"] is None


@pytest.mark.parametrize("nonsense", [True, "high", float("nan"), [0.1]])
def test_a_confidence_that_is_none_counts_for_nothing(nonsense: Any) -> None:
    data = merged({"clearbit": Found({"company_data": {"name": "Acme"}}, confidence=nonsense)})
    assert data["company_data"] == {"name": "Acme"}
    assert "confidence" not in data["enrichment_metadata"]


# -- what the lead's writer said ----------------------------------------------------------------

CTO = {"person_data": {"job_title": "CTO"}}


def test_the_job_title_of_the_lead_stands_beside_the_providers_and_never_in_its_place() -> None:
    data = merged({"person": person(job_title="Engineer")}, stated=CTO)
    assert data["person_data"] == {"job_title": "Engineer"}
    assert of(data) == {"person_data": {"job_title": {"lead": "CTO"}}}


def test_the_job_title_of_the_lead_makes_nobody_known() -> None:
    data = merged({}, stated=CTO)
    assert (data["person_data"], of(data)) == (None, None)


@pytest.mark.parametrize("title", [None, "", "N/A", "cto", "x" * 5000])
def test_a_job_title_that_says_nothing_new_is_no_alternative(title: str | None) -> None:
    stated = {"person_data": {"job_title": title}}
    assert of(merged({"person": person(job_title="CTO")}, stated=stated)) is None


def test_a_job_title_that_was_taken_off_the_lead_is_gone_with_the_next_run() -> None:
    first = merge({}, {"person": person(job_title="Engineer")}, ORDER, CTO)
    assert of(merge(first, {}, ORDER)) is None


# -- bounds ------------------------------------------------------------------------------------


def test_a_field_has_so_many_alternatives_and_the_best_of_them() -> None:
    said = {name: company(name=f"Acme {name}") for name in (*ORDER, "zeta")}
    kept = of(merged(said))["company_data"]["name"]
    assert list(kept) == list(ORDER[1 : 1 + MOST_PROVIDERS])


def test_alternatives_do_not_make_a_lead_large() -> None:
    fields = {f"field_{number}": "x" * 1500 for number in range(100)}
    others = {f"field_{number}": "y" * 1500 for number in range(100)}
    data = merged({"clearbit": company(**fields), "pdl": company(**others)})
    assert 0 < len(bson.encode(of(data))) < MOST_BYTES * 1.2
    again = merge(data, {"clearbit": company(**fields), "pdl": company(**others)}, ORDER)
    assert again == data


def test_a_long_text_is_no_alternative() -> None:
    said = {"clearbit": company(description="a" * 5000), "pdl": company(description="b" * 5000)}
    assert of(merged(said)) is None


def test_names_that_mongodb_would_misread_are_safe_as_keys() -> None:
    said = {"clearbit": company(**{"$a.b": "1"}), "$some.vendor": company(**{"$a.b": "2"})}
    data = merged(said)
    assert of(data) == {"company_data": {"_a_b": {"_some_vendor": "2"}}}
    assert merge(data, said, ORDER) == data


@pytest.mark.parametrize(
    "garbage",
    [
        "text",
        ["list"],
        {"company_data": "text"},
        {"company_data": {"name": "text"}},
        {"company_data": {"name": {"pdl": {"no": "name"}, "": "x", "apollo": None}}},
        {"other": {"name": {"pdl": "x"}}},
    ],
)
def test_stored_alternatives_of_a_wrong_shape_are_dropped(garbage: object) -> None:
    before = {"company_data": {"name": "Acme"}, "enrichment_metadata": {"alternatives": garbage}}
    assert of(merge(before, {}, ORDER)) is None


def test_leads_from_before_there_were_alternatives_have_none_until_somebody_disagrees() -> None:
    before = {
        "company_data": {"name": "Acme"},
        "enrichment_metadata": {"provenance": {"company_data": {"name": "clearbit"}}},
    }
    assert of(merge(before, {}, ORDER)) is None
    disagreeing = merge(before, {"pdl": company(name="Acme Holding")}, ORDER)
    assert of(disagreeing) == {"company_data": {"name": {"pdl": "Acme Holding"}}}


def test_a_stored_value_of_a_wrong_type_gives_way_and_is_no_alternative() -> None:
    before = {
        "company_data": {"name": {"legal": "Acme"}},
        "enrichment_metadata": {"provenance": {"company_data": {"name": "clearbit"}}},
    }
    data = merge(before, {"pdl": company(name="Acme")}, ORDER)
    assert (data["company_data"], of(data)) == ({"name": "Acme"}, None)
