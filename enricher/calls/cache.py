"""The cache: what vendors answered, raw, for all daemons and for as long as it is good.

An answer is stored before anything else is done with it, so a crash does not pay for it twice, and
like a settle it is tried until the database gives a definite answer. It is the vendor's reply and
not our reading of it: a provider that learns to read more of it does so without a call.

The same documents hold the flights (calls/flights.py). An answer beats a flight, whoever has it,
and the last answer wins: each was paid for. Only a question that was forgotten stays so; a reply
that comes in after it is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from loguru import logger
from pymongo import DeleteOne, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from enricher.answer import Reply
from enricher.calls.answers import COLLECTION, Standing, is_storable, pack, read
from enricher.calls.flights import Flight, Flights
from enricher.lead import Document
from enricher.mongo import DatabaseTrouble, expiry
from enricher.mongo.coalesce import Coalescer
from enricher.mongo.expressions import in_milliseconds
from enricher.mongo.outage import Outage
from enricher.mongo.refusal import refusals

__all__ = ["COLLECTION", "Cache", "Flight"]

INDEX = "enricher_answers_expiry"
_LONGEST_LEASE_SECONDS = 5.0
_LARGEST_BATCH = 200


@dataclass(frozen=True, slots=True)
class _Answer:
    flight: Flight
    reply: Document
    lasts: timedelta


class Cache:
    """The answers and flights of one fleet, seen by one process. Concurrent calls share round trips."""

    def __init__(
        self, database: AsyncDatabase[Document], holder: str, lease_seconds: float
    ) -> None:
        """`holder` names the process, for people; its flights are abandoned after 5 s at most."""
        self._collection = database[COLLECTION]
        self._flights = Flights(
            self._collection, holder, min(_LONGEST_LEASE_SECONDS, lease_seconds)
        )
        self._looking = Coalescer("cache-look", self._look, _LARGEST_BATCH)
        self._keeping = Coalescer("cache-keep", self._keep, _LARGEST_BATCH)
        self.take = self._flights.take
        self.wait = self._flights.wait
        self.let_go = self._flights.let_go
        self.run = self._flights.beats.run

    @property
    def outage(self) -> Outage:
        """For the readiness check."""
        return self._flights.beats.outage

    async def ensure(self) -> None:
        """Have expired answers deleted. A user who may not is told so; the work goes on."""
        await expiry.ensure(self._collection, INDEX)

    async def look(self, key: str, newer_than: datetime | None = None) -> Reply | None:
        """The stored reply, if it is still good and came after `newer_than`."""
        return (await self.standing(key)).answer(newer_than)

    async def standing(self, key: str) -> Standing:
        """How the question stands."""
        return await self._looking.submit(key)

    async def keep(self, flight: Flight, reply: Reply, lasts: timedelta) -> None:
        """Store the reply for so long and end the flight. Raises nothing that the database does.

        It waits an outage out. Whoever stops waiting for it may do so: it is stored all the same.
        """
        packed = pack(reply)
        if not is_storable(packed):
            logger.bind(question=flight.key, status=reply.status).error("cache.too_large")
            await self.let_go(flight)
            return
        await self._keeping.submit(_Answer(flight, packed, lasts))

    async def forget(self, keys: Collection[str]) -> int:
        """Delete these questions; the reply to one that is under way is dropped when it comes in.

        Returns how many there were, those without an answer included.
        """
        if not keys:
            return 0
        deletions = [DeleteOne({"_id": key}) for key in keys]
        result = await self._collection.bulk_write(deletions, ordered=False)
        return result.deleted_count

    # -- coalesced ---------------------------------------------------------------------------

    async def _look(self, keys: Sequence[str]) -> Sequence[Standing]:
        standings = await read(self._collection, keys)
        return [standings.get(key, Standing()) for key in keys]

    async def _keep(self, batch: Sequence[_Answer]) -> Sequence[None]:
        while True:
            try:
                await self._store(batch)
            except DatabaseTrouble as error:
                await asyncio.sleep(self.outage.failed(error))
            else:
                self.outage.succeeded()
                return [None] * len(batch)

    async def _store(self, batch: Sequence[_Answer]) -> None:
        refused: dict[int, int] = {}
        try:
            await self._collection.bulk_write([_update(answer) for answer in batch], ordered=False)
        except BulkWriteError as error:
            refused = {each.position: each.code for each in refusals(error)}
        for number, answer in enumerate(batch):
            self._flights.beats.ended(answer.flight.id)
            if number in refused:
                logger.bind(question=answer.flight.key, code=refused[number]).error("cache.refused")
                self._flights.beats.give_up(answer.flight.id, answer.flight.key)


def _update(answer: _Answer) -> UpdateOne:
    """No upsert: what was forgotten meanwhile is not to come back."""
    expires_at = in_milliseconds(answer.lasts)
    is_ours = {"$eq": ["$flight.id", {"$literal": answer.flight.id}]}
    stored = {
        "_id": "$_id",
        "provider": "$provider",
        "expires_at": {"$max": [expires_at, {"$cond": [is_ours, None, "$expires_at"]}]},
        "reply": {
            "$mergeObjects": [{"$literal": answer.reply}, {"at": "$$NOW", "expires_at": expires_at}]
        },
        "flight": {"$cond": [is_ours, "$$REMOVE", "$flight"]},
    }
    return UpdateOne({"_id": answer.flight.key}, [{"$replaceWith": stored}])
