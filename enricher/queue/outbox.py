"""The outbox: one event for each settle that a reader can notice, and none for a settle that did not take place.

A settle is one update of many leads (`settle.py`), and no transaction spans it and the events. So three steps do:

    draft      one document with the events of the whole batch, before the settle
    settle     the one fenced write; each lead notes the id of its event in its book-keeping with it
    publish    insert the events of those that were written, then delete the draft

A daemon that dies in between leaves its draft behind, and whoever finds it judges each event by its lead:

    the lead notes it                the settle took place: it is published
    in work, under the same claim    the settle may still come: it is looked at again later
    anything else                    the fence keeps that settle from ever being written: it is dropped

An event's id follows from its lead and the claim, so publishing it a second time changes nothing. **The order** of a
lead's events is that of its settles: a note is only written over when its event is published, since a settle first
judges the drafts that name one of its leads. Only a lead that was claimed before can be named by one.

Events are thin: they name a lead and the fields that changed, and hold nothing of what stands there. Documents are
only inserted here, and go at their `expires_at`; with a webhook, `webhook` holds what became of the delivery.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import bson
from bson import ObjectId
from loguru import logger
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from enricher.answer import Kind
from enricher.fields import Names
from enricher.lead import STATUS_OF, Document, LeadId, Lease, Outcome, Rechecked, Retrying, Status
from enricher.mongo import DatabaseTrouble
from enricher.mongo.expressions import id_key, whole
from enricher.mongo.outage import Outage, pause
from enricher.mongo.server import let_expire, make_index
from enricher.queue import book
from enricher.queue.inputs import text_or_null
from enricher.queue.leads import Leads
from enricher.telemetry import metrics
from enricher.values.merge import SOCIAL
from enricher.values.storable import mapping

COLLECTION = "enricher_events"
DRAFTS = "enricher_event_drafts"
NOTE = "event"
"""Field of the book-keeping: the id of the event of the last settle, and the status that was written."""

_SECTIONS = (*(kind.section for kind in Kind), SOCIAL)
_MOST_CHANGED = 200
_DUPLICATE = 11000
_ID_DIGITS = 32
_EVERY_SECONDS = 5.0
_MOST_DRAFTS = 10_000
_FEW = 10
"""A draft may be a megabyte."""
_HOPELESS_SECONDS = 86_400.0
"""A lead that has been in work under one claim for so long is one that nobody writes any more (`enricher_fatal`)."""


def event_id(collection: str, lease: Lease) -> str:
    """PURE Return the id: the same however often the settle is tried, and by whom."""
    said = {"in": collection, "of": lease.lead_id, "by": lease.claim_id, "token": lease.token}
    return f"evt_{hashlib.sha256(bson.encode(said)).hexdigest()[:_ID_DIGITS]}"


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """PURE Return the names of the fields that are new or different, as `company_data.name`."""
    names = [name for section in _SECTIONS for name in _changed_in(section, before, after)]
    return names[:_MOST_CHANGED]


def _changed_in(section: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    was, now = mapping(before.get(section)), mapping(after.get(section))
    for name in {**was, **now}:
        if was.get(name) != now.get(name):
            yield f"{section}.{name}"


@dataclass(slots=True)
class Outbox:
    """The events of one source. Unless said otherwise, methods raise DatabaseTrouble."""

    leads: Leads
    now: Callable[[], datetime]
    kept: timedelta
    ring: Callable[[], None] | None = None
    """Called when there is something for the webhook; `None` where there is none."""
    outage: Outage = field(default_factory=lambda: Outage("outbox"))
    every_seconds: float = _EVERY_SECONDS
    random: Random = field(default_factory=Random)
    _seen: dict[Any, float] = field(init=False, default_factory=dict)
    """Drafts that the last look found, with the time at which each was first seen."""

    @property
    def collection(self) -> str:
        """The name of the leads' collection."""
        return self.leads.of_writers.name

    @property
    def events(self) -> AsyncCollection[Document]:
        return self.leads.collection.database[COLLECTION]

    @property
    def drafts(self) -> AsyncCollection[Document]:
        return self.leads.collection.database[DRAFTS]

    async def ensure(self) -> None:
        """Create the indexes; without the privilege events stay for good."""
        await let_expire(self.events, "expiry")
        await make_index(self.events, "lead", "lead", "token")

    # -- what a settle does ----------------------------------------------------------------

    def event(self, lease: Lease, outcome: Outcome) -> Document | None:
        """PURE Return the event of this settle; `None` for one that changes nothing for readers: a lead that goes on
        waiting or was looked at again, and for which nothing was found since."""
        # A claim that ended without a settle may have stored some of it already.
        is_untold = lease.lead.interruptions or lease.lead.is_untold
        before = {} if is_untold else lease.lead.enriched_data
        fields = changed(before, outcome.data) if outcome.data else []
        if isinstance(outcome, Retrying | Rechecked) and not fields:
            return None
        at = self.now()
        due = {"webhook": {"due_at": at, "attempts": 0}} if self.ring else {}
        return {
            "_id": event_id(self.collection, lease),
            "collection": self.collection,
            "lead": lease.lead_id,
            "status": STATUS_OF[type(outcome)].value,
            "changed": fields,
            "attempt": lease.lead.attempt,
            "token": lease.token,
            "claim_id": lease.claim_id,
            "at": at,
            "expires_at": at + self.kept,
            **due,
        }

    async def draft(self, leases: Iterable[Lease], events: Sequence[Document]) -> Any:
        """Write down the events of a batch that is about to be settled; return what `publish` deletes."""
        await self._judge_earlier([each.lead_id for each in leases if each.token > 1])
        if not events:
            return None
        # A lead that a transaction holds is tried again and again: all tries have one draft.
        id_ = events[0]["_id"] if len(events) == 1 else ObjectId()
        with suppress(DuplicateKeyError):
            await self.drafts.insert_one(
                {"_id": id_, "collection": self.collection, "events": events}
            )
        return id_

    async def publish(
        self, draft: Any, events: Sequence[Document], *, is_whole: bool = True
    ) -> None:
        """Publish the events of what was written; what else the draft holds is judged by its leads, soon. Raises no
        database error: a draft that stays is found again."""
        if draft is None:
            return
        try:
            await self._publish(events, "settle")
            if is_whole:
                await self.drafts.delete_one({"_id": draft})
        except PyMongoError as error:
            self.outage.failed(error)
        else:
            self.outage.succeeded()

    async def _publish(self, events: Sequence[Document], by: str) -> int:
        """Insert those that are not there yet; return how many that were."""
        if not events:
            return 0
        new = len(events)
        try:
            await self.events.insert_many(map(_published, events), ordered=False)
        except BulkWriteError as error:
            refused = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or any(
                each["code"] != _DUPLICATE for each in refused
            ):
                raise
            new -= len(refused)
        metrics.EVENTS_PUBLISHED.labels(by).inc(new)
        if self.ring is not None:
            self.ring()
        return new

    # -- drafts that were left behind ------------------------------------------------------

    async def _judge_earlier(self, ids: Collection[LeadId]) -> None:
        """Publish what earlier settles of these leads left in drafts, before the note of it is written over."""
        if not ids:
            return
        named = {"collection": self.collection, "events.lead": {"$in": list(ids)}}
        async with self.drafts.find(named, batch_size=_FEW) as found:
            async for draft in found:
                await self._judge(draft)

    async def run(self, stop: asyncio.Event) -> None:
        """Look for drafts that were left behind, until told to stop."""
        while not stop.is_set():
            await pause(stop, self.every_seconds * (0.8 + 0.4 * self.random.random()))
            try:
                await self.sweep()
            except DatabaseTrouble as error:
                await pause(stop, self.outage.failed(error))
            else:
                self.outage.succeeded()

    async def sweep(self) -> None:
        """Judge the drafts that were there at the last look, too: younger ones are most likely being settled."""
        now = time.monotonic()
        found = self.drafts.find({"collection": self.collection}, {"_id": 1})
        there = [each["_id"] for each in await found.to_list(_MOST_DRAFTS)]
        for id_ in there:
            if id_ not in self._seen:
                continue
            draft = await self.drafts.find_one({"_id": id_})
            if draft is not None and (
                await self._judge(draft) or now - self._seen[id_] > _HOPELESS_SECONDS
            ):
                await self.drafts.delete_one({"_id": id_})
        self._seen = {id_: self._seen.get(id_, now) for id_ in there}

    async def _judge(self, draft: Document) -> bool:
        """Publish the events of settles that took place; return whether no other of them can still come."""
        events = draft["events"]
        ids = [each["lead"] for each in events]
        queue, names = whole(self.leads.collection), self.leads.names
        found = queue.find({"_id": {"$in": ids}}, _standing(names))
        standing = {id_key(each["_id"]): each for each in await found.to_list()}
        of_leads = [(each, standing.get(id_key(each["lead"]), {})) for each in events]
        left = [_as_noted(*each) for each in of_leads if _is_noted(*each)]
        if new := await self._publish(left, "sweep"):
            logger.bind(events=new).info("outbox.recovered")
        return not any(_is_in_work(*each) for each in of_leads)


