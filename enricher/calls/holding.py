"""How a provider's hold is shown: one line of the log when it begins and ends, and two series.

A hold is learnt from the vendor, from a budget or from the fleet, and is looked at far more often than it
changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from loguru import logger

from enricher.answer import Held
from enricher.telemetry import label_sets, metrics

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
        for each in label_sets.HOLDS:
            metrics.HOLD.labels(self.provider, each).set(each == cause)
        self._cause = cause


def cause_of(held: Held) -> str:
    """By the word in the reason: that text is all that the fleet shares of a hold."""
    return next((cause for cause in label_sets.HOLDS if cause in held.reason), "other")
