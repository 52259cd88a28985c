"""The slots that one process has in hand, and when it reserves more of the fleet's bucket.

It reserves for those who wait, and again when less than half the horizon is left in hand, so that
the bucket never falls behind the clock while anybody waits, and nobody waits for the database.
Where there is no slot within the horizon it asks when there may be one; a little earlier or later
each time, so that no process always comes second.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from enricher.limits.bucket import HORIZON, MOST_SLOTS, Bucket, Reserved
from enricher.mongo import DatabaseTrouble
from enricher.mongo.coalesce import until_no_more_come
from enricher.mongo.outage import Outage

SEND_SECONDS = 0.1
"""From the time when a caller gets a slot to its call."""
LOOK_SECONDS = 5.0
"""How often a process looks for what others wrote, when it would not ask for slots anyway."""
_SOONEST = 0.005
_SMOOTHING = 0.3


@dataclass(slots=True, eq=False)
class Slot:
    """A moment for one call, by the monotonic clock."""

    at: float
    until: float
    """Void for a caller after this."""
    sent_by: float
    """Void for a call after this."""
    is_guarded: bool = False
    """It has passed the local limiters already."""

    @property
    def has_lapsed(self) -> bool:
        """True when a call sent now would come late."""
        return time.monotonic() > self.sent_by

    @classmethod
    def of_now(cls) -> Slot:
        """For one that is used at once, where nothing but a local limiter was asked."""
        now = time.monotonic()
        return cls(now, now, math.inf)

    @classmethod
    def reserved(cls, at: float, life: float) -> Slot:
        return cls(at, at + life, at + life + SEND_SECONDS)


class Supply:
    """`on_news(reserved, asked_at)` gets every reply (`None`: the database is away), `on_error`
    whatever else went wrong."""

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
        self.voided = 0
        """Slots that could not be used in time, and are lost."""

    def __len__(self) -> int:
        return len(self._slots)

    def slot_of_now(self) -> Slot | None:
        """One whose time has come; those that are void are dropped."""
        now = time.monotonic()
        while self._slots and self._slots[0].until < now:
            self._slots.popleft()
            self.voided += 1
        return self._slots[0] if self._slots and self._slots[0].at <= now else None

    def has(self, slot: Slot) -> bool:
        """False when it became void meanwhile."""
        return slot in self._slots and time.monotonic() <= slot.until

    def take(self, slot: Slot) -> None:
        self._slots.remove(slot)

    def take_back(self, slot: Slot) -> None:
        slot.is_guarded = True
        self._slots.appendleft(slot)

    def drop_before(self, at: float) -> None:
        """Slots within a pause are void: spent after it, all at once, they would be one burst."""
        self._slots = deque(slot for slot in self._slots if slot.at >= at)

    def reserve_for(self, waiting: int) -> None:
        """Ask for more if it is time to; the reply comes as news."""
        self._missing = waiting - len(self._slots)
        if self._missing > 0 and self._asking is None and time.monotonic() >= self._due_at():
            self._start()

    def look(self) -> None:
        """Ask for news alone, if there was none for long."""
        if self._asking is None and time.monotonic() >= self._asked_at + LOOK_SECONDS:
            self._missing = 0
            self._start()

    def next_event(self, waiting: int) -> float:
        """When the next slot is to be used or more are to be asked for; news may come earlier."""
        event = self._slots[0].at if self._slots else math.inf
        if self._asking is None and waiting > len(self._slots):
            event = min(event, self._due_at())
        return event

    def expected_wait(self, waiting: int) -> float:
        """Seconds until one who comes after all these has a slot, at the pace of late."""
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
        """For all who have come by the time it is sent, `reserve_for` counts them."""
        await until_no_more_come(lambda: self._missing, MOST_SLOTS)
        wanted = min(max(0, self._missing), MOST_SLOTS)
        self._asked_at = asked_at = time.monotonic()
        reserved: Reserved | None = None
        try:
            reserved = await self._bucket.reserve(wanted)
        except DatabaseTrouble as error:
            self._ask_at = time.monotonic() + self._outage.failed(error)
        except Exception as error:  # noqa: BLE001 - it reaches those who wait
            self._on_error(error)
            return
        else:
            self._outage.succeeded()
            self._note(reserved, wanted)
        finally:
            self._asking = None
        self._on_news(reserved, asked_at)

    def _note(self, reserved: Reserved, wanted: int) -> None:
        now = time.monotonic()
        self._measure(reserved, now)
        more = [Slot.reserved(at, reserved.life) for at in reserved.slots]
        self._slots = deque(sorted([*self._slots, *more], key=lambda slot: slot.at))
        self._next_at, self._ask_at = reserved.next_at, now
        if len(reserved.slots) < wanted:
            due_at = reserved.next_at - HORIZON * (0.5 + 0.125 * self._random.random())
            self._ask_at = min(max(due_at, now + _SOONEST), now + LOOK_SECONDS)

    def _measure(self, reserved: Reserved, now: float) -> None:
        """Our share: how far the fleet moves on for each slot that we get."""
        if not reserved.slots:
            return
        gap = self._own_gap
        if self._granted_to > now:
            gap = max(gap, (reserved.next_at - self._granted_to) / len(reserved.slots))
        self._gap += _SMOOTHING * (gap - self._gap)
        self._granted_to = reserved.next_at
