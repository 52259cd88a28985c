"""Rate limits: several windows for one provider, none of them ever exceeded.

The fleet shares each vendor's limit through a bucket in MongoDB (`limits/bucket.py`). While
somebody waits, a pump reserves slots ahead, at most half a second's worth and no more than there
are waiters, and gives each at its time to the most urgent waiter. So a lone caller pays one round
trip, and under load nobody waits for the database. A slot that could not be used soon after its
time is void: after a stall, all the slots that were missed would be one late burst.

Behind it stands `aiolimiter`, one leaky bucket for each window and process: without a database
(tests, a single process) the only limiter, else a guard that passes whatever the fleet's bucket
lets through, and keeps this process within the limit should the shared document be lost. All
windows must pass; the longest is asked first, so that a slot of the shortest is used at once.
"""

from __future__ import annotations

import asyncio
import math
import time

from aiolimiter import AsyncLimiter

from enricher.answer import Held
from enricher.limits.bucket import Bucket, Reserved
from enricher.limits.pace import Pace, paces
from enricher.limits.stops import Stops
from enricher.limits.supply import LOOK_SECONDS, Slot, Supply
from enricher.limits.turns import Turns
from enricher.mongo.outage import Outage, pause
from enricher.providers.base import Window

SLACK = 0.25
"""Seconds, for the way to the vendor alone: what a local limiter lets through is used at once."""
_ASKED_TO_WAIT = "the vendor asked to wait"
PATIENCE_SECONDS = 10.0
"""Of those who wait: a longer pause is not sat out with a lead in hand."""
_ROUNDING = 1.0001
"""aiolimiter's level is a sum of floats."""


