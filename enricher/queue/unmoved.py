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
from functools import cache
from itertools import pairwise
from typing import Any

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.errors import OperationFailure, PyMongoError

from enricher.fields import NAMES, Names
from enricher.lead import Document, LeadId, Status
from enricher.mongo import expressions
from enricher.mongo.expressions import COLLATED
from enricher.queue import book
from enricher.queue.book import EPOCH
from enricher.values.merge import METADATA

MOST = 10_000
"""More are not counted: it makes no difference."""
_COUNT_SECONDS = 5.0
LONGEST_HOLD = timedelta(days=33)
"""A hold lasts a month at most; a lead that is `retrying` for longer will never be due."""
INDEX = "enricher_unmoved"
_NO_SUCH_INDEX = 2
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


def _due_at(names: Names) -> str:
    return names.of_book("due_at")


def _metadata(names: Names) -> str:
    return f"{names.enriched_data}.{METADATA}"


def _between_ours(status: str) -> list[Document]:
    """Return the texts that are no status of ours, as ranges: a partial index does not support `$nin`."""
    ours = sorted(each.value for each in Status)
    return [
        {status: {"$lt": ours[0]}},
        *({status: {"$gt": one, "$lt": next_}} for one, next_ in pairwise(ours)),
        {status: {"$gt": ours[-1]}},
    ]


def by_us(names: Names) -> Sequence[Document]:
    """Match what no other program writes: our results, or a claim."""
    token, claim_id = names.of_book("token"), names.of_book("claim_id")
    return (
        {_metadata(names): {"$type": "object"}},
        {token: {"$gt": 0, "$lt": 2**53}, claim_id: {"$gt": ""}},
    )


def of_ours(names: Names) -> Sequence[Document]:
    """Match traces that a lead was once ours, whatever its status says: results, a claim, an admission."""
    queued_at, priority = names.of_book("queued_at"), names.of_book("priority")
    enriched = [{names.enriched_at: {"$gt": EPOCH}}] if names.enriched_at else []
    return (
        *enriched,
        *by_us(names),
        {queued_at: {"$gt": EPOCH}, priority: {"$type": "number"}},
    )


def _never_due(names: Names, status: Status) -> list[Document]:
    of_status = {names.enrichment_status: status.value}
    due_at = _due_at(names)
    return [
        {**of_status, due_at: None},
        {**of_status, names.enrichment: {"$type": "array"}},
        {**of_status, due_at: {"$type": [*_OTHER_TYPES, "string"]}},
        {**of_status, due_at: {"$lte": EPOCH}},
    ]


def _strays(names: Names) -> Sequence[Document]:
    processing = {names.enrichment_status: Status.PROCESSING.value}
    return (
        *_never_due(names, Status.PROCESSING),
        {**processing, names.of_book("holder"): None},
        {**processing, names.of_book("claim_id"): None},
        *_never_due(names, Status.RETRYING),
    )


@cache
def stray(names: Names) -> Document:
    """Match leads in work, but without a holder or never due. See `far_ahead` for one more kind."""
    return {"$or": list(_strays(names))}


def _new(names: Names) -> Sequence[Document]:
    without = {names.enrichment_status: None}
    return (
        {**without, "$nor": list(of_ours(names))},
        # A path into an array matches its elements.
        {**without, names.enrichment: {"$type": "array"}},
    )


@cache
def new(names: Names) -> Document:
    """Match leads without a status, and without a trace of ours."""
    return {"$or": list(_new(names))}


@cache
def unadmitted(names: Names) -> Document:
    """Match leads that `admit` has something to do for. `None` also matches a missing field."""
    pending = {names.enrichment_status: Status.PENDING}
    return {"$or": [*_new(names), pending, *_strays(names)]}


def undated(names: Names) -> Document:
    """Match leads completed by us, with a refresh date that has become something else."""
    return {
        names.enrichment_status: Status.COMPLETED.value,
        _due_at(names): {"$type": [*_OTHER_TYPES, "string"]},
        names.of_book("token"): {"$gt": 0},
    }


