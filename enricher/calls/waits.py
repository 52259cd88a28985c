"""Waiting for a provider: who does, and how long a vendor may ask everybody to.

A vendor's hint may be garbled (the year 9999, milliseconds for seconds) or meant for somebody else. Its own
windows are documented, and no honest hint is longer than the longest of them (`windows` of its class;
`longest_wait` where the vendor documents more). So that is where it is capped: whoever comes back too early is
told so again, at no cost.
"""

from __future__ import annotations

from dataclasses import dataclass

from loguru import logger

from enricher.answer import Held
from enricher.limits.limiter import Limiter
from enricher.providers.base import Provider
from enricher.telemetry import metrics
from enricher.telemetry.metrics import child

WORTH_TELLING_SECONDS = 300.0
"""A vendor that asks for more is silent for longer than whoever waits for leads expects."""
LONGEST_PREPARATION = 3600.0
"""For a vendor that prepares one answer."""
_A_MINUTE, _AN_HOUR = 60.0, 3600.0


class Waiting:
    """Counts one lead in `enricher_provider_waiting` while it waits, and once only."""

    def __init__(self, provider: str) -> None:
        self._gauge = child(metrics.WAITING, provider)
        self._waits = False

    def set(self, *, waits: bool) -> None:
        if waits != self._waits:
            self._gauge.inc(1 if waits else -1)
        self._waits = waits


def longest_wait(provider: Provider) -> float:
    """Seconds: the longest window that the vendor documents, and a minute at least."""
    documented = max((window.seconds for window in type(provider).windows), default=_AN_HOUR)
    return provider.longest_wait or max(_A_MINUTE, documented)


def heed(provider: Provider, limiter: Limiter, asked: float) -> float:
    """Nobody calls for as long as the vendor asks, within reason; returns for how long."""
    seconds = min(asked, longest_wait(provider))
    is_news = limiter.pause_left < seconds / 2
    limiter.pause(seconds)
    if asked >= WORTH_TELLING_SECONDS and is_news:
        fields = {"asked_seconds": round(asked), "seconds": round(seconds)}
        logger.bind(provider=provider.name, **fields).warning("provider.paused")
    return seconds


# How a provider's hold is shown: one line of the log when it begins and ends, and two series.
#
# A hold is learnt from the vendor, from a budget or from the fleet, and is looked at far more often than it
# changes.

_HINT = (
    "once the cause is mended, restart the daemon to ask again at once; leads are enriched "
    'when they are due, or right away when their enrichment_status is set to "pending"'
)


@dataclass(slots=True)
class Holding:
    """The hold of one provider as it was last shown."""

    provider: str
    _is_held: bool = False
    _cause: str = ""
    """The label of the standing hold."""

    def show(self, held: Held | None) -> None:
        if held and not self._is_held:
            fields = {"reason": held.reason, "seconds": round(held.seconds, 1)}
            logger.bind(provider=self.provider, **fields, hint=_HINT).error("provider.held")
        elif self._is_held and not held:
            logger.bind(provider=self.provider).info("provider.released")
        if self._is_held != (held is not None):
            self._is_held = held is not None
            metrics.HELD.labels(self.provider).set(self._is_held)
        self._show_cause(cause_of(held) if held else "")

    def _show_cause(self, cause: str) -> None:
        if cause == self._cause:
            return
        for each in metrics.HOLDS:
            metrics.HOLD.labels(self.provider, each).set(each == cause)
        self._cause = cause


def cause_of(held: Held) -> str:
    """By the word in the reason: that text is all that the fleet shares of a hold."""
    return next((cause for cause in metrics.HOLDS if cause in held.reason), "other")
