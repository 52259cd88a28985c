"""What is told about a lead, for every status and every kind of decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from enricher.calls.ceiling import Ceiling
from enricher.calls.order import Order, OrderChange
from enricher.enrichment.rechecks import Rechecks
from enricher.explain.explanation import (
    Decision,
    Explanation,
    Kept,
    KnownProvider,
    Next,
    Standing,
    explain,
)
from enricher.lead import Inputs, Reason, Status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON, EARLIER = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)
ADA = Inputs(email="Ada+x@Quokka-Freight.com")
SOURCES = (
    KnownProvider("clearbit", "company", 1.0),
    KnownProvider("hunter", "email", 0.5),
    KnownProvider("local", "email"),
    KnownProvider("pdl_company", "company", off="no key"),
)


def _lead(**more: Any) -> Standing:
    return Standing(**{"id": 1, "now": NOW, "inputs": ADA, **more})


def _told(*sources: KnownProvider, **more: Any) -> dict[str, Decision]:
    told = explain(_lead(**more), sources or SOURCES)
    return {each.provider: each for each in told.providers}


def _metadata(**more: Any) -> dict[str, Any]:
    return {"enrichment_metadata": more}


# -- what comes next -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words", "due_at"),
    [
        ({}, "a running daemon makes it pending", None),
        ({"is_history": True}, "it is history", None),
        ({"status": "pending"}, "it is work now", None),
        ({"unwritable": "The field x is no object."}, "until it is mended. The field x", None),
        ({"status": "pending", "unwritable": "Twice."}, "until it is mended. Twice.", None),
        ({"status": "failed", "unwritable": "Twice."}, "until somebody sets it to pending", None),
        ({"is_history": True, "unwritable": "Twice."}, "it is history", None),
        ({"status": "processing", "book": {"due_at": SOON}}, "its holder finishes it", SOON),
        ({"status": "processing", "book": {"due_at": EARLIER}}, "its lease ran out", EARLIER),
        ({"status": "processing"}, "without a due time", None),
        ({"status": "retrying", "book": {"due_at": SOON}}, "the next try", SOON),
        ({"status": "retrying", "book": {"due_at": EARLIER}}, "is due now", EARLIER),
        ({"status": "retrying", "book": {"due_at": "tomorrow"}}, "without a due time", None),
        ({"status": "completed", "book": {"due_at": SOON}}, "a refresh", SOON),
        ({"status": "completed"}, "nothing, until somebody", None),
        ({"status": "failed"}, "nothing, until somebody", None),
        ({"status": "skipped"}, "nothing, until somebody", None),
        ({"status": "PENDING"}, "a status alone that they do not know", None),
        ({"status": {"a": 1}}, "a status alone that they do not know", None),
    ],
)
def test_what_happens_next_follows_from_status_and_due_time(
    more: dict[str, Any], words: str, due_at: datetime | None
) -> None:
    told = explain(_lead(**more), SOURCES).next
    assert words in told.what
    assert told.due_at == due_at


def test_a_recheck_is_told_with_its_reason_and_with_whom_it_asks() -> None:
    rules = Rechecks((timedelta(hours=4), timedelta(days=3)), 50, frozenset({"clearbit", "hunter"}))
    answered = {"clearbit": "not_found", "hunter": "found"}
    book = {"due_at": SOON, "recheck_since": EARLIER, "rechecks": 1, "answered": answered}
    data = {"email_verification": {"status": "valid"}}
    thin = _lead(status="completed", book=book, data=data)
    told = explain(thin, SOURCES, rechecks=rules).next
    why = "its company is unknown, its score is below 50"
    assert told == Next(f"a recheck (2 of 2): {why}; asks clearbit", SOON)
    off = explain(thin, SOURCES).next
    assert off == Next("a recheck that asks nobody, then a refresh", SOON)


@pytest.mark.parametrize(
    ("status", "since"),
    [
        (Status.PENDING, NOW - timedelta(hours=3)),
        (Status.COMPLETED, NOW - timedelta(hours=2)),
        (Status.FAILED, NOW - timedelta(hours=1)),
        (Status.SKIPPED, NOW - timedelta(hours=1)),
        (Status.RETRYING, None),
        (Status.PROCESSING, None),
    ],
)
def test_since_when_is_told_where_the_lead_says_so(status: Status, since: datetime | None) -> None:
    lead = _lead(
        status=status.value,
        enriched_at=NOW - timedelta(hours=2),
        updated_at=NOW - timedelta(hours=1),
        book={"queued_at": NOW - timedelta(hours=3)},
    )
    assert explain(lead, SOURCES).since == since


@pytest.mark.parametrize(
    ("more", "lane"),
    [
        ({}, "fresh"),
        ({"is_behind": True}, "backfill"),
        ({"is_behind": True, "enriched_at": NOW}, "refresh"),
        ({"is_behind": True, "book": {"backfill": True}}, "backfill"),
    ],
)
def test_the_lane_says_whether_anybody_waits(more: dict[str, Any], lane: str) -> None:
    assert explain(_lead(**more), SOURCES).lane == lane


# -- who it is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "domain", "from_field"),
    [
        (ADA, "quokka-freight.com", "email"),
        (Inputs(email="a@gmail.com", website="https://www.a.io/x"), "a.io", "website"),
        (Inputs(company_domain="b.io", website="a.io"), "b.io", "company_domain"),
        (Inputs(company_domain="gmail.com", website="a.io"), "a.io", "website"),
        (Inputs(email="a@gmail.com"), None, None),
    ],
)
def test_the_company_domain_is_told_with_the_field_that_it_comes_from(
    inputs: Inputs, domain: str | None, from_field: str | None
) -> None:
    who = explain(_lead(inputs=inputs), SOURCES).who
    assert (who.company_domain, who.from_field) == (domain, from_field)


def test_the_address_is_told_as_vendors_are_asked_about_it() -> None:
    who = explain(_lead(inputs=Inputs(email="info+x@Gmail.com")), SOURCES).who
    assert who.email == "info@gmail.com"
    assert set(who.traits) >= {"free_mail", "role"}


@pytest.mark.parametrize(
    ("flags", "told"), [(["employer_mismatch", 7], ("employer_mismatch",)), ("x", ())]
)
def test_what_was_noticed_of_the_answers_is_told_as_well(flags: Any, told: tuple[str, ...]) -> None:
    assert explain(_lead(data=_metadata(flags=flags)), SOURCES).who.traits == told


def test_who_objected_is_a_reason_that_nobody_is_asked() -> None:
    told = explain(_lead(status="skipped"), SOURCES, is_suppressed=True)
    assert told.who.reason is Reason.SUPPRESSED
    assert told.providers[0].why == Reason.SUPPRESSED.sentence


def test_what_was_found_for_another_address_is_said_to_be() -> None:
    assert explain(_lead(), SOURCES).who.is_of_data
    assert not explain(_lead(), SOURCES, is_of_data=False).who.is_of_data


# -- the providers -------------------------------------------------------------------------


def test_what_the_metadata_says_of_a_provider_is_its_decision() -> None:
    told = _told(
        status="completed",
        data=_metadata(
            sources_used=["clearbit"],
            sources_not_found=["hunter"],
            sources_failed=["local"],
            sources_skipped={"pdl_company": "turned off", "gone": "nothing was missing"},
        ),
    )
    decisions = {name: (each.decision, each.why) for name, each in told.items()}
    assert decisions["clearbit"] == ("used", "")
    assert decisions["hunter"] == ("not_found", "")
    assert decisions["local"][0] == "failed"
    assert decisions["pdl_company"] == ("skipped", "turned off")
    assert decisions["gone"] == ("skipped", "nothing was missing")


def test_who_found_nothing_says_why_where_the_answer_is_kept() -> None:
    kept = Kept(NOW, NOW, 1.0, reason="the match is too uncertain")
    data = _metadata(sources_not_found=["pdl_person"], sources_used=["clearbit"])
    sources = (KnownProvider(name, "person", 1.0, kept=kept) for name in ("pdl_person", "clearbit"))
    told = _told(*sources, data=data)
    assert (told["pdl_person"].why, told["clearbit"].why) == ("the match is too uncertain", "")


def test_the_run_under_way_counts_more_than_the_one_before() -> None:
    before = _metadata(sources_failed=["clearbit"], sources_used=["hunter"])
    book = {"answered": {"clearbit": "found"}, "held_by": ["hunter"], "due_at": SOON}
    told = _told(status="retrying", data=before, book=book)
    assert (told["clearbit"].decision, told["hunter"].decision) == ("used", "held")


def test_who_was_not_asked_has_a_reason() -> None:
    told = _told(
        KnownProvider("clearbit", "company", 1.0, unfit="free-mail address"),
        KnownProvider("hunter", "email", 0.5, is_under_way=True),
        KnownProvider("local", "email"),
        KnownProvider("pdl_company", "company", off="no key"),
    )
    assert {name: each.why for name, each in told.items()} == {
        "clearbit": "free-mail address",
        "hunter": "the question is under way",
        "local": "not yet",
        "pdl_company": "no key",
    }
    assert {each.decision for each in told.values()} == {"not asked"}


def test_an_answer_older_than_a_refresh_is_kept_but_does_not_count() -> None:
    kept = Kept(EARLIER, SOON, 1.0)
    source = KnownProvider("clearbit", "company", 1.0, kept=kept)
    assert not _told(source)["clearbit"].is_kept_too_old
    assert _told(source, book={"refresh_since": NOW})["clearbit"].is_kept_too_old


# -- garbage -------------------------------------------------------------------------------


def _garbage() -> list[Any]:
    return [
        None,
        0,
        "text",
        [],
        [1, {}],
        {"a": {}},
        float("nan"),
        True,
        datetime.max.replace(tzinfo=UTC),
    ]


@pytest.mark.parametrize("garbage", _garbage())
def test_whatever_others_wrote_there_is_an_explanation(garbage: Any) -> None:
    names = ("provenance", "alternatives", "confidence", "sources_used", "sources_skipped")
    data = {"company_data": {"name": garbage}, **_metadata(**dict.fromkeys(names, garbage))}
    book = dict.fromkeys(("due_at", "answered", "held_by", "attempts", "holder"), garbage)
    for each in (data, garbage):
        for status in (*Status, garbage):
            told = explain(
                _lead(status=status, data=each, book=book, error=garbage, updated_at=garbage),
                SOURCES,
            )
            assert isinstance(told, Explanation)


def test_the_score_says_what_each_missing_line_is_worth() -> None:
    told = explain(_lead(data={"company_data": {"name": "Quokka"}}), SOURCES)
    assert told.score == 10
    assert sum(told.missing.values()) == 90
    assert told.missing["company.employee_count"] == 15


# -- leads that a condition excludes -------------------------------------------------------------


def test_an_excluded_lead_has_no_next_step_and_no_call_that_costs_anything() -> None:
    excluded_by = ('{"state": {"$ne": "visitor"}}',)
    answered = {"answered": {"clearbit": "found"}}
    for status in (None, "pending", "processing"):
        told = explain(_lead(status=status, book=answered), SOURCES, excluded_by=excluded_by)
        assert told.excluded_by == excluded_by
        assert told.next.what.startswith("nothing while `only` excludes it")
        providers = {each.provider: each for each in told.providers}
        assert {each.credits for each in told.providers} == {0.0}
        assert providers["hunter"].why == "`only` excludes the lead"
        assert providers["pdl_company"].why == "no key"
        assert providers["clearbit"].decision == "used"


# -- what it cost ----------------------------------------------------------------------------


def test_what_a_lead_cost_is_told_beside_its_ceiling() -> None:
    lead = _lead(
        status="completed", book={"spent": 1_500_000}, data=_metadata(capped=["pdl_company", 1])
    )
    told = explain(lead, SOURCES, ceiling=Ceiling(2))
    assert (told.spent, told.ceiling, told.unit) == (1.5, 2, "credits")
    assert told.capped == ("pdl_company",)
    assert explain(lead, SOURCES, ceiling=Ceiling(2, {"hunter": 0.1})).unit == "money"
    assert explain(lead, SOURCES).spent is None


@pytest.mark.parametrize("garbage", [None, "much", [], {"spent": 1}, True])
def test_what_writers_put_in_its_place_is_no_cost(garbage: object) -> None:
    lead = _lead(book={"spent": garbage}, data=_metadata(capped=garbage))
    told = explain(lead, SOURCES, ceiling=Ceiling(2))
    assert (told.spent, told.capped) == (0, ())


# -- the fleet's own order -----------------------------------------------------------------


def test_where_the_fleet_finds_the_order_it_says_who_is_asked_first_and_when_and_why_that_changed() -> (
    None
):
    why = "a filled field costs 0.1 in place of 0.2 (money)"
    changes = (
        OrderChange(EARLIER, "pdl_company", "clearbit", why),
        OrderChange(EARLIER, "pdl_person", "hunter_person", why),
    )
    order = Order(("pdl_company", "clearbit"), changes=changes)
    sources = (
        KnownProvider("clearbit", "company", 1.0),
        KnownProvider("pdl_company", "company", 1.0),
    )
    told = explain(_lead(), sources, order=order)
    assert told.order == (
        "company: pdl_company, clearbit",
        f"company: since 2026-03-01 11:59 UTC pdl_company comes before clearbit: {why}",
    )
    assert explain(_lead(), sources).order == ()
