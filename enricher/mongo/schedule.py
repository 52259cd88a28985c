"""PURE When something is due next. Every period has jitter, so that what began together spreads out."""

from __future__ import annotations

from datetime import timedelta
from random import Random

_RETRY_JITTER = 0.05
_HOLD_JITTER = 0.2
_MOST_HOLD_JITTER = timedelta(hours=1)
_REFRESH_JITTER = 0.1
_SHORTEST_HOLD = timedelta(seconds=1)
_LONGEST_HOLD_SECONDS = 31 * 86_400.0
"""Quotas begin anew each month at the latest."""
_LONGEST_PAUSE = 10.0
_LOST_RACE_PAUSE = 0.02
_RACES_AT_FULL_SPEED = 3


def retry_delay(attempt: int, base: timedelta, random: Random) -> timedelta:
    """After attempt 1, 2, 3: `base`, twice, four times; up to 5 % later, never sooner."""
    return base * 2.0 ** min(attempt - 1, 20) * (1 + _RETRY_JITTER * random.random())


def hold_delay(seconds: float, random: Random) -> timedelta:
    """Up to a fifth later than the hold, an hour at most: held leads come back spread out, not at once."""
    delay = max(_SHORTEST_HOLD, vendors_delay(seconds))
    return delay + min(delay * _HOLD_JITTER, _MOST_HOLD_JITTER) * random.random()


def vendors_delay(seconds: float) -> timedelta:
    """What a provider asks for, within what a date can hold and a lead should wait."""
    return timedelta(seconds=min(max(0.0, seconds), _LONGEST_HOLD_SECONDS))


def refresh_delay(days: float, random: Random) -> timedelta | None:
    """A tenth around `days`, so that an import of one day is not refreshed on one day."""
    if not days:
        return None
    return timedelta(days=days * (1 + _REFRESH_JITTER * (2 * random.random() - 1)))


def outage_pause(failures: int, random: Random) -> float:
    """Seconds to wait after `failures` failures in a row: doubling from 0.1 to 10, half of it jitter."""
    longest = min(_LONGEST_PAUSE, 0.1 * 2.0 ** min(failures - 1, 20))
    return longest * (0.5 + 0.5 * random.random())


def lost_race_pause(losses: int, longest: float, random: Random) -> float:
    """Seconds to wait after claims that won nothing, `losses` in a row.

    A few are contention, and a moment is enough; many mean that the leads cannot be claimed.
    """
    doublings = min(max(0, losses - _RACES_AT_FULL_SPEED), 20)
    return min(longest, _LOST_RACE_PAUSE * 2.0**doublings) * random.random()
