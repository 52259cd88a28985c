"""From the answers of one attempt to the lead's status, its data, its sentence and its next try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.answer import (
    Answer,
    Found,
    Held,
    NotFound,
    Objected,
    Preparing,
    Throttled,
    Unavailable,
)
from enricher.enrichment.conclude import (
    AttemptPolicy,
    Case,
    Findings,
    Preference,
    Round,
    conclude,
    conclude_objection,
    conclude_unasked,
    enriched,
)
from enricher.lead import Completed, Failed, Inputs, Lead, Outcome, Reason, Retrying, Skipped
from tests.support.scripted import company, person, verdict

ORDER = ("clearbit", "hunter_company", "hunter", "person", "local")
NOW = datetime(2026, 10, 7, 12, 0, tzinfo=UTC)
LAST = 4
"""The attempt after which there are no more: three retries."""

LOCAL = verdict(is_webmail=False)
ACME = company(name="Acme")
VALID = verdict(status="valid")
DOWN = Unavailable("503")
USED_UP = Held("the quota is used up", 3600)

OLDER: dict[str, Any] = {
    "company_data": {"name": "Acme", "phone": "1"},
    "person_data": {"full_name": "Ada Lovelace"},
    "email_verification": {"status": "valid", "score": 95},
    "social_profiles": {
        "company": {"linkedin": "https://www.linkedin.com/company/acme"},
        "person": {"twitter": "https://twitter.com/ada"},
    },
    "enrichment_metadata": {
        "provenance": {"company_data": {"name": "clearbit"}, "person_data": {"full_name": "person"}}
    },
    "note": "somebody else's",
}


def a_round(
    answers: Mapping[str, Answer] | None = None,
    *,
    answered: Mapping[str, str] | None = None,
    attempt: int = 1,
    before: Mapping[str, Any] | None = None,
    skipped: Mapping[str, str] | None = None,
) -> Round:
    return Round(
        Case(Lead(1, Inputs(), before or {}, answered or {}, attempt=attempt)),
        Findings(dict(answers or {}), dict(skipped or {})),
        Preference(ORDER, free=frozenset({"local"})),
        now=NOW,
        policy=AttemptPolicy(LAST - 1, timedelta(seconds=60)),
    )


def outcome_of(*args: Any, **more: Any) -> Outcome:
    return conclude(a_round(*args, **more), Random(1))


def completed(*args: Any, **more: Any) -> Completed:
    outcome = outcome_of(*args, **more)
    assert isinstance(outcome, Completed)
    return outcome


def retrying(*args: Any, **more: Any) -> Retrying:
    outcome = outcome_of(*args, **more)
    assert isinstance(outcome, Retrying)
    return outcome


def failed(*args: Any, **more: Any) -> Failed:
    outcome = outcome_of(*args, **more)
    assert isinstance(outcome, Failed)
    return outcome


def sources(outcome: Outcome) -> dict[str, Any]:
    metadata = outcome.data["enrichment_metadata"]
    names = ("used", "failed", "not_found", "skipped")
    return {name: metadata[f"sources_{name}"] for name in names if metadata[f"sources_{name}"]}


# -- which outcome ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "answered", "attempt", "kind"),
    [
        pytest.param({"clearbit": ACME, "hunter": VALID}, {}, 1, Completed, id="all found"),
        pytest.param({"clearbit": NotFound()}, {}, 1, Completed, id="asked, and nothing is known"),
        pytest.param({"local": LOCAL}, {}, 1, Completed, id="no keys at all"),
        pytest.param(
            {"local": DOWN}, {}, LAST, Completed, id="only a free one was asked, and fails"
        ),
        pytest.param({}, {}, 1, Completed, id="nobody applies"),
        pytest.param({"clearbit": DOWN}, {}, 1, Retrying, id="failed"),
        pytest.param(
            {"clearbit": DOWN}, {}, LAST - 1, Retrying, id="failed, and one retry is left"
        ),
        pytest.param({"clearbit": DOWN}, {}, LAST, Failed, id="failed for the last time"),
        pytest.param({"clearbit": Preparing()}, {}, 1, Retrying, id="answers later"),
        pytest.param({"clearbit": Preparing()}, {}, LAST, Failed, id="answered later for too long"),
        pytest.param(
            {"clearbit": DOWN, "local": LOCAL}, {}, LAST, Failed, id="only free ones said"
        ),
        pytest.param(
            {"clearbit": DOWN, "hunter": VALID},
            {},
            LAST,
            Completed,
            id="one of two for the last time",
        ),
        pytest.param(
            {"clearbit": DOWN, "hunter": NotFound()},
            {},
            LAST,
            Completed,
            id="not found is a success",
        ),
        pytest.param(
            {"clearbit": DOWN},
            {"hunter": "found"},
            LAST,
            Completed,
            id="the other answered earlier",
        ),
        pytest.param(
            {"clearbit": DOWN},
            {"hunter": "failed"},
            LAST,
            Failed,
            id="the other was given up earlier",
        ),
        pytest.param({"clearbit": USED_UP}, {}, 1, Retrying, id="held"),
        pytest.param({"clearbit": USED_UP}, {}, LAST, Retrying, id="held never ends a lead"),
        pytest.param(
            {"clearbit": Throttled()}, {}, LAST, Retrying, id="throttled never ends a lead"
        ),
        pytest.param(
            {"clearbit": DOWN, "hunter": USED_UP}, {}, LAST, Retrying, id="one given up, one held"
        ),
    ],
)
def test_the_outcome(
    answers: dict[str, Answer], answered: dict[str, str], attempt: int, kind: type[Outcome]
) -> None:
    assert type(outcome_of(answers, answered=answered, attempt=attempt)) is kind


SAYS_ANYTHING = st.sampled_from(
    [ACME, VALID, NotFound(), DOWN, Preparing(), Throttled(), Throttled(9), USED_UP, Held("x", 1)]
)


@given(
    st.dictionaries(st.sampled_from(ORDER), SAYS_ANYTHING),
    st.dictionaries(st.sampled_from(ORDER), st.sampled_from(["found", "not_found", "failed"])),
    st.integers(1, LAST),
)
def test_a_lead_only_ends_when_nothing_passing_is_left(
    answers: dict[str, Answer], answered: dict[str, str], attempt: int
) -> None:
    outcome = outcome_of(answers, answered=answered, attempt=attempt)
    soft = any(isinstance(each, Throttled | Held) for each in answers.values())
    hard = any(isinstance(each, Unavailable | Preparing) for each in answers.values())
    assert isinstance(outcome, Retrying) == (soft or (hard and attempt < LAST))
    if isinstance(outcome, Retrying):
        assert outcome.attempt_spent == (hard and attempt < LAST)
        assert outcome.due_in >= timedelta(seconds=1)


# -- attempts and the next try ---------------------------------------------------------------


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 60), (2, 120), (3, 240)])
def test_a_failure_spends_the_attempt_and_each_retry_waits_twice_as_long(
    attempt: int, seconds: float
) -> None:
    outcome = retrying({"clearbit": DOWN}, attempt=attempt)
    assert outcome.attempt_spent
    assert seconds <= outcome.due_in.total_seconds() <= seconds * 1.05


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Throttled(), 60),
        (Throttled(17), 17),
        (USED_UP, 3600),
        (Throttled(0), 1),
        (Held("x", -5), 1),
    ],
)
def test_not_now_gives_the_attempt_back_and_waits_as_long_as_it_takes(
    answer: Answer, seconds: float
) -> None:
    outcome = retrying({"clearbit": answer}, attempt=LAST)
    assert not outcome.attempt_spent
    assert seconds <= outcome.due_in.total_seconds() <= seconds * 1.2


def test_of_several_that_wait_the_first_to_be_ready_decides() -> None:
    outcome = retrying({"clearbit": USED_UP, "hunter": Throttled(10)})
    assert 10 <= outcome.due_in.total_seconds() <= 12


def test_a_failure_next_to_a_hold_is_retried_in_its_own_time_and_spends_the_attempt() -> None:
    outcome = retrying({"clearbit": DOWN, "hunter": USED_UP})
    assert outcome.attempt_spent
    assert 60 <= outcome.due_in.total_seconds() <= 63


def test_a_provider_that_prepares_its_answer_is_not_asked_before_its_time() -> None:
    assert retrying({"clearbit": Preparing(500)}).due_in == timedelta(seconds=500)


@pytest.mark.parametrize(
    "answer", [Held("x", float("inf")), Throttled(1e300), Preparing(float("inf")), Held("x", 1e15)]
)
def test_no_answer_can_put_a_lead_off_for_ever(answer: Answer) -> None:
    assert retrying({"clearbit": answer}).due_in < timedelta(days=40)


def test_at_the_last_attempt_the_failing_are_given_up_while_others_are_waited_for() -> None:
    waiting = retrying({"clearbit": DOWN, "hunter": USED_UP}, attempt=LAST)
    assert waiting.answered == {"clearbit": "failed"}
    assert not waiting.attempt_spent
    ended = completed({"hunter": VALID}, answered=waiting.answered, attempt=LAST)
    assert sources(ended) == {"used": ["hunter"], "failed": ["clearbit"]}


# -- what is kept ----------------------------------------------------------------------------


def test_what_was_found_is_kept_while_the_rest_is_waited_for() -> None:
    outcome = retrying({"clearbit": ACME, "hunter": DOWN, "person": NotFound(), "local": LOCAL})
    assert outcome.data["company_data"] == {"name": "Acme"}
    assert outcome.data["email_verification"] == {"is_webmail": False}
    assert outcome.answered == {"clearbit": "found", "person": "not_found", "local": "found"}


def test_every_provider_is_in_exactly_one_list() -> None:
    outcome = completed(
        {"clearbit": ACME, "hunter_company": DOWN, "hunter": NotFound()},
        answered={"local": "found"},
        skipped={"person": "no key"},
        attempt=LAST,
    )
    assert sources(outcome) == {
        "used": ["clearbit", "local"],
        "failed": ["hunter_company"],
        "not_found": ["hunter"],
        "skipped": {"person": "no key"},
    }


def test_who_is_waited_for_has_not_answered_and_counts_as_failed_so_far() -> None:
    outcome = retrying({"clearbit": ACME, "hunter": USED_UP, "person": Preparing()})
    assert sources(outcome) == {"used": ["clearbit"], "failed": ["hunter", "person"]}


def test_a_provider_that_answered_earlier_is_not_listed_as_skipped_now() -> None:
    outcome = completed(answered={"clearbit": "found"}, skipped={"clearbit": "nothing was missing"})
    assert sources(outcome) == {"used": ["clearbit"]}


def test_data_carries_when_it_was_found_its_score_and_its_origin() -> None:
    metadata = completed({"clearbit": ACME}).data["enrichment_metadata"]
    assert metadata["enriched_at"] == "2026-10-07T12:00:00.000+00:00"
    assert metadata["completeness_score"] == 10
    assert "company.industry" in metadata["completeness_missing"]
    assert metadata["provenance"] == {"company_data": {"name": "clearbit"}}


@pytest.mark.parametrize(
    "answers",
    [
        {"clearbit": NotFound()},
        {"clearbit": DOWN},
        {"clearbit": USED_UP},
        {"clearbit": company(name="")},
    ],
)
@pytest.mark.parametrize("attempt", [1, LAST])
def test_older_data_is_never_lost(answers: dict[str, Answer], attempt: int) -> None:
    data = outcome_of(answers, attempt=attempt, before=OLDER).data
    for section in ("company_data", "person_data", "email_verification", "note"):
        assert data[section] == OLDER[section]


def test_nothing_found_leaves_enriched_data_as_it_is_unless_the_lead_is_completed() -> None:
    assert retrying({"clearbit": DOWN}).data == {}
    assert failed({"clearbit": DOWN}, attempt=LAST).data == {}
    assert conclude_unasked(a_round(), Reason.NOTHING_TO_GO_BY).data == {}
    nothing = completed({"clearbit": NotFound()}).data
    assert nothing["company_data"] is None
    assert sources(completed({"clearbit": NotFound()})) == {"not_found": ["clearbit"]}


def test_what_a_failed_lead_does_have_is_stored_all_the_same() -> None:
    outcome = failed({"clearbit": DOWN, "local": LOCAL}, attempt=LAST)
    assert outcome.data["email_verification"] == {"is_webmail": False}
    assert sources(outcome) == {"used": ["local"], "failed": ["clearbit"]}


# -- nobody is asked, or the person objected -------------------------------------------------


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_ends_the_lead_as_skipped_and_invalid_input_as_failed(reason: Reason) -> None:
    outcome = conclude_unasked(a_round({"local": LOCAL}), reason)
    assert outcome.data["email_verification"] == {"is_webmail": False}
    if reason.is_invalid_input:
        assert isinstance(outcome, Failed)
        assert outcome.error == reason.sentence
    else:
        assert isinstance(outcome, Skipped)
        assert outcome.reason is reason


def objection(answers: Mapping[str, Answer], before: Mapping[str, Any] | None = None) -> Skipped:
    outcome = conclude_objection(a_round({**answers, "hunter": Objected()}, before=before))
    assert isinstance(outcome, Skipped)
    assert outcome.reason is Reason.SUPPRESSED
    return outcome


def test_an_objection_drops_what_is_about_the_person_and_keeps_the_company() -> None:
    answers = {
        "clearbit": company(industry="Tools"),
        "person": person(full_name="Ada L.", github_handle="ada"),
        "local": LOCAL,
    }
    data = objection(answers, OLDER).data
    assert data["company_data"] == {"name": "Acme", "phone": "1", "industry": "Tools"}
    assert (data["person_data"], data["email_verification"]) == (None, None)
    assert data["social_profiles"] == {"company": OLDER["social_profiles"]["company"], "person": {}}
    assert data["note"] == "somebody else's"
    assert "Ada" not in str(data)


def test_an_objection_drops_what_others_said_of_the_person_as_well() -> None:
    older = {
        "company_data": {"name": "Acme"},
        "person_data": {"full_name": "Ada Lovelace"},
        "enrichment_metadata": {
            "provenance": {"person_data": {"full_name": "person"}},
            "confidence": {"person_data": {"full_name": 0.9}},
            "alternatives": {
                "person_data": {"full_name": {"pdl": "Ada Byron"}},
                "email_verification": {"score": {"pdl": 5}},
                "company_data": {"name": {"pdl": "Acme Holding"}},
            },
        },
    }
    unlikely = Found({"person_data": {"full_name": "Ada King"}}, confidence=0.1)
    data = objection({"person": person(job_title="Countess"), "pdl": unlikely}, older).data
    assert "Ada" not in str(data)
    assert "Countess" not in str(data)
    known = data["enrichment_metadata"]
    assert known["alternatives"] == {"company_data": {"name": {"pdl": "Acme Holding"}}}
    assert "confidence" not in known


def test_the_job_title_of_the_lead_is_shown_beside_the_providers() -> None:
    this = a_round({"person": person(job_title="Engineer")})
    data = enriched(replace(this, case=Case(replace(this.case.lead, job_title="CTO"))))
    assert data["person_data"] == {"job_title": "Engineer"}
    assert data["enrichment_metadata"]["alternatives"] == {
        "person_data": {"job_title": {"lead": "CTO"}}
    }


def test_after_an_objection_score_and_origins_tell_of_the_company_alone() -> None:
    metadata = objection({"clearbit": ACME, "local": verdict(is_disposable=False)}).data[
        "enrichment_metadata"
    ]
    assert metadata["completeness_score"] == 10
    assert "email.not_disposable" in metadata["completeness_missing"]
    assert metadata["provenance"] == {"company_data": {"name": "clearbit"}}
    assert metadata["sources_skipped"] == {"hunter": "the person objected to being processed"}


def test_an_objection_erases_even_when_nothing_is_left() -> None:
    data = objection({}, {"person_data": {"full_name": "Ada Lovelace"}}).data
    assert data["person_data"] is None
    assert data["social_profiles"] == {}


# -- the sentence ----------------------------------------------------------------------------


def test_a_sentence_says_who_is_waited_for_why_and_until_when() -> None:
    assert retrying({"hunter": USED_UP}).error.startswith(
        "hunter is held back (the quota is used up). The next try is due at 2026-10-07 13:"
    )
    both = retrying({"clearbit": DOWN, "hunter": Throttled(reason="no time left to wait")}).error
    assert both == (
        "clearbit did not answer (503), hunter is not asked for now (no time left to wait). "
        "The next try is due at 2026-10-07 12:01 UTC."
    )
    assert "clearbit is still preparing its answer." in retrying({"clearbit": Preparing()}).error


def test_a_failed_lead_says_how_often_who_was_tried() -> None:
    outcome = failed({"clearbit": DOWN, "hunter": Unavailable("timed out")}, attempt=LAST)
    assert outcome.error == (
        "Nothing could be had after 4 attempts: "
        "clearbit did not answer (503), hunter did not answer (timed out)."
    )


def test_a_failed_lead_has_a_sentence_even_when_all_were_given_up_before() -> None:
    outcome = failed(answered={"clearbit": "failed"}, attempt=LAST)
    assert outcome.error == "Nothing could be had after 4 attempts."


def test_a_completed_lead_has_no_error() -> None:
    assert completed({"clearbit": DOWN, "hunter": VALID}, attempt=LAST).error is None


@pytest.mark.parametrize("attempt", [1, LAST])
def test_no_sentence_holds_personal_data(attempt: int) -> None:
    answers = {"person": person(full_name="Ada Lovelace"), "hunter": DOWN, "clearbit": USED_UP}
    outcome = retrying(answers, attempt=attempt, before=OLDER)
    assert "Ada" not in outcome.error
    assert "Ada" not in repr(outcome)
