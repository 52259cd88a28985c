"""What a loop does while MongoDB is away: wait with jitter, say so rarely, and go on afterwards.

A loop never ends because the database is away, and it floods neither the log nor the database: one
line when it begins, one for every ten seconds that it lasts, one when it is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from loguru import logger

from enricher.telemetry import metrics

# PURE When something is due next. Every period has jitter, so that what began together spreads out.

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


_LINE_EVERY_SECONDS = 10.0


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but wake at once when it is time to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


@dataclass(slots=True)
class Outage:
    """One loop's view of the database. `is_over` feeds the readiness check.

    Where several operations share one, `who` tells them apart: it is over once each of those that
    failed has succeeded or has been given up. Another's success proves nothing about theirs.
    """

    loop: str
    random: Random = field(default_factory=Random)
    failures: int = 0
    _began: float = 0.0
    _said: float = 0.0
    _is_told: bool = False
    """It was said that it began, and not yet that it is over."""
    _failing: set[Hashable] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """True while the last round trip succeeded."""
        return self.failures == 0

    def failed(self, error: Exception, who: Hashable = None) -> float:
        """Note one more failure; returns the seconds to wait before the next try."""
        now = time.monotonic()
        self._failing.add(who)
        self.failures += 1
        metrics.DATABASE_ERRORS.labels(self.loop).inc()
        if self.failures == 1:
            self._began = now
        is_news = self.failures == 1 and not self._is_told
        if is_news or now - self._said >= _LINE_EVERY_SECONDS:
            self._said, self._is_told = now, True
            fields = {"loop": self.loop, "failures": self.failures, "error": describe(error)}
            logger.bind(**fields).warning("database.unavailable")
        return outage_pause(self.failures, self.random)

    def forget(self, who: Hashable = None) -> None:
        """There is nothing left to ask the database for, so nothing is waiting for it."""
        self._failing.discard(who)
        if not self._failing:
            self.failures = 0

    def succeeded(self, who: Hashable = None) -> None:
        """The database answered."""
        self._failing.discard(who)
        if self._failing:
            return
        if self._is_told:
            seconds = round(time.monotonic() - self._began, 1)
            logger.bind(loop=self.loop, failures=self.failures, seconds=seconds).info(
                "database.available"
            )
        self.failures, self._is_told = 0, False


def describe(error: Exception) -> str:
    """Type and code of a driver's error: its text may quote a document."""
    code = getattr(error, "code", None)
    return type(error).__name__ + (f" {code}" if code else "")
