"""Circuit breaker of one provider: a vendor that fails everybody is left alone for a while.

    closed      everybody may ask; failures are counted by question until somebody gets an answer
    open        nobody is asked until the pause is over; it doubles with each probe that fails
    half-open   one question at a time is let through as a probe; its answer decides

It opens when ten different questions in a row got no answer, over 20 seconds at least. Questions and
not tries, because one question that the vendor chokes on, tried again and again, says nothing about
the others; and not at once, because a vendor that is restarted is back before that. While it is
not closed a failure is no fault of the lead's: it is `Held`, which spends no attempt, so that a
vendor may be away for days and no lead ends as failed because of it.

The log hears of failures that last (three in a row, then a line for every ten seconds), of the
circuit's opening, and of the end of both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from loguru import logger

from enricher import metrics
from enricher.answer import Answer, Held, Throttled, Unavailable
from enricher.fleet import Circuit

OPENS_AFTER = 10
"""Different questions without an answer, in a row."""
OPENS_AFTER_SECONDS = 20.0
"""From the first of them. Failures are free, and the limits keep them few."""
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 300.0
REASON = "it failed for everybody lately"

_PROBE_SECONDS = 15.0
"""A probe that has not come back by then is given up: somebody else may probe."""
_FAILURES_WORTH_TELLING = 3
"""One that stands alone is mended by a retry, and is no news to whoever is on call."""
_LINE_EVERY_SECONDS = 10.0


@dataclass(slots=True)
class Breaker:
    """One provider's row of failures, and what follows from it."""

    provider: str
    clock: Callable[[], float] = time.monotonic
    _failed: set[object] = field(default_factory=set)
    """Questions without an answer since the last answer to anybody."""
    _failures: int = 0
    _began: float = 0.0
    _said: float = -math.inf
    _is_told: bool = False
    _pause: float = 0.0
    """Seconds; 0 while the circuit is closed."""
    _open_until: float = 0.0
    _probing_until: float = 0.0

    @property
    def is_closed(self) -> bool:
        """True while everybody may ask."""
        return not self._pause

    @property
    def circuit(self) -> Circuit:
        """As the page above has it."""
        if self.is_closed:
            return Circuit.CLOSED
        return Circuit.OPEN if self.clock() < self._open_until else Circuit.HALF_OPEN

    def admission(self) -> Held | None:
        """Why nobody is asked now; `None` lets this one through, as the probe if need be."""
        if self.is_closed:
            return None
        now = self.clock()
        free_at = max(self._open_until, self._probing_until)
        if now < free_at:
            return Held(REASON, free_at - now)
        self._probing_until = now + _PROBE_SECONDS
        return None

    def note(self, question: object, answer: Answer) -> Answer:
        """Each answer, in the order of arrival; returns it as the lead is to have it."""
        if not isinstance(answer, Unavailable):
            if not isinstance(answer, Throttled | Held):  # these say that it is there, and no more
                self._succeeded()
            self._probing_until = 0.0
            return answer
        if answer.is_of_question:
            self._probing_until = 0.0
            return answer
        self._count(question, answer)
        return answer if self.is_closed else self._reopened(answer)

    def _count(self, question: object, answer: Unavailable) -> None:
        now = self.clock()
        self._failures += 1
        if self._failures == 1:
            self._began = now
        self._failed.add(question)
        if self._failures >= _FAILURES_WORTH_TELLING and now - self._said >= _LINE_EVERY_SECONDS:
            self._said, self._is_told = now, True
            fields = {"provider": self.provider, "failures": self._failures}
            logger.bind(**fields, reason=answer.reason).warning("provider.unavailable")
        has_lasted = now - self._began >= OPENS_AFTER_SECONDS
        if self.is_closed and has_lasted and len(self._failed) >= OPENS_AFTER:
            self._open(FIRST_PAUSE_SECONDS)

    def _open(self, seconds: float) -> None:
        was_closed, self._pause = self.is_closed, seconds
        self._open_until, self._probing_until = self.clock() + seconds, 0.0
        self._failed.clear()
        if was_closed:
            metrics.CIRCUIT.labels(self.provider).set(1)
            logger.bind(provider=self.provider, seconds=seconds).error("provider.circuit_opened")

    def _reopened(self, answer: Unavailable) -> Answer:
        """A failure while it is not closed: only one after the pause is a probe's."""
        if self.clock() >= self._open_until:
            self._open(min(LONGEST_PAUSE_SECONDS, 2 * self._pause))
        return Held(f"{REASON}: {answer.reason}", self._open_until - self.clock())

    def _succeeded(self) -> None:
        if self._failures and (self._is_told or not self.is_closed):
            seconds = round(self.clock() - self._began, 1)
            logger.bind(provider=self.provider, failures=self._failures, seconds=seconds).info(
                "provider.available"
            )
        if not self.is_closed:
            metrics.CIRCUIT.labels(self.provider).set(0)
        self._failures, self._is_told, self._pause = 0, False, 0.0
        self._failed.clear()
