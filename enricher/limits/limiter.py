"""Rate limits: several windows for one provider, none of them ever exceeded.

The fleet shares each vendor's limit through a bucket in MongoDB (`limits/bucket.py`). While callers wait,
a pump reserves slots ahead, at most half a second's worth and no more than there are waiters, and gives
each at its time to the most urgent waiter. So a lone caller pays one round trip, and under load no caller
waits for the database. A slot that could not be used soon after its time is void: after a stall, all the
missed slots would be one late burst.

`Stops` are why no daemon may call one vendor now: a pause it asked for, or a hold. The whole fleet shares
them: what one process is told takes effect there at once and is written to the bucket in the background; the
others learn of it with their next reservation.

Where no fleet shares the limit (a provider without a bucket), `aiolimiter` paces this process alone: one
leaky bucket for each window, the longest first, so that a slot of the shortest is used at once. It does
not stand behind the fleet's bucket as well: a process knows only its own calls, so it made no difference
when the bucket's document was deleted or put back under load (`docs/decisions/buckets.md`). What keeps
the windows then is that each process remembers the bucket.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import Generic, TypeVar

from aiolimiter import AsyncLimiter

from enricher.answer import Held
from enricher.catalogue import Window
from enricher.limits.bucket import (
    HORIZON,
    LIFE,
    LONGEST_PAUSE,
    MOST_SLOTS,
    Bucket,
    Pace,
    Reserved,
    paces,
)
from enricher.mongo import DatabaseTrouble
from enricher.mongo.batch import until_no_more_come
from enricher.mongo.outage import Outage, pause

# Why no daemon may call one vendor now: a pause it asked for, a hold, or a stop.

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
        """Seconds until the pause is over; 0 when there is none, which is nearly always."""
        return max(0.0, self.paused_until - time.monotonic()) if self.paused_until else 0.0

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
        if self._hold is None:
            return None
        left = self._held_until - time.monotonic()
        return Held(self._hold.reason, left) if left > 0 else None

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
        """Adopt what the bucket says, except where this process has news that it has not written yet. A stop counts
        in any case: the slots that came with it must not be used."""
        now = time.monotonic()
        stops = {name: (held, now + held.seconds) for name, held in reserved.stopped.items()}
        if reserved.paused_until > now:
            self._pause_until(reserved.paused_until)
        if self._untold or asked_at <= self._told_at:
            ours = self._stopped.items()
            longer = {name: stop for name, stop in ours if stop[1] > stops.get(name, stop)[1]}
            self._stopped |= stops | longer
            return
        if self.paused_until - reserved.paused_until > _CLOCKS_APART:
            self.paused_until = reserved.paused_until  # the start of a daemon ends a long one
        self._hold = None
        if reserved.held:
            self._hold_for(reserved.held)
        self._stopped = stops

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


# Whose turn is next: the most urgent waiter's, and among equals the first comer's.
#
# Every tenth turn goes to the caller that has waited longest, regardless of urgency: behind an endless
# stream of more urgent ones it would otherwise wait until its time is up.

Result = TypeVar("Result")

_FEW = 16
_LONGEST_WAITER_EVERY = 10


class Turns(Generic[Result]):
    """A queue of futures. A caller that joins awaits its future, and leaves whatever came of it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, asyncio.Future[Result]]] = []
        self._by_age: OrderedDict[asyncio.Future[Result], None] = OrderedDict()
        """Those who wait, in the order in which they came. Whoever is only in the heap has left."""
        self._joined = self._given = 0

    def __len__(self) -> int:
        return len(self._by_age)

    @property
    def urgency(self) -> float | None:
        """The highest urgency among the waiters; `None` without any."""
        return -self._heap[0][0] if self._most_urgent() else None

    def join(self, urgency: float) -> asyncio.Future[Result]:
        turn: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        rank = -urgency if urgency == urgency else float("inf")  # noqa: PLR0124 - NaN has no order
        self._joined += 1
        heapq.heappush(self._heap, (rank, self._joined, turn))
        self._by_age[turn] = None
        return turn

    def leave(self, turn: asyncio.Future[Result]) -> None:
        """Remove the turn. Safe to repeat, and after the turn has come."""
        self._by_age.pop(turn, None)
        # Without this, abandoned turns would pile up deep in the heap while more urgent ones come and go.
        if len(self._heap) > 2 * len(self._by_age) + _FEW:
            self._heap = [entry for entry in self._heap if entry[2] in self._by_age]
            heapq.heapify(self._heap)

    def give(self, result: Result) -> bool:
        """Give the result to the next in turn; False when no caller waits."""
        turn = self._most_urgent()
        if turn is None:
            return False
        self._given += 1
        if self._given % _LONGEST_WAITER_EVERY == 0:
            turn = next(each for each in self._by_age if not each.done())
        del self._by_age[turn]
        turn.set_result(result)
        return True

    def give_all(self, result: Result) -> None:
        while self.give(result):
            pass

    def fail_all(self, error: Exception) -> None:
        for turn in self._by_age:
            if not turn.done():
                turn.set_exception(error)
        self._heap.clear()
        self._by_age.clear()

    def _most_urgent(self) -> asyncio.Future[Result] | None:
        """Return the turn at the top of the heap, once those who left it are out of the way."""
        while self._heap:
            turn = self._heap[0][2]
            if turn in self._by_age and not turn.done():
                return turn
            heapq.heappop(self._heap)
        return None


