"""The smaller nouns."""

from __future__ import annotations

import pytest

from enricher.lead import Pressure, Reason


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
