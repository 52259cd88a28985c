"""Rate limits: several windows for one provider, none of them ever exceeded.

`aiolimiter` is a leaky bucket with bursts: over any `seconds` it lets through up to
`burst + rate * seconds` calls, so `AsyncLimiter(600, 60)` passes 1,199 in the first minute. Each
window therefore gets a small burst and a rate with `burst + rate * (seconds + slack) < calls + 1`.
The slack is there because a vendor judges by its own clock at arrival: calls that left evenly can
arrive closer together.

All windows must pass; the longest is asked first, so that a slot of the shortest is used at once.
"""

from __future__ import annotations

import asyncio
import time

from aiolimiter import AsyncLimiter

from enricher.providers.base import Window

_SLACK_SECONDS = 0.25
_CALLS_PER_BURST = 100
"""One call of burst for each hundred of the limit: makes up for timers that fire late, and lets a
few leads that arrive together through at once. It costs one percent of the limit."""
_LONGEST_PAUSE = 86_400.0
"""No single answer may silence a provider for longer than a day."""


class Limiter:
    """Waits until every window has room. Also obeys a pause that the vendor asked for."""

    def __init__(self, windows: tuple[Window, ...]) -> None:
        sustained = min((_rate(window, _burst(window)) for window in windows), default=0.0)
        longest_first = sorted(windows, key=lambda window: -window.seconds)
        self._buckets = [_bucket(window, sustained) for window in longest_first]
        self._paused_until = 0.0

    async def acquire(self) -> None:
        """Wait for a slot in every window."""
        while True:
            await self._sit_out_pause()
            for bucket in self._buckets:
                await bucket.acquire()
            # A slot that was granted during a pause is void: spent after it, all at once, the
            # slots of the whole pause would be one burst.
            if not self.pause_left:
                return

    def pause(self, seconds: float) -> None:
        """The vendor said to wait: nobody calls it before that, whoever received the answer."""
        until = time.monotonic() + min(seconds, _LONGEST_PAUSE)
        self._paused_until = max(self._paused_until, until)

    @property
    def pause_left(self) -> float:
        """Seconds until the pause is over; 0 when there is none."""
        return max(0.0, self._paused_until - time.monotonic())

    async def _sit_out_pause(self) -> None:
        while remaining := self.pause_left:
            await asyncio.sleep(remaining)


def _burst(window: Window) -> int:
    return 1 + window.calls // _CALLS_PER_BURST


def _rate(window: Window, burst: int) -> float:
    """Calls a second that keep the window with this burst."""
    return 0.999 * (window.calls + 1 - burst) / (window.seconds + _SLACK_SECONDS)


def _bucket(window: Window, sustained: float) -> AsyncLimiter:
    """A window that is not the tightest need not refill fast, and can let more through at once."""
    spare = int(window.calls + 1 - sustained * (window.seconds + _SLACK_SECONDS) / 0.999)
    burst = min(window.calls, max(_burst(window), spare))
    return AsyncLimiter(burst, burst / _rate(window, burst))
