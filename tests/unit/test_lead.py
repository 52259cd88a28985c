"""What the log may say of an `_id`, and the smaller nouns."""

from __future__ import annotations

from uuid import UUID

import pytest
from bson import Binary, ObjectId

from enricher.lead import LeadId, Pressure, Reason, label

UUID_TEXT = "0f64e5a1-9f0e-4c3a-8c52-0a6f5d3e7b11"


@pytest.mark.parametrize(
    ("id_", "expected"),
    [
        (ObjectId("65f0c0ffee65f0c0ffee65f0"), "65f0c0ffee65f0c0ffee65f0"),
        (42, "42"),
        ("lead-7", "lead-7"),
        (Binary.from_uuid(UUID(UUID_TEXT)), UUID_TEXT),
    ],
)
def test_an_id_is_shown_as_people_search_for_it(id_: LeadId, expected: str) -> None:
    assert label(id_) == expected


@pytest.mark.parametrize(
    "id_", [{"first": "Zbigniew", "last": "Przybysz"}, "x" * 10_000, b"Zbigniew"]
)
def test_an_id_that_may_hold_more_than_an_id_is_a_hash(id_: LeadId) -> None:
    assert label(id_).startswith("sha256:")
    assert label(id_) == label(id_)
    assert len(label(id_)) < 32


@pytest.mark.parametrize(
    ("waiting", "seconds", "is_high"),
    [(0, 0, False), (0, 60, False), (8, 1.0, False), (8, 1.1, True), (1, 3600, True)],
)
def test_the_pressure_is_high_when_more_waits_than_is_served_soon(
    waiting: int, seconds: float, is_high: bool
) -> None:
    assert Pressure(waiting, seconds, urgency=1).is_high is is_high


def test_nobody_waits_by_itself() -> None:
    assert not Pressure().is_high


def test_a_lead_over_its_plans_quota_is_skipped_and_no_invalid_input() -> None:
    assert not Reason.OVER_QUOTA.is_invalid_input
    assert all(reason.sentence for reason in Reason)
