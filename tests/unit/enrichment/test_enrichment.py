"""From a lead to its outcome, over all the parts between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from enricher.answer import Held, Kind, NotFound, Objected, Unavailable
from enricher.calls.question import Gate, Retries
from enricher.enrichment.attempt import Enrichment, Subjects, Waterfall
from enricher.enrichment.conclude import AttemptPolicy
from enricher.identity.identify import own_words
from enricher.lead import Completed, End, Failed, Inputs, Lead, Outcome, Reason, Retrying, Skipped
from enricher.providers.local import Local
from tests.support.scripted import (
    KEYRING,
    Door,
    Scripted,
    company,
    in_turn,
    keep_nothing,
    person,
    provider,
    subject,
    verdict,
)

ADA = Inputs(email="ada@acme-tools.com")
RETRIES = 3
VALID = verdict(status="valid")
ACME = company(name="Acme")
OLDER: dict[str, Any] = {"company_data": {"name": "Older", "phone": "1"}}


def enrichment(*providers: Scripted, seconds: float = 30) -> Enrichment:
    gates = [Gate(each, Retries(tries=1), Random(1)) for each in (Local(), *providers)]
    return Enrichment(
        waterfall=Waterfall(gates, {"apollo": "no key"}),
        subjects=Subjects(KEYRING, own_words(["our-own.com"])),
        policy=AttemptPolicy(RETRIES, timedelta(seconds=60), seconds),
        random=Random(1),
    )


async def outcome_of(inputs: Inputs, *providers: Scripted, **more: Any) -> End:
    outcome, _ = await enrichment(*providers).work_on(Lead(1, inputs, **more), keep_nothing)
    return outcome


async def test_a_lead_that_everybody_knows_is_completed() -> None:
    outcome = await outcome_of(
        ADA, provider("clearbit", ACME), provider("hunter", VALID, Kind.EMAIL)
    )
    assert isinstance(outcome, Completed)
    assert outcome.data["company_data"] == {"name": "Acme"}
    assert outcome.data["email_verification"]["status"] == "valid"
    metadata = outcome.data["enrichment_metadata"]
    assert metadata["sources_used"] == ["clearbit", "hunter", "local"]
    assert metadata["sources_skipped"] == {"apollo": "no key"}


async def test_providers_are_asked_about_what_was_made_of_the_lead() -> None:
    asked = provider("clearbit", ACME)
    await outcome_of(Inputs(email=" Ada@Mail.Acme-Tools.com "), asked)
    (query,) = asked.asked
    assert (query.email, query.company_domain) == ("Ada@mail.acme-tools.com", "acme-tools.com")


async def test_without_any_key_a_lead_is_completed_with_what_is_known_for_free() -> None:
    outcome = await outcome_of(ADA)
    assert isinstance(outcome, Completed)
    assert outcome.data["email_verification"]["is_disposable"] is False


@pytest.mark.parametrize(
    ("inputs", "reason", "skipped"),
    [
        (Inputs(email="x@mailinator.com"), Reason.DISPOSABLE_ADDRESS, "disposable address"),
        (Inputs(email="x@our-own.com"), Reason.INTERNAL_DOMAIN, "internal domain"),
        (Inputs(), Reason.NOTHING_TO_GO_BY, "nothing to go by"),
    ],
)
async def test_a_lead_not_worth_a_call_is_skipped_and_only_free_providers_are_asked(
    inputs: Inputs, reason: Reason, skipped: str
) -> None:
    paid = [provider("clearbit", ACME), provider("hunter", VALID, Kind.EMAIL)]
    outcome = await outcome_of(inputs, *paid)
    assert isinstance(outcome, Skipped)
    assert outcome.reason is reason
    assert [each.asked for each in paid] == [[], []]
    if inputs.email:
        assert outcome.data["email_verification"]
        reasons = outcome.data["enrichment_metadata"]["sources_skipped"]
        assert reasons == {"apollo": "no key", "clearbit": skipped, "hunter": skipped}
    else:
        assert outcome.data == {}


async def test_an_invalid_address_fails_at_once_and_says_so() -> None:
    outcome = await outcome_of(Inputs(email="ada@@acme"), provider("clearbit", ACME))
    assert isinstance(outcome, Failed)
    assert outcome.error == Reason.INVALID_EMAIL.sentence
    assert outcome.data["email_verification"] == {"status": "invalid"}


async def test_an_objection_skips_the_lead() -> None:
    outcome = await outcome_of(
        ADA, provider("clearbit", ACME), provider("hunter", Objected(), Kind.EMAIL)
    )
    assert isinstance(outcome, Skipped)
    assert outcome.reason is Reason.SUPPRESSED
    assert outcome.data["email_verification"] is None


async def test_an_attempt_beyond_the_last_fails_the_lead_without_a_call() -> None:
    asked = provider("clearbit", ACME)
    outcome = await outcome_of(ADA, asked, attempt=RETRIES + 2, enriched_data=OLDER)
    assert isinstance(outcome, Failed)
    assert outcome.error == "Gave up after 4 attempts: the last one did not come to an end."
    assert (outcome.data, asked.asked) == ({}, [])


async def test_an_attempt_beyond_the_last_completes_a_lead_that_a_paid_provider_had_answered() -> (
    None
):
    asked = provider("clearbit", ACME)
    said: dict[str, Any] = {
        "attempt": RETRIES + 2,
        "enriched_data": OLDER,
        "answered": {"clearbit": "not_found"},
    }
    said["subject"] = subject("ada@acme-tools.com").document
    outcome = await outcome_of(ADA, asked, **said)
    assert isinstance(outcome, Completed)
    assert outcome.data["enrichment_metadata"]["sources_not_found"] == ["clearbit"]
    assert asked.asked == []


async def test_the_last_attempt_is_still_made() -> None:
    asked = provider("clearbit", ACME)
    assert isinstance(await outcome_of(ADA, asked, attempt=RETRIES + 1), Completed)
    assert asked.asked


async def test_an_attempt_ends_with_its_time_and_keeps_what_was_found() -> None:
    slow = provider("clearbit", Door(ACME))
    outcome, _ = await enrichment(slow, seconds=0.05).work_on(Lead(1, ADA), keep_nothing)
    assert isinstance(outcome, Retrying)
    assert outcome.data["email_verification"]
    assert outcome.answered == {"local": "found"}


async def test_who_is_cancelled_leaves_no_call_behind() -> None:
    door = Door(ACME)
    before = asyncio.all_tasks()
    work = asyncio.create_task(outcome_of(ADA, provider("clearbit", door)))
    await door.entered.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert asyncio.all_tasks() == before


# -- the same lead, and another one under its id: see test_carried.py -------------------------


async def test_the_outcome_and_its_data_say_whom_they_are_about() -> None:
    outcome, about = await enrichment(provider("clearbit", ACME)).work_on(
        Lead(1, ADA), keep_nothing
    )
    assert about == subject("ada@acme-tools.com")
    assert outcome.data["enrichment_metadata"]["subject"] == about.document


async def test_who_answered_about_somebody_else_is_asked_again() -> None:
    """The address was corrected while the lead waited for its next attempt."""
    asked, failing = provider("clearbit", ACME), provider("hunter", VALID, Kind.EMAIL)
    outcome = await outcome_of(
        ADA,
        asked,
        failing,
        enriched_data=OLDER,
        answered={"clearbit": "found", "local": "found"},
        subject=subject("bob@elsewhere.com").document,
        attempt=2,
    )
    assert len(asked.asked) == 1
    assert outcome_data(outcome)["company_data"] == {"name": "Acme"}


@pytest.mark.parametrize(
    ("noted", "interruptions", "ending"),
    [
        (subject("bob@elsewhere.com").document, 0, Retrying),
        ("an older version's mark", 0, Retrying),
        (subject("bob@elsewhere.com").document, 1, Failed),
        (subject("ada@acme-tools.com").document, 0, Failed),
        (None, 0, Failed),
    ],
)
async def test_attempts_on_another_question_count_for_nothing_unless_they_ended_a_process(
    noted: object, interruptions: int, ending: type[Outcome]
) -> None:
    failing = provider("clearbit", Unavailable("503"))
    more = {"subject": noted, "interruptions": interruptions, "attempt": RETRIES + 1}
    outcome = await outcome_of(ADA, failing, **more)
    assert type(outcome) is ending
    if isinstance(outcome, Retrying):
        assert (outcome.begins_anew, outcome.attempt_spent) == (True, True)


async def test_data_about_somebody_else_goes_even_if_nothing_takes_its_place() -> None:
    of_bob = {"subject": subject("bob@elsewhere.com").document}
    data = {**OLDER, "enrichment_metadata": of_bob}
    nothing = await outcome_of(Inputs(), enriched_data=data)
    unfinished = await outcome_of(ADA, enriched_data=data, attempt=RETRIES + 2)
    held = await outcome_of(ADA, provider("clearbit", Held("x", 60)), enriched_data=data)
    assert [type(each) for each in (nothing, unfinished, held)] == [Skipped, Failed, Retrying]
    assert [each.data["company_data"] for each in (nothing, unfinished, held)] == [None] * 3


async def test_who_objected_is_named_by_no_hash_any_more() -> None:
    outcome, about = await enrichment(provider("hunter", Objected(), Kind.EMAIL)).work_on(
        Lead(1, ADA), keep_nothing
    )
    assert about is not None
    assert about.mailbox is None
    assert outcome.data["enrichment_metadata"]["subject"] == about.document


async def test_a_refresh_whose_first_attempt_failed_asks_for_fresh_values_in_the_second() -> None:
    hunter = provider("hunter", VALID, Kind.EMAIL, required=("status",))
    older = {"email_verification": {"status": "valid", "score": 80}}
    outcome = await outcome_of(
        ADA,
        hunter,
        enriched_data=older,
        answered={"local": "found"},
        attempt=2,
        subject=subject("ada@acme-tools.com").document,
    )
    assert isinstance(outcome, Completed)
    assert len(hunter.asked) == 1


async def test_a_lead_is_worked_on_to_its_end_over_several_attempts() -> None:
    """Each attempt goes on from what the one before it left on the lead."""
    hunter = provider("hunter", in_turn(Unavailable("503"), Unavailable("503"), VALID), Kind.EMAIL)
    clearbit, third = provider("clearbit", ACME), provider("person", NotFound(), Kind.PERSON)
    lead, outcomes = Lead(1, ADA), []
    for attempt in (2, 3, 4):
        outcome, said = await enrichment(clearbit, hunter, third).work_on(lead, keep_nothing)
        outcomes.append(type(outcome))
        assert said is not None
        answered = outcome.answered if isinstance(outcome, Retrying) else {}
        lead = Lead(1, ADA, outcome.data, answered, said.document, attempt)
    assert outcomes == [Retrying, Retrying, Completed]
    assert (len(clearbit.asked), len(third.asked), len(hunter.asked)) == (1, 1, 3)
    assert lead.enriched_data["company_data"] == {"name": "Acme"}
    assert lead.enriched_data["enrichment_metadata"]["sources_not_found"] == ["person"]


async def test_no_repr_of_an_outcome_shows_a_person() -> None:
    outcome = await outcome_of(ADA, provider("who", person(full_name="Ada Lovelace"), Kind.PERSON))
    assert "Ada" not in repr(outcome)


def outcome_data(outcome: End) -> dict[str, Any]:
    return outcome.data
