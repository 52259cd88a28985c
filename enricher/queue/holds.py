"""Call leads back that a provider was not asked about, once it may be asked again.

Thousands may wait until the end of a hold: a used-up budget, an open breaker. All at once they would
only fill the queue. So their due times are spread over the time that the provider takes for that many,
the more urgent ones first, and no lead's is postponed. A million may wait, so they are written in batches:
one update of them all would take longer than any operation may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import BulkWriteError, DocumentTooLarge, WriteError

from enricher.fields import NAMES, Names
from enricher.lead import Document, LeadId, Status
from enricher.mongo import expressions
from enricher.mongo.expressions import UpdateOne
from enricher.mongo.outage import is_refusal, refusals
from enricher.queue import book
from enricher.queue.apart import Apart, Step
from enricher.queue.lanes import once

_MOST_BANDS = 20
_BATCH = 1000
_READ_SECONDS = 600.0
"""Replaces the usual time limit of an operation: all held leads are counted once, and read once. The server adds up
what all batches of a cursor take."""
_SLOWEST = 1 / 3600


@dataclass(frozen=True, slots=True)
class _Band:
    """Leads of about the same urgency."""

    lowest: float
    count: int


async def bring_back(
    collection: AsyncCollection[Document],
    provider: str,
    per_second: float,
    stop: asyncio.Event | None = None,
    apart: Apart | None = None,
    names: Names = NAMES,
) -> int:
    """Make leads held by `provider` due within the time that it takes to serve them; return how many.

    They no longer count as held by it, so of several daemons that notice, only one calls each back. Ends
    early at `stop`; the remaining leads stay due when they were, and so does one that a writer's
    transaction holds. Raises DatabaseTrouble, and is safe to repeat.
    """
    held = {
        names.enrichment_status: Status.RETRYING,
        names.of_book("held_by"): provider,
        names.of_book("due_at"): {"$gt": book.EPOCH},
        **once(names),
    }
    bands = await _bands(collection, names, held)
    if not bands:
        return 0
    update = _spread(names, bands, provider, 1000 / max(per_second, _SLOWEST))

    async def write(ids: Sequence[LeadId]) -> int:
        return await _write(collection, ids, held, update)

    step = Step("call_back", collection, write, lambda id_: id_)
    apart = apart or Apart()
    brought = 0
    async with collection.find(held, {"_id": 1}, batch_size=_BATCH) as found:
        while (batch := await _next_batch(found)) and not (stop and stop.is_set()):
            ids = [each["_id"] for each in batch]
            written = await apart.write(step, ids)
            brought += sum(changed for _, changed in written.parts)
    return brought


async def _next_batch(found: AsyncCursor[Document]) -> list[Document]:
    with pymongo.timeout(_READ_SECONDS):
        return await found.to_list(_BATCH)


async def _write(
    collection: AsyncCollection[Document],
    ids: Sequence[LeadId],
    held: Document,
    update: expressions.Pipeline,
) -> int:
    """Return how many changed. A lead that the database refuses stays as it is, and does not hold up others."""
    updates = [UpdateOne({"_id": id_, **held}, update) for id_ in ids]
    try:
        these = {"_id": {"$in": list(ids)}, **held}
        return (await collection.update_many(these, update)).modified_count
    except (DocumentTooLarge, WriteError) as error:
        if isinstance(error, WriteError) and not is_refusal(error):
            raise
    try:
        return (await collection.bulk_write(updates, ordered=False)).modified_count
    except BulkWriteError as error:
        refusals(error)
        return int(error.details["nModified"])


async def _bands(
    collection: AsyncCollection[Document], names: Names, held: Document
) -> list[_Band]:
    """Return bands, the most urgent first, joined to a few: each lead may have a priority of its own."""
    counted = {"$group": {"_id": book.priority_noted(names), "count": {"$sum": 1}}}
    with pymongo.timeout(_READ_SECONDS):
        found = await collection.aggregate([{"$match": held}, counted, {"$sort": {"_id": -1}}])
        bands = [_Band(each["_id"], each["count"]) async for each in found]
    if len(bands) <= _MOST_BANDS:
        return bands
    return _joined(bands, sum(band.count for band in bands) / _MOST_BANDS)


def _joined(bands: Sequence[_Band], enough: float) -> list[_Band]:
    joined = [bands[0]]
    for band in bands[1:]:
        if joined[-1].count < enough:
            joined[-1] = _Band(band.lowest, joined[-1].count + band.count)
        else:
            joined.append(band)
    return joined


def _spread(
    names: Names, bands: Sequence[_Band], provider: str, milliseconds_each: float
) -> expressions.Pipeline:
    priority, held_by = book.priority_noted(names), book.noted(names, "held_by")
    branches, begins = [], 0.0
    for band in bands:
        lasts = band.count * milliseconds_each
        within = {"$add": [begins, {"$multiply": [{"$rand": {}}, lasts]}]}
        branches.append({"case": {"$gte": [priority, band.lowest]}, "then": within})
        begins += lasts
    after = {"$toLong": {"$switch": {"branches": branches, "default": begins}}}
    others = {"$setDifference": [held_by, [{"$literal": provider}]]}
    values = {
        "due_at": {"$min": [book.noted(names, "due_at"), {"$add": ["$$NOW", after]}]},
        "held_by": {"$cond": [{"$isArray": held_by}, others, []]},
    }
    return [{"$set": {names.enrichment: book.book_with(names, values)}}]
