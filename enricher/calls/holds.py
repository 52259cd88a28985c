"""Why one provider may not be asked now, and how everybody learns of it.

A hold is the vendor's (its key is refused, its quota used up), the fleet's (`limits/limiter.py` carries both
to all daemons), or the budget's. It is looked at far more often than it changes: a log line when it begins
and when it ends, and two series, show it.

What one lead was told to wait, all of them wait. A vendor's hint may be garbled (the year 9999,
milliseconds for seconds) or meant for somebody else. Its own windows are documented, and no honest hint is
longer than the longest of them (`windows` of its class; `longest_wait` where the vendor documents more). So
that is where it is capped: a call that comes back too early is told so again, at no cost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from loguru import logger

from enricher.answer import Answer, Held, Preparing, Throttled
from enricher.calls.breaker import UselessRow
from enricher.limits.limiter import Limiter
from enricher.providers.base import Provider
from enricher.telemetry import metrics

WORTH_TELLING_SECONDS = 300.0
"""A longer wait is worth a log line: leads will be delayed for longer than their users expect."""
LONGEST_PREPARATION = 3600.0
"""Seconds that a vendor may take to prepare one answer."""
PAUSED = "paused by an operator"
_A_MINUTE, _AN_HOUR, _FOREVER = 60.0, 3600.0, 1e12
_HINT = (
    "once the cause is mended, restart the daemon to ask again at once; leads are enriched "
    'when they are due, or right away when their enrichment_status is set to "pending"'
)
_RESUME = "`enricher resume` ends it; the leads that wait come back by themselves, spread out"


@dataclass(slots=True)
class Holds:
    """The holds and pauses of one provider."""

    provider: Provider
    limiter: Limiter
    row: UselessRow
    """Learns of a stop that another daemon began."""
    _budget: Held | None = None
    _budget_until: float = 0.0
    _is_shown: bool = False
    _cause: str = ""
    """The label of the hold that is shown."""
    _name: str = field(init=False)

    def __post_init__(self) -> None:
        self._name = self.provider.name

    def now(self) -> Held | None:
        """Return the hold with its time left: the budget's, the stop of this provider, or its vendor's hold."""
        if self._budget and (left := self._budget_until - time.monotonic()) > 0:
            return Held(self._budget.reason, left)
        if held := self.limiter.held_for(self._name):
            self.row.learn(held)
        return held

    def look(self, *, is_paid: bool = False) -> Held | None:
        """Return the hold and show it, whichever daemon learnt of it.

        A question that is already paid for is kept from its answer by the vendor and an operator alone.
        """
        held = self.now()
        if held or self._is_shown:
            self._show(held)
        if not is_paid:
            return held
        stopped = self.limiter.stopped(self._name)
        return stopped if stopped and stopped.reason == PAUSED else self.limiter.held

    # -- what the vendor, the budget and our own judgement say --------------------------------

    def heed(self, answer: Answer, pause: float | None) -> Answer:
        """Apply to all leads what one was told; return the answer with a wait within reason."""
        if pause:
            self._pause(pause)
        if isinstance(answer, Throttled) and answer.retry_after:
            return replace(answer, retry_after=self._pause(answer.retry_after))
        if isinstance(answer, Preparing):
            return replace(answer, retry_after=min(answer.retry_after, LONGEST_PREPARATION))
        if isinstance(answer, Held):
            self.limiter.hold(answer)
            self.look()
        return answer

    def stop(self, held: Held) -> None:
        """Stop this provider alone, for the whole fleet."""
        self.limiter.stop(self._name, held)
        self.look()

    def note_budget(self, held: Held) -> None:
        """Remember that the budget is used up, so that it is not asked about for every question."""
        self._budget, self._budget_until = held, time.monotonic() + held.seconds

    def _pause(self, asked: float) -> float:
        """Pause all calls for as long as the vendor asks, within reason; return for how many seconds."""
        seconds = min(asked, longest_wait(self.provider))
        is_news = self.limiter.pause_left < seconds / 2
        self.limiter.pause(seconds)
        if asked >= WORTH_TELLING_SECONDS and is_news:
            told = round(min(asked, _FOREVER))  # a garbled hint may be infinite
            fields = {"asked_seconds": told, "seconds": round(seconds)}
            logger.bind(provider=self._name, **fields).warning("provider.paused")
        return seconds

    # -- how it is shown ---------------------------------------------------------------------

    def _show(self, held: Held | None) -> None:
        if held and not self._is_shown:
            fields = {"reason": held.reason, "seconds": round(held.seconds, 1)}
            is_wanted = held.reason == PAUSED
            line = logger.bind(provider=self._name, **fields, hint=_RESUME if is_wanted else _HINT)
            line.log("WARNING" if is_wanted else "ERROR", "provider.held")
        elif not held:
            logger.bind(provider=self._name).info("provider.released")
        if self._is_shown != (held is not None):
            self._is_shown = held is not None
            metrics.HELD.labels(self._name).set(self._is_shown)
        self._show_cause(cause_of(held) if held else "")

    def _show_cause(self, cause: str) -> None:
        if cause == self._cause:
            return
        for each in metrics.HOLDS:
            metrics.HOLD.labels(self._name, each).set(each == cause)
        self._cause = cause


def longest_wait(provider: Provider) -> float:
    """Return the longest window that the vendor documents, at least a minute, in seconds."""
    documented = max((window.seconds for window in type(provider).windows), default=_AN_HOUR)
    return provider.longest_wait or max(_A_MINUTE, documented)


def cause_of(held: Held) -> str:
    """Return the cause's label by a word in the reason: that text is all that the fleet shares of a hold."""
    return next((cause for cause in metrics.HOLDS if cause in held.reason), "other")