# The slots that one process has in hand, and when it reserves more from the fleet's bucket.
#
# It reserves for its waiters, and again when less than half the horizon is left in hand, so that the bucket
# never falls behind the clock while callers wait, and no caller waits for the database. When there is no
# slot within the horizon, it asks again around the time when there may be one; slightly earlier or later
# each time, so that no process always comes second.
#
# While the limit has room and callers come fast, it reserves some for those who are about to come, too: the
# bucket is one document for the whole fleet, and would be written for every few calls. Under pressure it does
# not: a slot that nobody used is lost to the others.

SEND_SECONDS = 0.1
"""From the moment a caller gets a slot to its call."""
LOOK_SECONDS = 5.0
"""How often a process looks for what others wrote when it has no slots to ask for."""
_SOONEST = 0.005
_SMOOTHING = 0.3
_AHEAD_SECONDS = LIFE
"""For the callers of this time slots are reserved ahead: a slot at once is good for as long."""
_WORTH_IT = 4
"""Callers in that time: fewer get their slots as they come."""


@dataclass(slots=True, eq=False)
class Slot:
    """A moment for one call, by the monotonic clock."""

    at: float
    until: float
    """Void for a caller after this."""
    sent_by: float
    """Void for a call after this."""

    @property
    def has_lapsed(self) -> bool:
        """True when a call sent now would come late."""
        return time.monotonic() > self.sent_by

    @classmethod
    def of_now(cls) -> Slot:
        """Return a slot to be used at once, where the fleet's bucket was not asked."""
        now = time.monotonic()
        return cls(now, now, math.inf)

    @classmethod
    def reserved(cls, at: float, life: float) -> Slot:
        return cls(at, at + life, at + life + SEND_SECONDS)


_BY_TIME = attrgetter("at")


