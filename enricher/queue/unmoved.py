"""Leads that nothing moves: which they are, how many, and which of them are ours to move again.

    foreign    the status is a text that is not one of ours (`""`, "new", "PENDING"): its writer's business
    no_text    the status is no text at all
    unset      a writer removed the status of a lead that we have worked on: left alone until `pending`
    stray      `processing` or `retrying` without a holder: no claim would ever find it

A lead becomes a stray when a writer saves the whole document without our book-keeping, with dates that
turned into texts on the way, or from a copy that was read while the lead was in work. It is work again
within a minute (`enricher/intake/sweep.py`).

All of them are in one partial index, which holds no lead that is new, in work or ended as it should: so
finding them costs the same however many other leads there are. A count stops at `MOST`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.errors import OperationFailure, PyMongoError

from enricher.lead import Document, LeadId, Status
from enricher.mongo import expressions
from enricher.mongo.expressions import COLLATED
from enricher.queue import book
from enricher.queue.book import EPOCH

MOST = 10_000
"""More are not counted: it makes no difference."""
_COUNT_SECONDS = 5.0
LONGEST_HOLD = timedelta(days=33)
"""A hold lasts a month at most; a lead that is `retrying` for longer will never be due."""
INDEX = "enricher_unmoved"
_NO_SUCH_INDEX = 2
_STATUS = "enrichment_status"
_DUE_AT = "enrichment.due_at"
_METADATA = "enriched_data.enrichment_metadata"
_OTHER_TYPES = (
    "minKey", "maxKey", "double", "decimal", "int", "long", "object", "array", "binData", "objectId",
    "bool", "timestamp", "regex", "dbPointer", "javascript", "javascriptWithScope", "symbol",
)  # fmt: skip
"""All types but texts, dates, and what counts as missing."""


class UnmovedReason(StrEnum):
    """Why nothing moves a lead."""

    FOREIGN = "foreign"
    NO_TEXT = "no_text"
    UNSET = "unset"
    STRAY = "stray"


def _between_ours() -> list[Document]:
    """Return the texts that are no status of ours, as ranges: a partial index does not support `$nin`."""
    ours = sorted(status.value for status in Status)
    return [
        {_STATUS: {"$lt": ours[0]}},
        *({_STATUS: {"$gt": one, "$lt": next_}} for one, next_ in pairwise(ours)),
        {_STATUS: {"$gt": ours[-1]}},
    ]


BY_US: Sequence[Document] = (
    {_METADATA: {"$type": "object"}},
    {"enrichment.token": {"$gt": 0, "$lt": 2**53}, "enrichment.claim_id": {"$gt": ""}},
)
"""What no other program writes: our results, or a claim."""

OF_OURS: Sequence[Document] = (
    {"enriched_at": {"$gt": EPOCH}},
    *BY_US,
    {"enrichment.queued_at": {"$gt": EPOCH}, "enrichment.priority": {"$type": "number"}},
)
"""Traces that a lead was once ours, whatever its status says: results, a claim, an admission."""


def _never_due(status: Status) -> list[Document]:
    return [
        {_STATUS: status.value, _DUE_AT: None},
        {_STATUS: status.value, "enrichment": {"$type": "array"}},
        {_STATUS: status.value, _DUE_AT: {"$type": [*_OTHER_TYPES, "string"]}},
        {_STATUS: status.value, _DUE_AT: {"$lte": EPOCH}},
    ]


_STRAY: Sequence[Document] = (
    *_never_due(Status.PROCESSING),
    {_STATUS: Status.PROCESSING.value, "enrichment.holder": None},
    {_STATUS: Status.PROCESSING.value, "enrichment.claim_id": None},
    *_never_due(Status.RETRYING),
)
STRAY: Document = {"$or": list(_STRAY)}
"""In work, but without a holder or never due. See `far_ahead` for one more kind."""

_NEW: Sequence[Document] = (
    {_STATUS: None, "$nor": list(OF_OURS)},
    {_STATUS: None, "enrichment": {"$type": "array"}},  # a path into an array matches its elements
)
NEW: Document = {"$or": list(_NEW)}
"""Without a status, and without a trace of ours."""

UNADMITTED: Document = {"$or": [*_NEW, {_STATUS: Status.PENDING}, *_STRAY]}
"""Leads that `admit` has something to do for. `None` also matches a missing field."""

UNDATED: Document = {
    _STATUS: Status.COMPLETED.value,
    _DUE_AT: {"$type": [*_OTHER_TYPES, "string"]},
    "enrichment.token": {"$gt": 0},
}
"""Completed by us, with a refresh date that has become something else."""

_BY_REASON: Mapping[UnmovedReason, Sequence[Document]] = {
    UnmovedReason.FOREIGN: _between_ours(),
    UnmovedReason.NO_TEXT: [{_STATUS: {"$type": [*_OTHER_TYPES, "date"]}}],
    UnmovedReason.UNSET: [{_STATUS: None, **mark} for mark in OF_OURS],
    UnmovedReason.STRAY: _STRAY,
}
FILTER: Document = {"$or": [*(each for some in _BY_REASON.values() for each in some), UNDATED]}
"""The partial index's filter; needs MongoDB 6.0. Queries must be parts of it."""


