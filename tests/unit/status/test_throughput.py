"""Minutes of several daemons as those of the fleet, and the last claims of all of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from enricher.status.throughput import LAST, MINUTES, Ended, Minute, Times, hour, latest, number_of

NOW = datetime(2026, 3, 1, 12, 30, 20, tzinfo=UTC)

durations = st.floats(min_value=0, max_value=1e6)


def _times(seconds: list[float]) -> Times:
    times = Times()
    for each in seconds:
        times.add(each)
    return times


def _minute(**outcomes: int) -> Minute:
    return Minute(Counter(outcomes))


def _ended(lead: str, seconds_ago: float) -> Ended:
    return Ended(NOW - timedelta(seconds=seconds_ago), lead, "completed", 1, 0.5)


@given(st.lists(durations, max_size=5), st.lists(durations, max_size=5))
def test_durations_of_two_daemons_join_to_those_of_one(
    mine: list[float], others: list[float]
) -> None:
    joined, one = _times(mine), _times(mine + others)
    joined.join(_times(others))
    assert (joined.count, joined.longest) == (one.count, one.longest)
    assert abs(joined.total - one.total) <= 1e-6 * max(1.0, one.total)


def test_there_is_no_mean_of_nothing() -> None:
    assert Times().mean is None
    assert _times([1.0, 3.0]).mean == 2.0


def test_the_hour_has_sixty_minutes_the_oldest_first_and_adds_up_all_daemons() -> None:
    this, earlier = number_of(NOW), number_of(NOW) - 7
    minutes = hour(
        [{this: _minute(completed=2), earlier: _minute(failed=1)}, {this: _minute(completed=3)}],
        NOW,
    )
    assert len(minutes) == MINUTES
    moments = [at for at, _ in minutes]
    assert moments == sorted(moments)
    assert moments[-1] == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    assert minutes[-1][1].outcomes == {"completed": 5}
    assert dict(minutes)[moments[-1] - timedelta(minutes=7)].outcomes == {"failed": 1}
    assert sum(minute.outcomes.total() for _, minute in minutes) == 6


def test_what_ended_before_the_last_hour_or_by_a_clock_that_is_ahead_is_left_out() -> None:
    number = number_of(NOW)
    minutes = hour(
        [{number - MINUTES: _minute(completed=1), number + 1: _minute(completed=1)}], NOW
    )
    assert all(not minute.outcomes for _, minute in minutes)


def test_joining_changes_nothing_of_what_was_joined() -> None:
    number = number_of(NOW)
    mine = {number: _minute(completed=1)}
    hour([mine, {number: _minute(completed=1)}], NOW)
    assert mine[number].outcomes == {"completed": 1}


def test_the_last_claims_are_those_of_all_daemons_the_latest_first() -> None:
    found = latest([[_ended("a", 3), _ended("b", 1)], [_ended("c", 2)]])
    assert [each.lead for each in found] == ["b", "c", "a"]
    assert len(latest([[_ended(str(n), n) for n in range(LAST)]] * 2)) == LAST
