"""What a daemon remembers of the last hour, and what of it anybody may read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from enricher.lead import Inputs, Lead, LeadId, Lease
from enricher.status.throughput import LAST, MINUTES, Activity, number_of

ADDRESS = "ada@quokka-freight.com"


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime(2026, 3, 1, 12, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def activity(clock: Clock) -> Activity:
    return Activity(clock)


def _lease(id_: LeadId = 1, waited: float | None = 0.5) -> Lease:
    lead = Lead(id=id_, inputs=Inputs(email=ADDRESS), attempt=2, waited_seconds=waited)
    return Lease(lead, token=1, claim_id="c", deadline=0.0)


def _text(activity: Activity) -> str:
    return json.dumps([asdict(each) for each in activity.told()], default=str)


def test_a_claim_that_ended_is_counted_in_its_minute(activity: Activity, clock: Clock) -> None:
    activity.note(_lease(), "completed", 1.5, {"score": 80})
    activity.note(_lease(waited=None), "skipped", 0.1, {"reason": "suppressed"})
    clock.advance(minutes=1)
    activity.note(_lease(), "failed", 2.0, {"error": "Nobody answered."})
    first, second = (activity.minutes[number] for number in sorted(activity.minutes))
    assert first.outcomes == {"completed": 1, "skipped": 1}
    assert (first.waited.count, first.waited.total) == (1, 0.5)
    assert first.took.longest == 2.0
    assert second.outcomes == {"failed": 1}


def test_a_retry_to_come_is_no_end(activity: Activity) -> None:
    activity.note(_lease(), "retrying", 1.5, {"error": "It timed out.", "attempt_spent": True})
    [minute] = activity.minutes.values()
    assert minute.outcomes == {"retrying": 1}
    assert minute.took.count == 0


def test_it_tells_what_became_of_the_last_leads_by_id_score_and_reason(activity: Activity) -> None:
    activity.note(_lease("a"), "completed", 1.23456, {"score": 80})
    activity.note(_lease("b"), "skipped", 0.0, {"reason": "suppressed"})
    scored, skipped = activity.told()
    assert (scored.lead, scored.outcome, scored.attempt, scored.seconds) == (
        "a",
        "completed",
        2,
        1.235,
    )
    assert (scored.score, scored.why) == (80, "")
    assert (skipped.score, skipped.why) == (None, "suppressed")


@pytest.mark.parametrize(
    "id_", [ADDRESS, {"email": ADDRESS}, f"lead of {ADDRESS}", "ada%40quokka.com"]
)
def test_an_id_that_is_an_address_or_holds_one_is_not_told(activity: Activity, id_: LeadId) -> None:
    activity.note(_lease(id_), "failed", 1.0, {"error": f"{ADDRESS} bounced."})
    assert "ada@" not in _text(activity)
    assert "ada%" not in _text(activity)
    assert "quokka" not in _text(activity)
    assert activity.told()[0].lead.startswith("hidden")


def test_a_long_reason_is_cut(activity: Activity) -> None:
    activity.note(_lease(), "failed", 1.0, {"error": "x" * 10_000})
    [told] = activity.told()
    assert len(told.why) < 300
    assert told.why.endswith("…")


def test_only_the_last_are_remembered(activity: Activity) -> None:
    for number in range(LAST + 10):
        activity.note(_lease(number), "completed", 1.0, {"score": 1})
    assert [each.lead for each in activity.told()] == [str(n) for n in range(10, LAST + 10)]


def test_changed_are_the_minutes_since_it_was_asked_last(activity: Activity, clock: Clock) -> None:
    details: dict[str, Any] = {"score": 1}
    activity.note(_lease(), "completed", 1.0, details)
    assert set(activity.changed()) == {number_of(clock.now)}
    assert activity.changed() == {}
    clock.advance(minutes=1)
    activity.note(_lease(), "completed", 1.0, details)
    assert set(activity.changed()) == {number_of(clock.now)}
    activity.touch_all()
    assert set(activity.changed()) == {number_of(clock.now), number_of(clock.now) - 1}


def test_what_is_older_than_an_hour_is_forgotten(activity: Activity, clock: Clock) -> None:
    activity.note(_lease(), "completed", 1.0, {"score": 1})
    first = number_of(clock.now)
    clock.advance(minutes=MINUTES)
    assert activity.forget_old() == []
    clock.advance(minutes=1)
    assert activity.forget_old() == [first]
    assert activity.minutes == {}
    assert activity.changed() == {}
