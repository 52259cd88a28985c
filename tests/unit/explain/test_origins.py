"""Who won a field, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from enricher.answer import Found
from enricher.explain.explanation import FieldOrigin, origins
from enricher.values.merge import BY_FIELD, merge

ORDER = ["clearbit", "hunter_company"]


def _told(data: dict[str, Any]) -> dict[str, FieldOrigin]:
    return {each.name: each for each in origins(data, ORDER)}


def _merged(clearbit: float | None = None, hunter: float | None = None) -> dict[str, FieldOrigin]:
    answers = {
        "clearbit": Found({"company_data": {"name": "Quokka", "industry": "Freight"}}, clearbit),
        "hunter_company": Found({"company_data": {"name": "Quokka Inc"}}, hunter),
    }
    return _told(merge({}, answers, ORDER))


def test_the_first_in_the_order_won_and_the_loser_stays_readable() -> None:
    name = _merged()["name"]
    assert (name.value, name.provider) == ("Quokka", "clearbit")
    assert name.why == "comes before hunter_company in the order"
    assert name.alternatives == {"hunter_company": "Quokka Inc"}


def test_a_value_that_nobody_contradicts_says_so_whether_or_not_others_gave_it_too() -> None:
    assert _merged()["industry"].why == "no other provider said anything else"


def test_one_that_was_too_unsure_lost_although_it_comes_first() -> None:
    told = _merged(clearbit=0.2, hunter=0.9)
    assert told["name"].provider == "hunter_company"
    assert told["name"].confidence == 0.9
    assert told["name"].why.startswith("clearbit would come first")
    assert (told["industry"].value, told["industry"].provider) == (None, None)
    assert told["industry"].why == "nobody was sure enough (below 0.5)"


def test_who_knows_a_field_best_won_it_for_that_reason_and_not_for_the_others_doubts() -> None:
    order = ["clearbit", "website"]
    answers = {
        name: Found({"company_data": {"phone": phone, "linkedin_handle": f"company/{name}"}})
        for name, phone in (("clearbit", "+1 415 555 0188"), ("website", "+1 415 555 0199"))
    }
    told = {each.name: each for each in origins(merge({}, answers, order), order)}
    assert {told[name].provider for name in ("phone", "linkedin_handle")} == {"website"}
    assert told["phone"].why == "knows this field better than clearbit"


def test_a_job_elsewhere_is_held_for_that_reason() -> None:
    held = Found({"person_data": {"full_name": "Ada"}}, unsure={"person_data": {"role": "sales"}})
    data = merge({}, {"clearbit": held}, ORDER)
    data["enrichment_metadata"]["flags"] = ["employer_mismatch"]
    told = _told(data)["role"]
    assert (told.value, told.alternatives) == (None, {"clearbit": "sales"})
    assert told.why == "the person works for another company by now"


def test_what_somebody_else_wrote_is_of_unknown_origin() -> None:
    assert "unknown origin" in _told({"company_data": {"name": "Quokka"}})["name"].why


@pytest.mark.parametrize("garbage", [None, 1, "x", [], {"name": 1}, {"name": {"lead": 1}}])
def test_metadata_of_any_shape_is_read(garbage: Any) -> None:
    known = {key: {"company_data": garbage} for key in BY_FIELD}
    told = _told({"company_data": {"name": "Quokka"}, "enrichment_metadata": known})
    assert told["name"].value == "Quokka"
