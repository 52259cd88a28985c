"""What the promises about quality are measured by: counted when a lead ends, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from enricher.answer import Query
from enricher.enrichment.attempt import note_ended, note_found
from enricher.lead import Completed, Failed, Inputs, Lead, Outcome, Reason, Retrying, Skipped
from enricher.telemetry import metrics
from tests.support.observing import counted

BUSINESS = Query(email="ada@acme-tools.com", company_domain="acme-tools.com")
FREE_MAIL = Query(email="ada@gmail.com")
ACME: dict[str, Any] = {
    "company_data": {"name": "Acme"},
    "email_verification": {"status": "valid"},
    "enrichment_metadata": {
        "provenance": {
            "company_data": {"name": "known", "phone": "known", "sector": "gone_long_ago"},
            "email_verification": {"status": "known"},
        },
        "alternatives": {"company_data": {"name": {"other": "Acme Inc"}}},
    },
}
NOTHING: dict[str, Any] = {"company_data": None, "enrichment_metadata": {"provenance": {}}}
SERIES = (
    "enricher_leads_with_business_address_total",
    "enricher_companies_found_total",
    "enricher_leads_with_address_total",
    "enricher_verdicts_given_total",
)


@pytest.fixture
def grown() -> Callable[..., float]:
    """By how much a series has grown in this test."""
    metrics.initialise("1", ["known"])
    before: dict[Any, float] = {}

    def difference(series: str, **labels: str) -> float:
        key = (series, tuple(labels.items()))
        return counted(series, **labels) - before.setdefault(key, counted(series, **labels))

    for series in (*SERIES, "enricher_leads_retried_total"):
        difference(series)
    difference("enricher_field_conflicts_total", section="company_data")
    for section in ("company_data", "email_verification"):
        difference("enricher_fields_filled_total", section=section, provider="known")
    return difference


@pytest.mark.parametrize(
    ("query", "outcome", "expected"),
    [
        pytest.param(BUSINESS, Completed(ACME, {}), [1, 1, 1, 1], id="all found"),
        pytest.param(BUSINESS, Completed(NOTHING, {}), [1, 0, 1, 0], id="nothing found"),
        pytest.param(BUSINESS, Failed({}, "no"), [1, 0, 1, 0], id="failed"),
        pytest.param(FREE_MAIL, Completed(ACME, {}), [0, 0, 1, 1], id="free mail"),
        pytest.param(Query(), Completed(ACME, {}), [0, 0, 0, 0], id="no address"),
        pytest.param(
            BUSINESS, Retrying(ACME, {}, "later", timedelta(1)), [0, 0, 0, 0], id="not the end"
        ),
        pytest.param(BUSINESS, Skipped({}, Reason.OVER_QUOTA), [0, 0, 0, 0], id="skipped"),
    ],
)
def test_who_could_be_found_and_who_was(
    query: Query, outcome: Outcome, expected: list[int], grown: Callable[..., float]
) -> None:
    note_found(query, outcome)
    assert [grown(series) for series in SERIES] == expected


@pytest.mark.parametrize("status", [None, "unknown", "", 5])
def test_no_word_on_the_address_is_no_verdict(status: object, grown: Callable[..., float]) -> None:
    outcome = Completed({**ACME, "email_verification": {"status": status}}, {})
    note_found(BUSINESS, outcome)
    assert grown("enricher_verdicts_given_total") == (status == 5)


@pytest.mark.parametrize(
    ("attempt", "outcome", "retried"),
    [
        (1, Completed(ACME, {}), 0),
        (2, Completed(ACME, {}), 1),
        (4, Failed({}, "no"), 1),
        (2, Retrying({}, {}, "later", timedelta(1)), 0),
        (2, Skipped({}, Reason.SUPPRESSED), 0),
    ],
)
def test_a_lead_that_took_more_than_one_attempt_is_counted_once_at_its_end(
    attempt: int, outcome: Outcome, retried: int, grown: Callable[..., float]
) -> None:
    note_ended(Lead(1, Inputs(), attempt=attempt), outcome)
    assert grown("enricher_leads_retried_total") == retried


def test_fields_count_for_who_gave_them_and_for_nobody_unheard_of(
    grown: Callable[..., float],
) -> None:
    note_ended(Lead(1, Inputs()), Completed(ACME, {}))
    filled = "enricher_fields_filled_total"
    assert grown(filled, section="company_data", provider="known") == 2
    assert grown(filled, section="email_verification", provider="known") == 1
    assert counted(filled, section="company_data", provider="gone_long_ago") == 0
    assert grown("enricher_field_conflicts_total", section="company_data") == 1