def _by_reason(names: Names) -> Mapping[UnmovedReason, Sequence[Document]]:
    status = names.enrichment_status
    return {
        UnmovedReason.FOREIGN: _between_ours(status),
        UnmovedReason.NO_TEXT: [{status: {"$type": [*_OTHER_TYPES, "date"]}}],
        UnmovedReason.UNSET: [{status: None, **mark} for mark in of_ours(names)],
        UnmovedReason.STRAY: _strays(names),
    }


def filter_of(names: Names) -> Document:
    """Return the partial index's filter; needs MongoDB 6.0. Queries must be parts of it."""
    unmoved = (each for some in _by_reason(names).values() for each in some)
    return {"$or": [*unmoved, undated(names)]}


def far_ahead(names: Names, now: datetime, longest_lease: timedelta) -> list[Document]:
    """Match leads due further ahead than any lease or hold lasts: an old copy put back, or an invented date."""
    status, due_at = names.enrichment_status, _due_at(names)
    return [
        {status: Status.PROCESSING, due_at: {"$gt": now + longest_lease}},
        {status: Status.RETRYING, due_at: {"$gt": now + LONGEST_HOLD}},
    ]


async def late_leases(
    leads: AsyncCollection[Document], lease: timedelta, names: Names = NAMES
) -> list[Document]:
    """Return up to `MOST` leads in work whose lease ends later than one given now would: id, claim and end.
    There are few, unless the server's clock was just set back. Raises DatabaseTrouble."""
    hello = await leads.database.client.admin.command("hello")
    ends = hello["localTime"].replace(tzinfo=UTC) + lease
    match = {names.enrichment_status: Status.PROCESSING, _due_at(names): {"$gt": ends}}
    fields = {"claim_id": book.noted(names, "claim_id"), "due_at": book.noted(names, "due_at")}
    return await leads.find(match, fields).limit(MOST).to_list()


async def count(leads: AsyncCollection[Document], names: Names = NAMES) -> Mapping[str, int] | None:
    """Count them by reason, each up to `MOST`; `None` when that is not possible, or not in time.

    Raises DatabaseTrouble.
    """
    by_reason = _by_reason(names).items()
    first, *others = ([*_count(names, reason, any_of)] for reason, any_of in by_reason)
    unions = [{"$unionWith": {"coll": leads.name, "pipeline": each}} for each in others]
    try:
        with pymongo.timeout(_COUNT_SECONDS):
            cursor = await by_index(leads, names, [*first, *unions])
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


def join(several: Sequence[Mapping[str, int] | None]) -> Mapping[str, int] | None:
    """PURE Return the counts of several collections together; `None` when one of them cannot be told."""
    known = [each for each in several if each is not None]
    if len(known) < len(several):
        return None
    return {reason: sum(each[reason] for each in known) for reason in map(str, UnmovedReason)}


def _count(names: Names, reason: UnmovedReason, any_of: Sequence[Document]) -> list[dict[str, Any]]:
    group = {"_id": {"$literal": reason.value}, "leads": {"$sum": 1}}
    match: Document = {"$or": list(any_of)}
    if reason is UnmovedReason.FOREIGN:
        match[names.enrichment_status] = {
            "$not": {"$type": "array"}
        }  # an array's elements are compared, too
    return [{"$match": match}, {"$limit": MOST}, {"$group": group}]


async def by_index(
    leads: AsyncCollection[Document],
    names: Names,
    stages: Sequence[Document],
    batch: int = 101,
) -> AsyncCommandCursor[Document] | None:
    """Aggregate by the index, or return `None` without one: every lead would be read each time."""
    index = f"{INDEX}{names.suffix}"
    for name in (index, f"{index}{COLLATED}"):
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


def _said_at(names: Names) -> str:
    """Return the path where the metadata says when the lead was enriched."""
    return f"{_metadata(names)}.enriched_at"


def lost_date_filter(names: Names) -> Document:
    """Return the partial index's filter: a lead that we completed is in it only if its refresh is off, or was lost."""
    return {names.enrichment_status: Status.COMPLETED.value, _due_at(names): None}