class Limiter:
    """Waits until every window has room. Also obeys pauses and holds, whoever learnt of them."""

    def __init__(
        self,
        windows: tuple[Window, ...],
        bucket: Bucket | None = None,
        outage: Outage | None = None,
    ) -> None:
        """`outage` is shared where one process has several limiters: they wait for one database."""
        self._guards = [_guard(pace) for pace in paces(windows)]
        self._own_gap = max((pace.gap(SLACK) for pace in paces(windows)), default=0.0)
        self._turns: Turns[Slot | Held] = Turns()
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._is_closed = False
        outage = outage or Outage("limits")
        self._stops = Stops(bucket, outage, self._stop)
        self._supply: Supply | None = None
        if bucket is not None:
            self._supply = Supply(bucket, outage, self._own_gap, self._learn, self._turns.fail_all)

    # -- for callers -----------------------------------------------------------------------

    async def acquire(self, urgency: float = 0.0) -> Slot | Held:
        """Wait for a slot in every window; the most urgent first, then first come first served.

        Returns the hold instead while nobody may call, and during a long pause. Raises what broke the pump; that the
        database is away breaks nothing, it is waited out. Whoever is stalled between this and its
        call finds that the slot `has_lapsed`, and acquires anew.
        """
        if self._is_closed:
            raise RuntimeError("the limiter is closed")
        if self._is_free:
            return Slot.of_now()
        turn = self._turns.join(urgency)
        self._start_pump()
        self._wake.set()
        try:
            return await turn
        except asyncio.CancelledError:
            self._leave_in_its_moment(turn)
            raise
        finally:
            self._turns.leave(turn)
            if not self._turns and self._pump is not None:
                self._pump.cancel()

    def give_back(self, slot: Slot) -> None:
        """It was not used: the next may have it, if it is soon. To be called once."""
        is_good = time.monotonic() < slot.until and slot.at >= self._stops.paused_until
        if self._supply is not None and is_good and not self.held:
            self._supply.take_back(slot)
            self._wake.set()

    @property
    def _is_free(self) -> bool:
        """Nothing limits these calls."""
        is_limited = self._guards or self._supply is not None
        return not (is_limited or self.held or self.pause_left)

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._turns)

    @property
    def urgency(self) -> float | None:
        """The highest among those that wait; `None` when nobody does."""
        return self._turns.urgency

    @property
    def expected_wait(self) -> float:
        """Seconds that a newcomer of the lowest urgency would wait now, about."""
        if self._supply is None:
            return self.pause_left + len(self._turns) * self._own_gap
        return max(self.pause_left, self._supply.expected_wait(len(self._turns)))

    async def close(self) -> None:
        """Whoever waits gets an error; what others must know is still written, if that is quick."""
        self._is_closed = True
        self._turns.fail_all(RuntimeError("the limiter is closed"))
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        if self._supply is not None:
            await self._supply.close()
        await self._stops.close()

    # -- pauses and holds ------------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        """The vendor said to wait: nobody of the fleet calls before that, whoever was told.

        Another process may still use what it has in hand: half a second's worth at most.
        """
        self._stops.pause(seconds)

    @property
    def pause_left(self) -> float:
        """Seconds until the pause is over; 0 when there is none."""
        return self._stops.pause_left

    def hold(self, held: Held) -> None:
        """Nobody of the fleet calls until the hold is over or released; of two the longer counts."""
        self._stops.hold(held)

    def release(self) -> None:
        """End the hold, for the whole fleet."""
        self._stops.release()

    def stop(self, provider: str, held: Held) -> None:
        """This provider alone is not asked by anybody of the fleet, until it is over or released."""
        self._stops.stop(provider, held)

    def stopped(self, provider: str) -> Held | None:
        """Why this provider alone is not asked."""
        return self._stops.stopped(provider)

    def look(self) -> None:
        """Ask now and then whether the hold still stands: nobody waits who would ask."""
        is_silent = self.held or self._stops.is_any_stopped or self.long_pause
        if is_silent and self._supply is not None:
            self._supply.look()

    @property
    def long_pause(self) -> Held | None:
        """A pause that nobody sits out with a lead in hand."""
        left = self.pause_left
        return Held(_ASKED_TO_WAIT, left) if left > PATIENCE_SECONDS else None

    @property
    def held(self) -> Held | None:
        """The standing hold, with the time that is left of it."""
        return self._stops.held

    def _stop(self) -> None:
        if self._supply is not None:
            self._supply.drop_before(math.inf if self.held else self._stops.paused_until)
        self._wake.set()

    def _learn(self, reserved: Reserved | None, asked_at: float) -> None:
        if reserved is not None:
            self._stops.learn(reserved, asked_at)
        self._wake.set()

    # -- the pump --------------------------------------------------------------------------

    def _start_pump(self) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._run(), name="limiter")

    async def _run(self) -> None:
        try:
            while self._turns:
                self._wake.clear()
                await self._step()
        except Exception as error:  # noqa: BLE001 - it reaches those who wait
            self._turns.fail_all(error)
        finally:
            self._pump = None
            if self._turns and not self._is_closed:  # somebody came while this one was cancelled
                self._start_pump()

    async def _step(self) -> None:
        """What is to be done next; or sleep until something is."""
        if held := self.held:
            self._turns.give_all(held)
            self.look()
        elif paused := self.long_pause:
            self._turns.give_all(paused)
            self.look()
        elif left := self.pause_left:
            await pause(self._wake, left)
        elif self._supply is None:
            await self._pass_guards()
            if not self.pause_left:  # what was granted during a pause is void
                self._turns.give(Slot.of_now())
        else:
            await self._serve(self._supply)

    async def _serve(self, supply: Supply) -> None:
        slot = supply.slot_of_now()
        supply.reserve_for(len(self._turns))
        if slot is None:
            seconds = supply.next_event(len(self._turns)) - time.monotonic()
            await pause(self._wake, min(seconds, LOOK_SECONDS))
        elif await self._passes(slot) and supply.has(slot) and self._turns.give(slot):
            supply.take(slot)

    async def _passes(self, slot: Slot) -> bool:
        """False when the guards had no room before the slot became void."""
        if slot.is_guarded:
            return True
        has_room = all(guard.has_capacity() for guard in self._guards)
        try:
            async with asyncio.timeout(None if has_room else slot.until - time.monotonic()):
                await self._pass_guards()
        except TimeoutError:
            return False
        slot.is_guarded = True
        return True

    async def _pass_guards(self) -> None:
        for guard in self._guards:
            await guard.acquire()

    def _leave_in_its_moment(self, turn: asyncio.Future[Slot | Held]) -> None:
        """A caller may be cancelled after its slot was given to it: the next may have it."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            given = turn.result()
            if isinstance(given, Slot):
                self.give_back(given)


def _guard(pace: Pace) -> AsyncLimiter:
    return AsyncLimiter(pace.burst, pace.burst * pace.gap(SLACK) * _ROUNDING)
