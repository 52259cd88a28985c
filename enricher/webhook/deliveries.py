"""What of the outbox the webhook is yet to get: one delivery for each event, in the event's own document.

    webhook.due_at        when it may be tried; absent once nothing is left to do
    webhook.attempts      tries begun
    webhook.claim         who tries it now: then `due_at` is when that claim runs out
    webhook.delivered_at, webhook.given_up_at, webhook.error
    webhook.failed_at     when it first failed; absent once it is delivered

A claim raises the due time in one fenced update, as with leads, so one daemon of the fleet at a time delivers an
event; one that dies loses it to the next. **Order:** of a lead's events that are still to be delivered, only the
first may be tried. One behind an event that waits for its next try is put off until then, or many of them would stand
before all others in every search.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase

from enricher.lead import Document
from enricher.mongo.expressions import UpdateOne, id_key, in_milliseconds
from enricher.mongo.server import make_index
from enricher.queue.book import EPOCH
from enricher.queue.outbox import COLLECTION

LEASE = timedelta(seconds=60)
"""Several times what a try may take."""
MOST_COUNTED = 10_000
_MOST_OF_LEADS = 10_000
_WIDER = 4
"""How many more are looked at than may be tried: some of them come after others of the same lead."""

_WAITING: Document = {"webhook.due_at": {"$gt": EPOCH}}
_DUE: Document = {**_WAITING, "$expr": {"$lte": ["$webhook.due_at", "$$NOW"]}}
_SEEN = {"collection": 1, "lead": 1, "token": 1, "webhook": 1}
_OVER: Document = {"$unset": ["webhook.due_at", "webhook.claim"]}
_SINCE = {"$ifNull": ["$webhook.failed_at", "$$NOW"]}


@dataclass(frozen=True, slots=True)
class Waiting:
    """How the webhook stands."""

    events: int = 0
    """Not delivered yet; at most `MOST_COUNTED`."""
    oldest_seconds: float | None = None
    given_up: int = 0
    """Of those that are kept; at most `MOST_COUNTED`."""
    error: str | None = None
    """Why nothing is delivered, or else why the one that is next was not so far."""
    delivered_at: datetime | None = None
    """When the receiver last took one, as far as events are kept."""
    failing_since: datetime | None = None
    """When the first event failed since then; `None` while none did."""


class Deliveries:
    """The deliveries of all sources in a database. Every method raises DatabaseTrouble."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._events = database[COLLECTION]

    async def ensure(self) -> None:
        """Create the indexes."""
        await make_index(self._events, "webhook", "webhook.due_at", sparse=True)
        await make_index(self._events, "given_up", "webhook.given_up_at", sparse=True)
        await make_index(self._events, "delivered", "webhook.delivered_at", sparse=True)
        await make_index(self._events, "failed", "webhook.failed_at", sparse=True)

    async def take(self, most: int) -> list[Document]:
        """Claim events that are due, at most so many, and no two of one lead."""
        found = self._events.find(_DUE, _SEEN, sort=[("webhook.due_at", ASCENDING)])
        due = await found.limit(_WIDER * most).to_list()
        first = await self._first(due) if due else []
        return await self._claim([each["_id"] for each in first[:most]])

    async def _first(self, due: Sequence[Document]) -> list[Document]:
        """Return those before which no event of their lead waits; put off those behind one that waits for longer."""
        of_leads = {"lead": {"$in": [each["lead"] for each in due]}, **_WAITING}
        found = self._events.find(of_leads, _SEEN, sort=[("token", ASCENDING)])
        first: dict[tuple[str, bytes], Document] = {}
        for each in await found.to_list(_MOST_OF_LEADS):
            first.setdefault(_lead_of(each), each)
        pairs = [(each, first.get(_lead_of(each), each)) for each in due]
        put_off = [_put_off(*pair) for pair in pairs if _is_behind(*pair)]
        if put_off:
            await self._events.bulk_write(put_off, ordered=False)
        return [each for each, one in pairs if one["_id"] == each["_id"]]

    async def _claim(self, ids: Sequence[str]) -> list[Document]:
        if not ids:
            return []
        claim = uuid.uuid4().hex
        taken = {
            "due_at": in_milliseconds(LEASE),
            "claim": claim,
            "attempts": {"$add": ["$webhook.attempts", 1]},
        }
        these = {"_id": {"$in": list(ids)}}
        how = [{"$set": {"webhook": {"$mergeObjects": ["$webhook", taken]}}}]
        await self._events.update_many({**these, **_DUE}, how)
        return await self._events.find({**these, "webhook.claim": claim}).to_list()

    async def delivered(self, event: Document) -> None:
        """Note that the receiver has it."""
        done: list[Document] = [
            {"$set": {"webhook.delivered_at": "$$NOW"}},
            _OVER,
            {"$unset": ["webhook.error", "webhook.failed_at"]},
        ]
        await self._end(event, done)

    async def failed(self, event: Document, error: str, again_in: timedelta | None) -> None:
        """Note that it was not delivered, and when it is tried again; `None` for never."""
        why = {"webhook.error": {"$literal": error}, "webhook.failed_at": _SINCE}
        if again_in is None:
            await self._end(event, [{"$set": {**why, "webhook.given_up_at": "$$NOW"}}, _OVER])
            return
        later = {**why, "webhook.due_at": in_milliseconds(again_in)}
        await self._end(event, [{"$set": later}, {"$unset": ["webhook.claim"]}])

    async def give_back(
        self, event: Document, error: str, again_in: timedelta, *, is_failure: bool = False
    ) -> None:
        """Give it back, and count no try; a failure is one of the receiver's."""
        back = {
            **({"webhook.failed_at": _SINCE} if is_failure else {}),
            "webhook.error": {"$literal": error},
            "webhook.due_at": in_milliseconds(again_in),
            "webhook.attempts": {"$subtract": ["$webhook.attempts", 1]},
        }
        await self._end(event, [{"$set": back}, {"$unset": ["webhook.claim"]}])

    async def _end(self, event: Document, how: list[Document]) -> None:
        ours = {"_id": event["_id"], "webhook.claim": event["webhook"]["claim"]}
        await self._events.update_one(ours, how)

    async def waiting(self) -> Waiting:
        """Count what is not delivered."""
        counted: list[Document] = [
            {"$match": _WAITING},
            {"$limit": MOST_COUNTED},
            {"$group": {"_id": None, "events": {"$sum": 1}, "oldest": {"$min": "$at"}}},
            {"$set": {"milliseconds": {"$subtract": ["$$NOW", "$oldest"]}}},
        ]
        [found] = await (await self._events.aggregate(counted)).to_list() or [{}]
        given_up = await self._events.count_documents(
            {"webhook.given_up_at": {"$gt": EPOCH}}, limit=MOST_COUNTED
        )
        delivered = await self._one("delivered_at", DESCENDING)
        delivered_at = delivered.get("delivered_at")
        failing = await self._one("failed_at", ASCENDING, after=delivered_at)
        latest = await self._one("failed_at", DESCENDING) if failing else {}
        next_one = latest or await self._one("due_at", ASCENDING)
        return Waiting(
            events=int(found.get("events", 0)),
            oldest_seconds=max(0.0, found["milliseconds"] / 1000) if found else None,
            given_up=given_up,
            error=next_one.get("error"),
            delivered_at=delivered_at,
            failing_since=failing.get("failed_at"),
        )

    async def _one(self, name: str, order: int, after: datetime | None = None) -> Document:
        """Return what is noted of the first or last delivery by a time that has an index; empty if there is none."""
        key = f"webhook.{name}"
        found = await self._events.find_one(
            {key: {"$gt": after or EPOCH}}, {"webhook": 1}, sort=[(key, order)]
        )
        noted: Document = found["webhook"] if found else {}
        return noted


def _lead_of(event: Document) -> tuple[str, bytes]:
    return event["collection"], id_key(event["lead"])


def _is_behind(event: Document, first: Document) -> bool:
    is_waiting = "claim" not in first["webhook"]
    return bool(is_waiting and first["webhook"]["due_at"] > event["webhook"]["due_at"])


def _put_off(event: Document, first: Document) -> UpdateOne:
    as_seen = {"_id": event["_id"], "webhook.due_at": event["webhook"]["due_at"]}
    return UpdateOne(as_seen, {"$set": {"webhook.due_at": first["webhook"]["due_at"]}})
