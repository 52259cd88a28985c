"""Leads that stood there before the first start: nobody's work until somebody asks.

A lead without a status is either new and not yet admitted, or history. An insert event says which;
where there is no such event (a gap in the stream, no stream at all, a whole document replaced) the
two look alike. So the ids of the leads without a status are put on record once, at the first
start, by the server itself; the leads are not touched. Any other test would guess: not every `_id`
holds a time, and one that does holds the clock of whoever made it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.command_cursor import AsyncCommandCursor

from enricher.lead import Document, LeadId, Status
from enricher.store.book import EPOCH, STRAY, id_key

_BATCH = 1000
_SEARCH_SECONDS = 3600.0
"""In place of the usual bound on an operation: here the server reads every lead without a status."""
_WITHOUT_STATUS: Document = {"enrichment_status": None}
_KEY = {"of": "$_id"}
"""On record an id stands inside a document: by itself it may be null, which `$merge` refuses."""


def collection_name(leads: str) -> str:
    """Where the ids of a leads collection's history are kept."""
    return f"enricher_history_{leads}"


class History:
    """The record, and the search for leads that are neither on it nor admitted."""

    def __init__(self, leads: AsyncCollection[Document]) -> None:
        self._leads = leads
        self._record = leads.database[collection_name(leads.name)]

    async def record(self) -> int:
        """Write down every lead without a status. Returns how many are on record."""
        into = {"$merge": {"into": self._record.name, "whenMatched": "keepExisting"}}
        stages = [{"$match": _WITHOUT_STATUS}, {"$project": {"_id": _KEY}}, into]
        with pymongo.timeout(_SEARCH_SECONDS):
            await (await self._leads.aggregate(stages)).to_list()
        return await self._record.estimated_document_count()

    async def is_gone(self) -> bool:
        """True when nothing is on record: there was nothing, or somebody dropped it."""
        return await self._record.find_one({}, {"_id": 1}) is None

    async def without(self, ids: Collection[LeadId]) -> list[LeadId]:
        """The given ids less those on record."""
        keys = [{"of": id_} for id_ in ids]
        known = await self._record.find({"_id": {"$in": keys}}).to_list()
        on_record = {id_key(document["_id"]["of"]) for document in known}
        return [id_ for id_ in ids if id_key(id_) not in on_record]

    async def unadmitted(self) -> AsyncGenerator[list[LeadId], None]:
        """Batches of ids of leads that should have been admitted and were not."""
        for stages in (self._never_seen(), _found(_NEVER_RANKED), _found(STRAY)):
            with pymongo.timeout(_SEARCH_SECONDS):
                cursor = await self._leads.aggregate(stages, batchSize=_BATCH)
            async with cursor:
                while batch := await _next_batch(cursor):
                    yield batch

    def _never_seen(self) -> list[Document]:
        on_record = {
            "from": self._record.name,
            "localField": "key",
            "foreignField": "_id",
            "as": "record",
        }
        return [
            {"$match": _WITHOUT_STATUS},
            {"$project": {"key": _KEY}},
            {"$lookup": on_record},
            {"$match": {"record": []}},
            {"$project": {"_id": 1}},
        ]


async def _next_batch(cursor: AsyncCommandCursor[Document]) -> list[LeadId]:
    with pymongo.timeout(_SEARCH_SECONDS):  # not across a yield: it would hold for the caller too
        return [document["_id"] for document in await cursor.to_list(_BATCH)]


_NEVER_RANKED: Document = {
    "enrichment_status": Status.PENDING,
    "enrichment.queued_at": {"$not": {"$gte": EPOCH}},
}
"""`pending` from the writer, without the priority that admission computes."""


def _found(match: Document) -> list[Document]:
    return [{"$match": match}, {"$project": {"_id": 1}}]
