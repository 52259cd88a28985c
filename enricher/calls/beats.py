"""Signs of life for our own flights, and the end of those that nobody wants any more.

Most calls are over before their first beat. A flight is not wanted when it was given up without an
answer, and also when it may be in the database although nobody knows (a take that failed half-way,
a caller that was cancelled): it is let go again and again until the database has done so.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document
from enricher.mongo import DatabaseTrouble
from enricher.mongo.outage import Outage, pause

_BEATS_PER_LEASE = 5
_TRIES_PER_LEASE = 20
_TIMEOUTS_PER_LEASE = 4
"""A beat on a dead connection must fail early enough for another one to get through.

Not with the driver's own time-out: with less time left than the network took at its worst moment
of late, the driver does not even send the command, and no beat would get through after an outage.
"""


@dataclass(frozen=True, slots=True)
class _Held:
    key: str
    since: float


@dataclass(frozen=True, slots=True)
class _Unwanted:
    key: str
    is_paid: bool | None
    is_useless: bool


@dataclass(slots=True)
class Beats:
    """The flights that this process holds, and those it wants to be rid of."""

    collection: AsyncCollection[Document]
    lease: float
    """Seconds without a beat until others take a flight for abandoned."""
    outage: Outage = field(default_factory=lambda: Outage("cache"))
    _held: dict[str, _Held] = field(default_factory=dict)
    """By id, as the next one."""
    _unwanted: dict[str, _Unwanted] = field(default_factory=dict)

    def hold(self, flight: str, key: str) -> None:
        """Keep it alive until it has ended or is given up."""
        self._held[flight] = _Held(key, time.monotonic())

    def ended(self, flight: str) -> None:
        """It is no longer in the database, or is not ours."""
        self._held.pop(flight, None)

    def give_up(
        self, flight: str, key: str, *, is_paid: bool | None = None, is_useless: bool = False
    ) -> None:
        """It is to go; harmless for one that never was. `is_paid`: the vendor has charged for the question
        and answers later; `None` when nothing is known about it that was not known before. `is_useless`:
        it has charged for an answer that told nothing."""
        self.ended(flight)
        self._unwanted[flight] = _Unwanted(key, is_paid, is_useless)

    async def run(self, stop: asyncio.Event) -> None:
        """Beat until told to stop, which is after the last call has ended."""
        while not stop.is_set():
            next_at = time.monotonic() + self.lease / _BEATS_PER_LEASE
            if await self._beat():
                await pause(stop, next_at - time.monotonic())
            else:
                await pause(stop, self.lease / _TRIES_PER_LEASE)
        await self._beat()

    async def _beat(self) -> bool:
        old = time.monotonic() - self.lease / _BEATS_PER_LEASE
        beats = [_beat(flight, it.key) for flight, it in self._held.items() if it.since <= old]
        if not beats and not self._unwanted:
            self.outage.forget()  # nothing waits for the database here any more
            return True
        try:
            async with asyncio.timeout(self.lease / _TIMEOUTS_PER_LEASE):
                if beats:
                    await self.collection.bulk_write(beats, ordered=False)
                await self._free()
        except (*DatabaseTrouble, TimeoutError) as error:
            self.outage.failed(error)
            return False
        self.outage.succeeded()
        return True

    async def free(self) -> None:
        """Let go of all that were given up. Raises nothing: if this fails, the next beat does it."""
        try:
            async with asyncio.timeout(self.lease / _TIMEOUTS_PER_LEASE):
                await self._free()
        except (*DatabaseTrouble, TimeoutError) as error:
            self.outage.failed(error)

    async def _free(self) -> None:
        # Taken out beforehand: one that is given up meanwhile may not have been there to let go.
        going, self._unwanted = self._unwanted, {}
        if not going:
            return
        try:
            await self.collection.bulk_write(
                [_letting_go(flight, it) for flight, it in going.items()], ordered=False
            )
        except BaseException:
            self._unwanted = going | self._unwanted
            raise


_ALIVE = {"$inc": {"flight.beat": 1}, "$currentDate": {"flight.at": True}}


def _beat(flight: str, key: str) -> UpdateOne:
    return UpdateOne({"_id": key, "flight.id": flight}, _ALIVE)


def _letting_go(flight: str, it: _Unwanted) -> UpdateOne:
    """The document stays for a while: a late answer has a place only where a question stands."""
    update: Document = {"$unset": {"flight": 1}}
    now = {"paid_at": it.is_paid is True, "useless_at": it.is_useless}
    if any(now.values()):
        update["$currentDate"] = {name: True for name, is_now in now.items() if is_now}
    if it.is_paid is False:
        update["$unset"]["paid_at"] = 1
    return UpdateOne({"_id": it.key, "flight.id": flight}, update)