def far_ahead(now: datetime, longest_lease: timedelta) -> list[Document]:
    """Match leads due further ahead than any lease or hold lasts: an old copy put back, or an invented date."""
    return [
        {_STATUS: Status.PROCESSING, _DUE_AT: {"$gt": now + longest_lease}},
        {_STATUS: Status.RETRYING, _DUE_AT: {"$gt": now + LONGEST_HOLD}},
    ]


async def late_leases(leads: AsyncCollection[Document], lease: timedelta) -> list[Document]:
    """Return up to `MOST` leads in work whose lease ends later than one given now would: id, claim and end.
    There are few, unless the server's clock was just set back. Raises DatabaseTrouble."""
    hello = await leads.database.client.admin.command("hello")
    ends = hello["localTime"].replace(tzinfo=UTC) + lease
    match = {_STATUS: Status.PROCESSING, _DUE_AT: {"$gt": ends}}
    fields = {"claim_id": "$enrichment.claim_id", "due_at": f"${_DUE_AT}"}
    return await leads.find(match, fields).limit(MOST).to_list()


async def count(leads: AsyncCollection[Document]) -> Mapping[str, int] | None:
    """Count them by reason, each up to `MOST`; `None` when that is not possible, or not in time.

    Raises DatabaseTrouble.
    """
    first, *others = ([*_count(reason, any_of)] for reason, any_of in _BY_REASON.items())
    unions = [{"$unionWith": {"coll": leads.name, "pipeline": each}} for each in others]
    try:
        with pymongo.timeout(_COUNT_SECONDS):
            cursor = await by_index(leads, [*first, *unions])
            found = {each["_id"]: int(each["leads"]) async for each in cursor} if cursor else None
    except PyMongoError as error:
        if error.timeout:
            return None
        raise
    return (
        None
        if found is None
        else {reason.value: found.get(reason.value, 0) for reason in UnmovedReason}
    )


def _count(reason: UnmovedReason, any_of: Sequence[Document]) -> list[dict[str, Any]]:
    group = {"_id": {"$literal": reason.value}, "leads": {"$sum": 1}}
    match: Document = {"$or": list(any_of)}
    if reason is UnmovedReason.FOREIGN:
        match[_STATUS] = {"$not": {"$type": "array"}}  # an array's elements are compared, too
    return [{"$match": match}, {"$limit": MOST}, {"$group": group}]


async def by_index(
    leads: AsyncCollection[Document], stages: Sequence[Document], batch: int = 101
) -> AsyncCommandCursor[Document] | None:
    """Aggregate by the index, or return `None` without one: every lead would be read each time."""
    for name in (INDEX, f"{INDEX}{COLLATED}"):
        try:
            return await leads.aggregate(list(stages), hint=name, batchSize=batch)
        except OperationFailure as error:
            if error.code != _NO_SUCH_INDEX:
                raise
    return None


# Gives completed leads a refresh date again, where a writer's save removed it.
#
# Only leads that we have enriched ourselves, as their metadata or a claim shows: what was completed before the
# first daemon started here is history, and what other programs complete is theirs. The date is what it would
# have been; where that is past, a random time within the next tenth of the period, so that a save of all
# leads does not cause a peak and one day's bill.

_BATCH = 1000
_JITTER = 0.1
_SAID_AT = "enriched_data.enrichment_metadata.enriched_at"
_WITHOUT_DATE: Document = {
    "enrichment_status": Status.COMPLETED.value,
    "enrichment.due_at": None,
}
KEYS = (("enriched_at", 1), (_SAID_AT, 1))
LOST_DATE_FILTER = _WITHOUT_DATE
"""The partial index's filter: a lead that we completed is in it only if its refresh is off, or was lost."""


LOST: Document = {"$or": [_WITHOUT_DATE, UNDATED]}
"""Completed leads without a usable refresh date."""


def dating(period: timedelta) -> expressions.Pipeline:
    """Return the update that gives the date back."""
    return [{"$set": {"enrichment": book.book_with({"due_at": _due_at(period)})}}]


async def find(leads: AsyncCollection[Document], since: datetime) -> list[LeadId]:
    """Return up to a batch of leads completed after `since` that lost their date. Raises DatabaseTrouble."""
    said = since.isoformat()
    ours = {**_WITHOUT_DATE, "$or": list(BY_US)}
    queries: tuple[Document, ...] = (
        {**ours, "enriched_at": {"$gt": since}},
        {**ours, "enriched_at": {"$gt": said}},  # a text, as a form that reads JSON saves it
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
