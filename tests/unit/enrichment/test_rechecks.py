"""Who is asked in a recheck, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast

import pytest

from enricher.answer import Answer, Held, Kind, NotFound, Objected, Throttled, Unavailable
from enricher.calls.question import RECHECKED_ENOUGH, Gate, Retries
from enricher.enrichment.attempt import Enrichment, Subjects, Waterfall
from enricher.enrichment.conclude import AttemptPolicy
from enricher.enrichment.rechecks import Rechecks, rules_of
from enricher.lead import Completed, End, Inputs, Lead, NextRecheck, Recheck, Rechecked, Skipped
from enricher.providers.base import Provider
from enricher.providers.registry import built_in
from enricher.settings.load import RecheckSettings
from enricher.settings.vendors import VENDORS
from tests.support.scripted import (
    KEYRING,
    Scripted,
    company,
    keep_nothing,
    person,
    provider,
    verdict,
)

ADA = Inputs(email="ada@acme-tools.com")
HOUR = timedelta(hours=1)
AFTER = (4 * HOUR, 72 * HOUR, 720 * HOUR)
NAMES = frozenset({"clearbit", "hunter_company", "hunter", "hunter_person", "zerobounce"})
ACME = company(name="Acme", industry="Tools", employee_count=7, description="x", tech_stack=["y"])
VALID = verdict(status="valid", score=90)
UNKNOWN = verdict(status="unknown")
NOBODY = Unavailable("503")


def enrichment(*providers: Scripted, rules: Rechecks | None = None) -> Enrichment:
    gates = [Gate(each, Retries(tries=1), Random(1)) for each in providers]
    return Enrichment(
        waterfall=Waterfall(gates, {}),
        subjects=Subjects(KEYRING),
        policy=AttemptPolicy(3, timedelta(seconds=60), 30),
        rechecks=Rechecks(AFTER, 50, NAMES) if rules is None else rules,
        random=Random(1),
    )


def world(**answers: Answer) -> list[Scripted]:
    kinds = {"hunter": Kind.EMAIL, "zerobounce": Kind.EMAIL, "hunter_person": Kind.PERSON}
    required = {Kind.COMPANY: ["name"], Kind.EMAIL: ["status"], Kind.PERSON: ["full_name"]}
    return [
        provider(name, each, kind, required=required[kind])
        for name, each in answers.items()
        for kind in [kinds.get(name, Kind.COMPANY)]
    ]


async def first_run(**answers: Answer) -> Completed:
    outcome, _ = await enrichment(*world(**answers)).work_on(Lead(1, ADA), keep_nothing)
    assert isinstance(outcome, Completed)
    return outcome


async def thin_lead(**answers: Answer) -> Lead:
    """A lead as its first recheck claims it."""
    before = await first_run(**answers)
    about = enrichment(*world(**answers)).subjects.about(ADA).document
    return Lead(
        1,
        ADA,
        enriched_data=before.data,
        answered=before.answered,
        subject=about,
        recheck=Recheck(datetime.now(UTC) - 4 * HOUR),
    )


async def recheck(
    lead: Lead, rules: Rechecks | None = None, **answers: Answer
) -> tuple[End, dict[str, int]]:
    """Return the outcome, and how often each provider was asked."""
    providers = world(**answers)
    outcome, _ = await enrichment(*providers, rules=rules).work_on(lead, keep_nothing)
    return outcome, {each.name: len(each.asked) for each in providers if each.asked}


# -- which leads come back


async def test_a_lead_comes_back_while_its_company_is_unknown() -> None:
    outcome = await first_run(hunter_company=NotFound(), hunter=VALID)
    assert outcome.next_recheck is not None
    assert 0.9 * AFTER[0] <= outcome.next_recheck.due_in <= 1.1 * AFTER[0]


async def test_a_lead_comes_back_while_its_verdict_is_unknown() -> None:
    assert (await first_run(clearbit=ACME, hunter=UNKNOWN)).next_recheck


async def test_a_lead_comes_back_while_its_person_is_unknown() -> None:
    known = {"clearbit": ACME, "hunter": VALID}
    assert (await first_run(**known, hunter_person=NotFound())).next_recheck


async def test_a_lead_with_little_on_it_comes_back_to_those_who_knew_nothing() -> None:
    little = company(name="Acme")
    outcome = await first_run(clearbit=NotFound(), hunter_company=little)
    assert outcome.data["enrichment_metadata"]["completeness_score"] < 50
    assert outcome.next_recheck


async def test_a_lead_of_which_all_is_known_does_not_come_back() -> None:
    known = {"clearbit": ACME, "hunter": VALID, "hunter_person": person(full_name="Ada")}
    assert (await first_run(**known)).next_recheck is None


async def test_a_thin_lead_of_which_everybody_told_what_they_know_does_not_come_back() -> None:
    assert (await first_run(clearbit=company(name="Acme"))).next_recheck is None


async def test_without_the_setting_no_lead_comes_back() -> None:
    [asked] = world(hunter_company=NotFound())
    outcome, _ = await enrichment(asked, rules=Rechecks()).work_on(Lead(1, ADA), keep_nothing)
    assert isinstance(outcome, Completed)
    assert outcome.next_recheck is None


async def test_after_the_last_recheck_there_is_no_other_until_somebody_asks() -> None:
    [asked] = world(hunter_company=NotFound())
    lead = Lead(1, ADA, rechecks=3)
    outcome, _ = await enrichment(asked).work_on(lead, keep_nothing)
    assert isinstance(outcome, Completed)
    assert (outcome.next_recheck, outcome.rechecks) == (None, 3)


def test_a_vendor_that_charges_for_misses_is_asked_again_only_where_its_price_is_known() -> None:
    wanted = RecheckSettings(after=(1.0,))
    classes = cast("Iterable[Provider]", [*built_in()])
    unpriced = {name: kind.model_validate({}) for name, kind in VENDORS.items()}
    priced = {
        name: kind.model_validate({f"{name.upper()}_CREDIT_PRICE": 0.1})
        for name, kind in VENDORS.items()
    }
    assert rules_of(wanted, unpriced, classes).priced == {
        *("hunter_company", "hunter_person", "pdl_company", "pdl_person"),
        *("apollo_person", "zerobounce", "kickbox"),
    }
    assert rules_of(wanted, priced, classes).priced >= {"clearbit", "hunter", "apollo_company"}


# -- who is asked


async def test_only_those_are_asked_again_that_knew_nothing() -> None:
    lead = await thin_lead(hunter_company=NotFound(), hunter=VALID, hunter_person=NotFound())
    outcome, asked = await recheck(
        lead, hunter_company=ACME, hunter=VALID, hunter_person=NotFound()
    )
    assert asked == {"hunter_company": 1, "hunter_person": 1}
    assert isinstance(outcome, Completed)
    assert outcome.data["company_data"]["name"] == "Acme"
    assert outcome.data["email_verification"]["status"] == "valid"
    metadata = outcome.data["enrichment_metadata"]
    assert metadata["sources_used"] == ["hunter_company", "hunter"]
    assert metadata["sources_not_found"] == ["hunter_person"]
    assert outcome.rechecks == 1


async def test_a_verifier_is_asked_again_while_its_verdict_is_unknown() -> None:
    lead = await thin_lead(clearbit=ACME, hunter=UNKNOWN, zerobounce=UNKNOWN)
    outcome, asked = await recheck(lead, clearbit=ACME, hunter=VALID, zerobounce=VALID)
    assert asked == {"hunter": 1}
    assert isinstance(outcome, Completed)
    assert outcome.data["email_verification"]["status"] == "valid"


async def test_the_next_provider_is_not_asked_again_when_nothing_is_missing_any_more() -> None:
    lead = await thin_lead(clearbit=NotFound(), hunter_company=NotFound())
    _, asked = await recheck(lead, clearbit=ACME, hunter_company=ACME)
    assert asked == {"clearbit": 1}


async def test_a_provider_that_failed_is_asked_again() -> None:
    lead = await thin_lead(clearbit=NotFound(), hunter=VALID)
    lead = replace(lead, answered={**lead.answered, "clearbit": "failed"})
    assert (await recheck(lead, clearbit=ACME, hunter=VALID))[1] == {"clearbit": 1}


async def test_a_provider_whose_price_is_not_known_is_not_asked_again() -> None:
    lead = await thin_lead(clearbit=NotFound(), hunter_company=NotFound())
    rules = Rechecks(AFTER, 50, frozenset({"hunter_company"}))
    _, asked = await recheck(lead, rules, clearbit=ACME, hunter_company=ACME)
    assert asked == {"hunter_company": 1}


# -- what comes of it


async def test_a_recheck_that_brings_nothing_leaves_the_lead_alone() -> None:
    lead = await thin_lead(hunter_company=NotFound(), hunter=VALID)
    outcome, _ = await recheck(lead, hunter_company=NotFound(), hunter=VALID)
    assert isinstance(outcome, Rechecked)
    assert (outcome.data, outcome.why, outcome.rechecks) == ({}, "nothing", 1)
    assert outcome.next_recheck is not None
    assert 0.9 * AFTER[1] <= outcome.next_recheck.due_in <= 1.1 * AFTER[1]


async def test_a_verdict_that_is_still_unknown_is_nothing_new_whatever_comes_with_it() -> None:
    lead = await thin_lead(clearbit=ACME, hunter=UNKNOWN)
    outcome, asked = await recheck(
        lead, clearbit=ACME, hunter=verdict(status="unknown", score=40, mx_records=True)
    )
    assert asked == {"hunter": 1}
    assert isinstance(outcome, Rechecked)
    assert (outcome.why, outcome.rechecks) == ("nothing", 1)


async def test_a_vendor_that_fails_in_a_recheck_is_no_failure_of_the_lead() -> None:
    lead = await thin_lead(hunter_company=NotFound(), hunter=VALID)
    outcome, _ = await recheck(lead, hunter_company=NOBODY, hunter=VALID)
    assert isinstance(outcome, Rechecked)
    assert (outcome.why, outcome.rechecks) == ("failed", 1)
    assert outcome.answered["hunter_company"] == "not_found"


@pytest.mark.parametrize("waits", [Held("the key was refused", 600.0), Throttled(600.0)])
async def test_a_recheck_waits_for_whom_it_may_not_ask_now(waits: Answer) -> None:
    lead = await thin_lead(hunter_company=NotFound(), hunter=VALID)
    outcome, _ = await recheck(lead, hunter_company=waits, hunter=VALID)
    assert isinstance(outcome, Rechecked)
    assert (outcome.why, outcome.rechecks) == ("put_off", 0)
    assert outcome.next_recheck is not None
    assert outcome.next_recheck.due_in > timedelta(minutes=5)
    assert lead.recheck is not None
    assert outcome.next_recheck.since == lead.recheck.since


async def test_what_others_found_is_written_while_one_is_waited_for() -> None:
    lead = await thin_lead(hunter_company=NotFound(), hunter=UNKNOWN)
    outcome, _ = await recheck(lead, hunter_company=Held("budget", 600.0), hunter=VALID)
    assert isinstance(outcome, Completed)
    assert outcome.data["email_verification"]["status"] == "valid"
    assert outcome.data["enrichment_metadata"]["sources_failed"] == []
    assert outcome.next_recheck is not None
    assert outcome.rechecks == 0


async def test_once_the_calls_of_the_day_are_made_nobody_is_asked_and_the_longest_due_come_first() -> (
    None
):
    lead = await thin_lead(hunter_company=NotFound(), hunter=VALID)
    rules = Rechecks(AFTER, 50, NAMES)
    await recheck(lead, rules, hunter_company=Held(RECHECKED_ENOUGH, 3600.0), hunter=VALID)
    times: list[timedelta] = []
    for hours in (40, 30, 5):
        waiting = replace(lead, recheck=Recheck(datetime.now(UTC) - hours * HOUR))
        outcome, asked = await recheck(waiting, rules, hunter_company=ACME, hunter=VALID)
        assert isinstance(outcome, Rechecked)
        assert isinstance(outcome.next_recheck, NextRecheck)
        assert asked == {}
        times.append(outcome.next_recheck.due_in)
    assert timedelta(minutes=59) < times[0] < times[1] < times[2] < timedelta(minutes=91)


# -- what ends it


@pytest.mark.parametrize(
    "changed",
    [
        {"recheck": Recheck(None)},
        {"inputs": Inputs(email="bob@other-tools.com")},
        {"inputs": Inputs()},
        {"rechecks": 3},
        {"attempt": 5},
        {"subject": None},
    ],
)
async def test_a_recheck_about_something_else_or_beyond_the_last_asks_nobody(
    changed: dict[str, Any],
) -> None:
    lead = replace(await thin_lead(hunter_company=NotFound(), hunter=VALID), **changed)
    outcome, asked = await recheck(lead, hunter_company=ACME, hunter=VALID)
    assert isinstance(outcome, Rechecked)
    assert (outcome.why, outcome.next_recheck, asked) == ("void", None, {})


async def test_when_the_setting_is_taken_back_a_planned_recheck_asks_nobody() -> None:
    lead = await thin_lead(hunter_company=NotFound(), hunter=VALID)
    outcome, asked = await recheck(lead, Rechecks(), hunter_company=ACME, hunter=VALID)
    assert isinstance(outcome, Rechecked)
    assert (outcome.why, outcome.next_recheck, asked) == ("void", None, {})


async def test_a_bug_in_a_recheck_leaves_the_lead_as_it_is() -> None:
    lead = await thin_lead(hunter_company=NotFound(), hunter=VALID)
    broken = Rechecks(AFTER, "low", NAMES)  # type: ignore[arg-type]  # so that it raises
    outcome, asked = await recheck(lead, broken, hunter_company=ACME, hunter=VALID)
    assert isinstance(outcome, Rechecked)
    assert (outcome.why, outcome.next_recheck, asked) == ("failed", None, {})


async def test_who_objects_in_a_recheck_is_left_alone_for_good() -> None:
    lead = await thin_lead(hunter_company=NotFound(), hunter=UNKNOWN)
    outcome, _ = await recheck(lead, hunter_company=NotFound(), hunter=Objected())
    assert isinstance(outcome, Skipped)
    assert outcome.data["email_verification"] is None
