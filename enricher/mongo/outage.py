"""What a loop does while MongoDB is away: wait with jitter, say so rarely, and go on afterwards.

A loop never ends because the database is away, and it floods neither the log nor the database: one
line when it begins, one for every ten seconds that it lasts, one when it is over.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import Random

from loguru import logger

from enricher.mongo.schedule import outage_pause
from enricher.telemetry import metrics

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
    """One loop's view of the database. `is_over` feeds the readiness check."""

    loop: str
    random: Random = field(default_factory=Random)
    failures: int = 0
    _began: float = 0.0
    _said: float = 0.0
    _is_told: bool = False
    """It was said that it began, and not yet that it is over."""

    @property
    def is_over(self) -> bool:
        """True while the last round trip succeeded."""
        return self.failures == 0

    def failed(self, error: Exception) -> float:
        """Note one more failure; returns the seconds to wait before the next try."""
        now = time.monotonic()
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

    def forget(self) -> None:
        """There is nothing left to ask the database for, so nothing is waiting for it."""
        self.failures = 0

    def succeeded(self) -> None:
        """The database answered."""
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
