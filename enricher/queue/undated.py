"""Gives completed leads a date for their refresh again, where a writer's save has taken it away.

Only leads that we have enriched ourselves, as their metadata or a claim shows: what was completed before the
first daemon started here is nobody's work, and what others complete is theirs. The date is what it would have been; where that is past, it lies within the next tenth
of the period, at random, so that a save of all leads is no peak and no bill of one day.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document, LeadId, Status
from enricher.mongo import expressions
from enricher.queue import book
from enricher.queue.unmoved import BY_US, UNDATED, by_index

_BATCH = 1000
_JITTER = 0.1
_SAID_AT = "enriched_data.enrichment_metadata.enriched_at"
_WITHOUT_DATE: Document = {
    "enrichment_status": Status.COMPLETED.value,
    "enrichment.due_at": None,
}
KEYS = (("enriched_at", 1), (_SAID_AT, 1))
FILTER = _WITHOUT_DATE
"""Of the partial index: a lead that we completed is in it only when its refresh is off, or was lost."""


LOST: Document = {"$or": [_WITHOUT_DATE, UNDATED]}
"""What each of them meets."""


def dating(period: timedelta) -> expressions.Pipeline:
    """Gives the date back."""
    return [{"$set": {"enrichment": book.book_with({"due_at": _due_at(period)})}}]


async def find(leads: AsyncCollection[Document], since: datetime) -> list[LeadId]:
    """Up to a batch of those completed `since` then. Raises DatabaseTrouble."""
    said = since.isoformat()
    ours = {**_WITHOUT_DATE, "$or": list(BY_US)}
    queries: tuple[Document, ...] = (
        {**ours, "enriched_at": {"$gt": since}},
        {**ours, "enriched_at": {"$gt": said}},  # as a form saves it that reads JSON
        {**_WITHOUT_DATE, "enriched_at": None, _SAID_AT: {"$gt": said}},
    )
    found: list[Document] = []
    for query in queries:
        if room := _BATCH - len(found):
            found += await leads.find(query, {"_id": 1}).limit(room).to_list()
    odd = await by_index(leads, [{"$match": UNDATED}, {"$limit": _BATCH}, {"$project": {"_id": 1}}])
    found += await odd.to_list() if odd else []
    return [lead["_id"] for lead in found]


def _due_at(period: timedelta) -> expressions.Expression:
    milliseconds = period.total_seconds() * 1000
    said = {"dateString": f"${_SAID_AT}", "onError": None, "onNull": None}
    is_date = expressions.is_type("$enriched_at", "date")
    enriched_at = {
        "$ifNull": [{"$cond": [is_date, "$enriched_at", {"$dateFromString": said}]}, "$$NOW"]
    }
    jitter = {
        "$multiply": [_JITTER * milliseconds, {"$subtract": [{"$multiply": [2, {"$rand": {}}]}, 1]}]
    }
    usual = {"$add": [milliseconds, jitter]}
    planned = {"$add": [{"$min": [enriched_at, "$$NOW"]}, {"$toLong": usual}]}
    soon = {"$add": ["$$NOW", {"$toLong": {"$multiply": [_JITTER * milliseconds, {"$rand": {}}]}}]}
    return {"$max": [planned, soon]}
