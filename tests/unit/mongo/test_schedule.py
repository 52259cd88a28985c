"""When something is due next: never sooner than promised, and never all at once."""

from __future__ import annotations

import math
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.mongo.outage import (
    hold_delay,
    lost_race_pause,
    outage_pause,
    refresh_delay,
    retry_delay,
    vendors_delay,
)

MINUTE = timedelta(minutes=1)
randoms = st.builds(Random, st.integers())


@given(st.integers(1, 1000), randoms)
def test_a_retry_comes_after_twice_the_delay_of_the_one_before_and_at_most_5_percent_later(
    attempt: int, random: Random
) -> None:
    promised = MINUTE * 2.0 ** min(attempt - 1, 20)
    assert promised <= retry_delay(attempt, MINUTE, random) <= promised * 1.05


@given(st.floats(0, 86_400), randoms)
def test_a_held_lead_comes_back_after_the_hold_and_at_most_a_fifth_later(
    seconds: float, random: Random
) -> None:
    hold = timedelta(seconds=max(1, seconds))
    # To the microsecond that a timedelta is rounded to.
    assert hold <= hold_delay(seconds, random) <= hold * 1.2 + timedelta(microseconds=1)


@given(st.floats(), randoms)
def test_no_figure_of_a_vendor_breaks_the_arithmetic(seconds: float, random: Random) -> None:
    assert timedelta(0) <= vendors_delay(seconds) <= timedelta(days=31)
    assert timedelta(seconds=1) <= hold_delay(seconds, random) <= timedelta(days=38)


def test_leads_that_are_held_together_come_back_spread_out() -> None:
    random = Random(7)
    delays = {hold_delay(3600, random) for _ in range(100)}
    assert max(delays) - min(delays) > timedelta(minutes=10)


def test_a_refresh_is_due_within_a_tenth_around_its_days_and_never_for_0() -> None:
    random = Random(7)
    delays = [refresh_delay(90, random) for _ in range(200)]
    assert all(each and timedelta(days=81) <= each <= timedelta(days=99) for each in delays)
    assert len(set(delays)) == len(delays)
    assert refresh_delay(0, random) is None


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 0.1), (2, 0.2), (4, 0.8), (8, 10), (10_000, 10)]
)
def test_an_outage_is_waited_out_with_pauses_that_double_up_to_10_seconds(
    failures: int, longest: float
) -> None:
    random = Random(7)
    pauses = [outage_pause(failures, random) for _ in range(100)]
    assert longest / 2 <= min(pauses) < max(pauses) <= longest


@given(st.integers(1, 10_000), randoms)
def test_a_lost_race_is_repeated_within_a_moment_but_not_for_ever(
    losses: int, random: Random
) -> None:
    pause = lost_race_pause(losses, 1.0, random)
    assert 0 <= pause <= (0.02 if losses <= 3 else 1.0)


def test_leads_that_nobody_can_claim_are_looked_at_as_rarely_as_the_poll() -> None:
    random = Random(7)
    pauses = [lost_race_pause(100, 1.0, random) for _ in range(200)]
    assert math.isclose(sum(pauses) / len(pauses), 0.5, abs_tol=0.1)