class Supply:
    """Reserves slots and keeps them until they are used.

    `on_news(reserved, asked_at)` gets every reply (`None`: the database is away), `on_error` any other
    error.
    """

    def __init__(
        self,
        bucket: Bucket,
        outage: Outage,
        own_gap: float,
        on_news: Callable[[Reserved | None, float], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._bucket = bucket
        self._outage = outage
        self._on_news = on_news
        self._on_error = on_error
        self._slots: deque[Slot] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._missing = 0
        self._asked_at = -math.inf
        self._ask_at = self._next_at = self._granted_to = 0.0
        self._gap = self._own_gap = own_gap
        self._random = Random()
        self._taken = 0
        self._counted_at = 0.0
        self._rate = 0.0
        """Callers a second, of late."""
        self.voided = 0
        """Slots that could not be used in time and are lost."""

    def __len__(self) -> int:
        return len(self._slots)

    def slot_of_now(self) -> Slot | None:
        """Return a slot whose time has come; void ones are dropped."""
        now = time.monotonic()
        while self._slots and self._slots[0].until < now:
            self._slots.popleft()
            self.voided += 1
        return self._slots[0] if self._slots and self._slots[0].at <= now else None

    def take(self) -> None:
        """Take the slot whose time has come."""
        self._slots.popleft()
        self._taken += 1

    def take_back(self, slot: Slot) -> None:
        self._slots.appendleft(slot)

    def drop_before(self, at: float) -> None:
        """Void the slots within a pause: spent after it, all at once, they would be a burst."""
        self._slots = deque(slot for slot in self._slots if slot.at >= at)

    def reserve_for(self, waiting: int) -> None:
        """Reserve more slots if it is time to; the reply comes as news."""
        self._missing = waiting - len(self._slots)
        if self._missing > 0 and self._asking is None and time.monotonic() >= self._due_at():
            self._start()

    def look(self) -> None:
        """Ask for news only, if there has been none for `LOOK_SECONDS`."""
        if self._asking is None and time.monotonic() >= self._asked_at + LOOK_SECONDS:
            self._missing = 0
            self._start()

    def next_event(self, waiting: int) -> float:
        """Return when the next slot is due or more are to be reserved; news may come earlier."""
        event = self._slots[0].at if self._slots else math.inf
        if self._asking is None and waiting > len(self._slots):
            event = min(event, self._due_at())
        return event

    def expected_wait(self, waiting: int) -> float:
        """Estimated wait in seconds for a caller behind all these, at the recent grant rate."""
        now, behind = time.monotonic(), waiting - len(self._slots)
        if behind < 0:
            return max(0.0, self._slots[waiting].at - now)
        is_saturated = self._next_at > now
        return self._next_at - now + behind * self._gap if is_saturated else 0.0

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _due_at(self) -> float:
        last = self._slots[-1].at - HORIZON / 2 if self._slots else -math.inf
        return max(self._ask_at, last)

    def _start(self) -> None:
        self._asking = asyncio.create_task(self._ask(), name="reserve-slots")

    async def _ask(self) -> None:
        """Reserve for all that have come by the time the request is sent, as `reserve_for` counts them."""
        await until_no_more_come(lambda: self._missing, MOST_SLOTS)
        self._measure_rate()
        missing = min(max(0, self._missing), MOST_SLOTS)
        wanted = min(missing + self._expected(), MOST_SLOTS) if missing else 0
        self._asked_at = asked_at = time.monotonic()
        reserved: Reserved | None = None
        try:
            reserved = await self._bucket.reserve(wanted)
        except DatabaseTrouble as error:
            self._ask_at = time.monotonic() + self._outage.failed(error)
        except Exception as error:  # noqa: BLE001 - it reaches the waiters
            self._on_error(error)
            return
        else:
            self._outage.succeeded()
            self._note(reserved, missing)
        finally:
            self._asking = None
        self._on_news(reserved, asked_at)

    def _expected(self) -> int:
        """Return how many callers are about to come, while the limit has room for them."""
        expected = int(self._rate * _AHEAD_SECONDS)
        has_room = self._next_at <= time.monotonic()
        return expected if expected >= _WORTH_IT and has_room else 0

    def _measure_rate(self) -> None:
        now = time.monotonic()
        passed = now - self._counted_at
        if passed > _AHEAD_SECONDS / 2:
            weight = _SMOOTHING if passed < 1 else 1.0
            self._rate += weight * (self._taken / passed - self._rate)
            self._taken, self._counted_at = 0, now

    def _note(self, reserved: Reserved, missing: int) -> None:
        now = time.monotonic()
        self._measure(reserved, now)
        more = [Slot.reserved(at, reserved.life) for at in reserved.slots]
        self._slots = deque(sorted([*self._slots, *more], key=_BY_TIME))
        self._next_at, self._ask_at = reserved.next_at, now
        if len(reserved.slots) < missing:
            due_at = reserved.next_at - HORIZON * (0.5 + 0.125 * self._random.random())
            self._ask_at = min(max(due_at, now + _SOONEST), now + LOOK_SECONDS)

    def _measure(self, reserved: Reserved, now: float) -> None:
        """Measure our share: how far the fleet moves on for each slot that we get."""
        if not reserved.slots:
            return
        gap = self._own_gap
        if self._granted_to > now:
            gap = max(gap, (reserved.next_at - self._granted_to) / len(reserved.slots))
        self._gap += _SMOOTHING * (gap - self._gap)
        self._granted_to = reserved.next_at


_ASKED_TO_WAIT = "the vendor asked to wait"
PATIENCE_SECONDS = 10.0
"""Leads in work do not sit out a longer pause."""
_ROUNDING = 1.0001
"""aiolimiter's level is a sum of floats."""


class Limiter(Stops):
    """Waits until every window has room. Also obeys pauses and holds, whichever daemon learnt of them."""

    def __init__(
        self,
        windows: tuple[Window, ...],
        bucket: Bucket | None = None,
        outage: Outage | None = None,
    ) -> None:
        """`outage` is shared where one process has several limiters: they wait for one database."""
        outage = outage or Outage("limits")
        super().__init__(bucket, outage)
        self._pacers = [_pacer(pace) for pace in paces(windows)] if bucket is None else []
        self._own_gap = max((pace.gap for pace in paces(windows)), default=0.0)
        self._turns: Turns[Slot | Held] = Turns()
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._is_closed = False
        self._supply: Supply | None = None
        if bucket is not None:
            self._supply = Supply(bucket, outage, self._own_gap, self._learn, self._turns.fail_all)

    # -- for callers -----------------------------------------------------------------------

    async def acquire(self, urgency: float = 0.0) -> Slot | Held:
        """Wait for a slot in every window; the most urgent first, then first come first served.

        Returns the hold instead while no call is allowed, and during a long pause. Raises what broke the
        pump; an unreachable database breaks nothing, it is waited out. A caller that stalls between this
        and its call finds that the slot `has_lapsed`, and acquires a new one.
        """
        if self._is_closed:
            raise RuntimeError("the limiter is closed")
        if at_once := self._slot_at_once():
            return at_once
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
            if self._pump is not None and not self._turns:
                self._pump.cancel()

    def give_back(self, slot: Slot) -> None:
        """Return an unused slot, for the next caller if it comes soon. Call this once per slot."""
        is_good = time.monotonic() < slot.until and slot.at >= self.paused_until
        if self._supply is not None and is_good and not self.held:
            self._supply.take_back(slot)
            self._wake.set()

    def _slot_at_once(self) -> Slot | None:
        """Return a slot that is in hand while nobody waits for one and nothing stops the calls."""
        if self._turns or self.held or self.pause_left:
            return None
        if self._supply is None:
            return None if self._pacers else Slot.of_now()
        if slot := self._supply.slot_of_now():
            self._supply.take()
        return slot

    @property
    def waiting(self) -> int:
        """How many callers wait for a slot."""
        return len(self._turns)

    @property
    def urgency(self) -> float | None:
        """The highest urgency among the waiters; `None` without any."""
        return self._turns.urgency

    @property
    def expected_wait(self) -> float:
        """Estimated seconds that a new caller of the lowest urgency would wait now."""
        if self._supply is None:
            return self.pause_left + len(self._turns) * self._own_gap
        return max(self.pause_left, self._supply.expected_wait(len(self._turns)))

    async def close(self) -> None:
        """Fail all waiters; news for the other processes is still written, if that is quick."""
        self._is_closed = True
        self._turns.fail_all(RuntimeError("the limiter is closed"))
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        if self._supply is not None:
            await self._supply.close()
        await super().close()

    # -- pauses and holds ------------------------------------------------------------------

    def look(self) -> None:
        """Ask occasionally whether the hold still stands: no waiting caller would otherwise ask."""
        is_silent = self.held or self.is_any_stopped or self.long_pause
        if is_silent and self._supply is not None:
            self._supply.look()

    @property
    def long_pause(self) -> Held | None:
        """A pause too long for a lead in work to sit out."""
        left = self.pause_left
        return Held(_ASKED_TO_WAIT, left) if left > PATIENCE_SECONDS else None

    def _on_stop(self) -> None:
        if self._supply is not None:
            self._supply.drop_before(math.inf if self.held else self.paused_until)
        self._wake.set()

    def _learn(self, reserved: Reserved | None, asked_at: float) -> None:
        if reserved is not None:
            self.learn(reserved, asked_at)
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
        except Exception as error:  # noqa: BLE001 - it reaches the waiters
            self._turns.fail_all(error)
        finally:
            self._pump = None
            if self._turns and not self._is_closed:  # a caller joined during the cancellation
                self._start_pump()

    async def _step(self) -> None:
        """Do what is next, or sleep until something is."""
        if held := self.held:
            self._turns.give_all(held)
            self.look()
        elif paused := self.long_pause:
            self._turns.give_all(paused)
            self.look()
        elif left := self.pause_left:
            await pause(self._wake, left)
        elif self._supply is None:
            for pacer in self._pacers:
                await pacer.acquire()
            if not self.pause_left:  # what was granted during a pause is void
                self._turns.give(Slot.of_now())
        else:
            await self._serve(self._supply)

    async def _serve(self, supply: Supply) -> None:
        """Give out the slots whose time has come, and wait until there may be more."""
        while self._turns and (slot := supply.slot_of_now()):
            if not self._turns.give(slot):
                await asyncio.sleep(0)  # lets cancelled callers leave
                return
            supply.take()
        waiting = len(self._turns)
        supply.reserve_for(waiting)
        if waiting:
            seconds = supply.next_event(waiting) - time.monotonic()
            await pause(self._wake, min(seconds, LOOK_SECONDS))

    def _leave_in_its_moment(self, turn: asyncio.Future[Slot | Held]) -> None:
        """Return the slot of a caller that was cancelled right after getting it, so that the next may have it."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            given = turn.result()
            if isinstance(given, Slot):
                self.give_back(given)


def _pacer(pace: Pace) -> AsyncLimiter:
    return AsyncLimiter(pace.burst, pace.burst * pace.gap * _ROUNDING)
