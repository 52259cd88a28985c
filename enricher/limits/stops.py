"""Why no daemon may call one vendor now: a pause it asked for, or a hold. Shared by the whole fleet.

What one process is told takes effect there at once and is written to the bucket in the background; the
others learn of it with their next reservation.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod

from enricher.answer import Held
from enricher.limits.bucket import LONGEST_PAUSE, Bucket, Reserved
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage

_CLOSE_SECONDS = 3.0
_STOP = "stop:"
_CLOCKS_APART = 2.0
"""Seconds. A smaller difference may come from converting the pause between two clocks."""


class Stops(ABC):
    """The pauses, holds and stops of one bucket."""

    def __init__(self, bucket: Bucket | None, outage: Outage) -> None:
        self._bucket = bucket
        self._outage = outage
        self._hold: Held | None = None
        self._held_until = 0.0
        self._stopped: dict[str, tuple[Held, float]] = {}
        self._untold: set[str] = set()
        self._told_at = -math.inf
        self._teller: asyncio.Task[None] | None = None
        self.paused_until = 0.0

    @abstractmethod
    def _on_stop(self) -> None:
        """Take note that a pause or hold begins or grows."""

    def pause(self, seconds: float) -> None:
        """Obey the vendor's request to wait: no daemon calls before that, whichever was told.

        Another process may still use what it has in hand: at most half a second's worth.
        """
        self._pause_until(time.monotonic() + min(seconds, LONGEST_PAUSE))
        self._tell_others("pause")

    @property
    def pause_left(self) -> float:
        """Seconds until the pause is over; 0 when there is none."""
        return max(0.0, self.paused_until - time.monotonic())

    def hold(self, held: Held) -> None:
        """Stop the fleet's calls until the hold is over or released; of two holds the longer counts."""
        self._hold_for(held)
        self._tell_others("hold")

    def release(self) -> None:
        """End the hold for the whole fleet."""
        self._hold = None
        self._tell_others("hold")

    @property
    def held(self) -> Held | None:
        """The standing hold, with its time left."""
        left = self._held_until - time.monotonic()
        return Held(self._hold.reason, left) if self._hold and left > 0 else None

    def stop(self, provider: str, held: Held) -> None:
        """Stop this provider alone, for the whole fleet, until the stop is over or released."""
        self._stopped[provider] = (held, time.monotonic() + held.seconds)
        self._tell_others(_STOP + provider)

    def stopped(self, provider: str) -> Held | None:
        """Return why this provider alone is not asked, with the time left."""
        held, until = self._stopped.get(provider, (None, 0.0))
        left = until - time.monotonic()
        return Held(held.reason, left) if held and left > 0 else None

    def held_for(self, provider: str) -> Held | None:
        """Return the stop of this provider, or the hold of the whole bucket, with the time left."""
        if not self._stopped and self._hold is None:
            return None  # nearly always, and asked twice for every call
        return self.stopped(provider) or self.held

    @property
    def is_any_stopped(self) -> bool:
        return any(self.stopped(provider) for provider in self._stopped)

    def learn(self, reserved: Reserved, asked_at: float) -> None:
        """Adopt what the bucket says, except where this process has news that it has not written yet."""
        if reserved.paused_until > time.monotonic():
            self._pause_until(reserved.paused_until)
        if self._untold or asked_at <= self._told_at:
            return
        self._shorten(reserved.paused_until)
        self._hold = None
        if reserved.held:
            self._hold_for(reserved.held)
        now = time.monotonic()
        self._stopped = {
            name: (held, now + held.seconds) for name, held in reserved.stopped.items()
        }

    def _shorten(self, until: float) -> None:
        """Adopt a shorter pause: the start of a daemon ends a long one, for the whole fleet."""
        if self.paused_until - until > _CLOCKS_APART:
            self.paused_until = until

    async def close(self) -> None:
        """Finish writing what the others must know, if that is quick."""
        if self._teller is not None:
            await asyncio.wait({self._teller}, timeout=_CLOSE_SECONDS)
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.gather(self._teller, return_exceptions=True)

    def _pause_until(self, until: float) -> None:
        if until > self.paused_until:
            self.paused_until = until
            self._on_stop()

    def _hold_for(self, held: Held) -> None:
        until = time.monotonic() + held.seconds
        if self.held is None or until > self._held_until:  # of two, the longer counts
            self._hold, self._held_until = held, until
        self._on_stop()

    def _tell_others(self, news: str) -> None:
        if self._bucket is None:
            return
        self._untold.add(news)
        if self._teller is None:
            self._teller = asyncio.create_task(self._tell(self._bucket), name="tell-limits")

    async def _tell(self, bucket: Bucket) -> None:
        try:
            while self._untold:
                await self._tell_one(bucket, next(iter(self._untold)))
        finally:
            self._teller = None

    async def _tell_one(self, bucket: Bucket, news: str) -> None:
        was = self._said(news)
        try:
            await self._write(bucket, news)
        except DatabaseTrouble as error:
            await asyncio.sleep(self._outage.failed(error))
            return
        self._outage.succeeded()
        if self._said(news) == was:  # else there is more to tell
            self._untold.discard(news)
        self._told_at = time.monotonic()

    def _said(self, news: str) -> object:
        if news == "pause":
            return self.paused_until
        return self._hold if news == "hold" else self._stopped.get(news.removeprefix(_STOP))

    async def _write(self, bucket: Bucket, news: str) -> None:
        provider = news.removeprefix(_STOP)
        if news == "pause":
            await bucket.pause(self.pause_left)
        elif provider != news:
            stop = self.stopped(provider)
            await bucket.stop(provider, stop.reason if stop else "", stop.seconds if stop else 0)
        elif held := self.held:
            await bucket.hold(held.reason, held.seconds)
        else:
            await bucket.release()