def lost_date_keys(names: Names) -> list[tuple[str, int]]:
    """Return the keys of that index."""
    return [(path, 1) for path in (names.enriched_at, _said_at(names)) if path]


def lost(names: Names) -> Document:
    """Match completed leads without a usable refresh date."""
    return {"$or": [lost_date_filter(names), undated(names)]}


def dating(names: Names, period: timedelta) -> expressions.Pipeline:
    """Return the update that gives the date back; a recheck whose date was lost is given up."""
    dated = book.book_with(names, {"due_at": _date_anew(names, period)})
    return [
        {"$set": {names.enrichment: dated}},
        {"$unset": [names.of_book("recheck_since"), names.of_book("recheck_mark")]},
    ]


async def find(
    leads: AsyncCollection[Document], since: datetime, names: Names = NAMES
) -> list[LeadId]:
    """Return up to a batch of leads completed after `since` that lost their date. Raises DatabaseTrouble."""
    said = since.isoformat()
    without_date = lost_date_filter(names)
    ours = {**without_date, "$or": list(by_us(names))}
    by_metadata = {**without_date, _said_at(names): {"$gt": said}}
    queries: tuple[Document, ...] = (by_metadata,)
    if names.enriched_at:
        queries = (
            {**ours, names.enriched_at: {"$gt": since}},
            {
                **ours,
                names.enriched_at: {"$gt": said},
            },  # a text, as a form that reads JSON saves it
            {**by_metadata, names.enriched_at: None},
        )
    found: list[Document] = []
    for query in queries:
        if room := _BATCH - len(found):
            found += await leads.find(query, {"_id": 1}).limit(room).to_list()
    stages: list[Document] = [{"$match": undated(names)}, {"$limit": _BATCH}]
    odd = await by_index(leads, names, [*stages, {"$project": {"_id": 1}}])
    found += await odd.to_list() if odd else []
    return [lead["_id"] for lead in found]


# And takes the date away once it has come, while refreshes are off: a lead is dated for 90 days, and whoever turns
# them off meanwhile wants to pay for none. Turned on again, they find these leads among those without a date.


def undating(names: Names) -> expressions.Pipeline:
    """Return the update that takes the date away."""
    return [{"$unset": [names.of_book("due_at")]}]


async def find_overdue(
    leads: AsyncCollection[Document], names: Names = NAMES
) -> tuple[list[LeadId], Document]:
    """Return up to a batch of leads that are due for a refresh, and what matches them. Raises DatabaseTrouble."""
    hello = await leads.database.client.admin.command("hello")
    overdue: Document = {
        names.enrichment_status: Status.COMPLETED.value,
        _due_at(names): {"$gt": book.EPOCH, "$lte": hello["localTime"].replace(tzinfo=UTC)},
        names.of_book("recheck_since"): {"$not": {"$gt": book.EPOCH}},
    }
    found = await leads.find(overdue, {"_id": 1}).limit(_BATCH).to_list()
    return [lead["_id"] for lead in found], overdue


def _date_anew(names: Names, period: timedelta) -> expressions.Expression:
    milliseconds = period.total_seconds() * 1000
    said = {"dateString": f"${_said_at(names)}", "onError": None, "onNull": None}
    noted = book.value_at(names.enriched_at)
    is_date = expressions.is_type(noted, "date")
    enriched_at = {"$ifNull": [{"$cond": [is_date, noted, {"$dateFromString": said}]}, "$$NOW"]}
    jitter = {
        "$multiply": [_JITTER * milliseconds, {"$subtract": [{"$multiply": [2, {"$rand": {}}]}, 1]}]
    }
    usual = {"$add": [milliseconds, jitter]}
    planned = {"$add": [{"$min": [enriched_at, "$$NOW"]}, {"$toLong": usual}]}
    soon = {"$add": ["$$NOW", {"$toLong": {"$multiply": [_JITTER * milliseconds, {"$rand": {}}]}}]}
    return {"$max": [planned, soon]}