async def forget(database: AsyncDatabase[Document], leads: str, ids: Sequence[LeadId]) -> None:
    """Delete all events of these leads of a collection, published or not. Raises DatabaseTrouble."""
    ids = list(ids)
    named = {"collection": leads, "events.lead": {"$in": ids}}
    drafted = {"$pull": {"events": {"lead": {"$in": ids}}}}
    await database[DRAFTS].update_many(named, drafted)
    await database[COLLECTION].delete_many({"collection": leads, "lead": {"$in": ids}})


def note(event: Document) -> Document:
    """PURE Return what a settle notes of its event on the lead."""
    return {"id": event["_id"], "status": event["status"]}


def _published(event: Document) -> Document:
    return {name: value for name, value in event.items() if name != "claim_id"}


def _standing(names: Names) -> Document:
    return {
        "status": text_or_null(f"${names.enrichment_status}"),
        "claim_id": text_or_null(book.noted(names, "claim_id")),
        "token": book.token(names),
        "noted": text_or_null(book.noted(names, f"{NOTE}.id")),
        "noted_status": text_or_null(book.noted(names, f"{NOTE}.status")),
    }


def _is_noted(event: Document, lead: Document) -> bool:
    return bool(lead.get("noted") == event["_id"])


def _as_noted(event: Document, lead: Document) -> Document:
    """Return the event with the status that was written: of a refused result, the failure stands there instead."""
    status = lead.get("noted_status")
    if status in (event["status"], None):
        return event
    return {**event, "status": status, "changed": []}


def _is_in_work(event: Document, lead: Document) -> bool:
    is_same = lead.get("token") == event["token"] and lead.get("claim_id") == event["claim_id"]
    return is_same and lead.get("status") == Status.PROCESSING
