"""Brings leads back that a provider had no time for, now that it has again.

Thousands may wait until the end of a hold: a used-up budget, an open circuit. All at once they would
only fill the queue. So their due times are spread over as long as the provider takes for that many,
the more urgent ones first; and nobody's is put off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document, Status
from enricher.store import book

_MOST_BANDS = 20
_SLOWEST = 1 / 3600


@dataclass(frozen=True, slots=True)
class _Band:
    """Leads of about one urgency."""

    lowest: float
    count: int


async def bring_back(
    collection: AsyncCollection[Document], provider: str, per_second: float
) -> int:
    """Leads held by `provider` are due within the time that it takes for them; returns how many.

    They no longer count as held by it: of several daemons that notice, one brings them back. Raises
    DatabaseTrouble, and is safe to repeat.
    """
    held = {
        "enrichment_status": Status.RETRYING,
        "enrichment.held_by": provider,
        "enrichment.due_at": {"$gt": book.EPOCH},
    }
    bands = await _bands(collection, held)
    if not bands:
        return 0
    update = _spread(bands, provider, 1000 / max(per_second, _SLOWEST))
    return (await collection.update_many(held, update)).modified_count


async def _bands(collection: AsyncCollection[Document], held: Document) -> list[_Band]:
    """The most urgent first. A priority may be any number, so that each lead has its own."""
    counted = {"$group": {"_id": book.PRIORITY, "count": {"$sum": 1}}}
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


def _spread(bands: Sequence[_Band], provider: str, milliseconds_each: float) -> book.Pipeline:
    branches, begins = [], 0.0
    for band in bands:
        lasts = band.count * milliseconds_each
        within = {"$add": [begins, {"$multiply": [{"$rand": {}}, lasts]}]}
        branches.append({"case": {"$gte": [book.PRIORITY, band.lowest]}, "then": within})
        begins += lasts
    after = {"$toLong": {"$switch": {"branches": branches, "default": begins}}}
    others = {"$setDifference": ["$enrichment.held_by", [{"$literal": provider}]]}
    values = {
        "due_at": {"$min": ["$enrichment.due_at", {"$add": ["$$NOW", after]}]},
        "held_by": {"$cond": [{"$isArray": "$enrichment.held_by"}, others, []]},
    }
    return [{"$set": {"enrichment": book.book_with(values)}}]
