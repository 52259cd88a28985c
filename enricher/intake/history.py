"""Leads from before the first start: no daemon works on them until a user asks for it.

A lead without a status is either new and not yet admitted, or history. An insert event says which;
without one (a gap in the stream, no stream at all, a whole document replaced) the two look alike.
So the server itself puts the ids of the leads without a status on record once, at the first
start; the leads are not touched. Any other test would guess: not every `_id` holds a time, and one
that does holds the time of its maker's clock.

A million ids take the server half a minute or more, so they are recorded range by range, in the order of
the ids: the daemon knows how far the record is, and after a kill it continues from there. Two daemons
that record at once write the same.

Where there is a condition for being a lead, only leads are recorded: a document that becomes one later is new.
When the rules change, those that became leads by that alone are put on record as well.
"""

from __future__ import annotations

import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
from bson import Timestamp
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.errors import OperationFailure

from enricher.fields import NAMES, Names, named
from enricher.intake.changes import seconds_of
from enricher.lead import Document, LeadId, Reason, Status
from enricher.mongo.expressions import id_key
from enricher.mongo.outage import is_denied, is_refusal
from enricher.mongo.server import Server
from enricher.process import signals
from enricher.queue.beside import Beside, without_result
from enricher.queue.book import EPOCH, LONGEST_ID_BYTES, WITH_FITTING_ID
from enricher.queue.lanes import once
from enricher.queue.unmoved import by_index, far_ahead, new, of_ours, stray

_BATCH = 1000
_RANGE = 20_000
"""Ids that are written at once, within a second or two."""
_NEWEST = 10_000
"""Leads that are looked at first after a gap, within some seconds."""
_SEARCH_SECONDS = 3600.0
"""Replaces the usual time limit of an operation: here the server reads every lead without a status."""
_BY_ID = [("_id", pymongo.ASCENDING)]
_WAS_PENDING = "pending"
_KEY = {"of": "$_id"}
"""On record an id is inside a document: by itself it may be null, which `$merge` refuses."""


def collection_name(leads: str) -> str:
    """Return the name of the collection that keeps the ids of a leads collection's history."""
    return f"enricher_history_{leads}"


class History:
    """The record, and the search for leads that are neither on it nor admitted."""

    def __init__(
        self,
        leads: AsyncCollection[Document],
        range_: int = _RANGE,
        newest: int = _NEWEST,
        names: Names = NAMES,
    ) -> None:
        self._leads = leads
        self._names = names
        self._queue = leads
        """Where the statuses stand."""
        self._without_status: Document = {names.enrichment_status: None}
        self._old: Document = {"$or": [self._without_status, stray(names)]}
        """Matches what is history at the first start."""
        self._range = range_
        self._newest = newest
        self._record = leads.database[collection_name(leads.name)]
        self._of_these: list[Document] = []
        """Further stages, after the match, for what is put on record."""
        self.has_changed = False
        """The rules by which documents are leads have changed, so some that are `pending` may be on record."""

    async def record(
        self,
        begin: Document | None = None,
        tell: Callable[[int, Document], Awaitable[None]] | None = None,
    ) -> int:
        """Record every lead without a status, and those that another writer left half-way: `processing`,
        with no holder of ours. Return how many are on record.

        `tell` is called after each range with the number on record and the start of the next range,
        `{"of": id}`, which a later call may pass as `begin`.
        """
        while (end := await self._end_of_range(begin)) is not None:
            signals.end_if_cancelled()  # a stop does not wait for the ranges that are left
            leads = await self._write_down({**_between(begin, end), **self._old})
            begin = end
            if tell is not None:
                await tell(leads, begin)
        return await self._write_down({**_between(begin, None), **self._old})

    async def _end_of_range(self, begin: Document | None) -> Document | None:
        """Return `None` for the last range, and under a collation, where ids sort differently."""
        fitting = self._leads.find(WITH_FITTING_ID, {"_id": 1})
        found = fitting.hint(_BY_ID).skip(self._range).limit(1)
        if begin is not None:
            found = found.min([("_id", begin["of"])])
        try:
            ends = await found.to_list()
        except OperationFailure as error:
            if not is_refusal(error):
                raise
            return None
        return {"of": ends[0]["_id"]} if ends else None

    async def record_strays(self) -> int:
        """Complete a record that an earlier version made without leads in work: add those that show no
        trace of us. Return how many are on record."""
        without_trace = {"$nor": list(of_ours(self._names))}
        return await self._write_down({"$and": [stray(self._names), without_trace]})

    async def record_excluded(self, former: Sequence[Document]) -> int:
        """Record the leads of now that one of the former conditions excluded, and that nobody has admitted: those
        without a status, and those that a writer inserted as `pending`. Return how many are on record."""
        if any(former):
            were_none: Document = {"$nor": [{"$and": list(former)}]}
            unmoved = {"$or": [{self._names.enrichment_status: None}, stray(self._names)]}
            await self._write_down({"$and": [were_none, unmoved]})
            asked_for = {"$and": [were_none, _never_ranked(self._names)]}
            await self._write_down(asked_for, {_WAS_PENDING: True})
        return await self._record.estimated_document_count()

    async def _write_down(self, match: Document, mark: Document | None = None) -> int:
        how = "merge" if mark else "keepExisting"
        into = {"$merge": {"into": self._record.name, "whenMatched": how}}
        marks = {name: {"$literal": value} for name, value in (mark or {}).items()}
        kept: Document = {"$project": {"_id": _KEY, **marks}}
        stages: list[Document] = [{"$match": match}, *self._of_these, kept, into]
        with pymongo.timeout(_SEARCH_SECONDS):
            await (await self._leads.aggregate(stages)).to_list()
        return await self._record.estimated_document_count()

    async def is_gone(self) -> bool:
        """Return True when nothing is on record: there was nothing, or an operator dropped it."""
        return await self._record.find_one({}, {"_id": 1}) is None

    async def without(self, ids: Collection[LeadId]) -> list[LeadId]:
        """Return the given ids except those on record."""
        keys = [{"of": id_} for id_ in ids]
        known = await self._record.find({"_id": {"$in": keys}}).to_list()
        on_record = {id_key(document["_id"]["of"]) for document in known}
        return [id_ for id_ in ids if id_key(id_) not in on_record]

    async def texts(self) -> AsyncGenerator[tuple[LeadId, list[str]], None]:
        """Yield the ids on record that may hold an address, each with all its texts. Reads the whole record."""
        with pymongo.timeout(_SEARCH_SECONDS):
            cursor = self._record.find({"_id.of": _HOLDS_TEXT}, batch_size=_BATCH)
            async for document in cursor:
                id_ = document["_id"]["of"]
                yield id_, list(texts_in(id_))

    async def strike(self, id_: LeadId) -> None:
        """Take an id off the record. Skip its lead if it still exists, because a search would take it for
        a new one. Raises DatabaseTrouble."""
        skipped = {
            self._names.enrichment_status: Status.SKIPPED,
            self._names.enrichment_error: Reason.SUPPRESSED.sentence,
            self._names.updated_at: "$$NOW",
        }
        still_history = {"_id": {"$eq": id_}, **self._without_status, **once(self._names)}
        await self._leads.update_one(still_history, [{"$set": named(skipped)}])
        await self._strike_off(id_)

    async def _strike_off(self, id_: LeadId) -> None:
        # The record must not be empty: that would mean that it was dropped.
        stays = {"_id": {"struck": True}}
        await self._record.update_one(stays, {"$setOnInsert": stays}, upsert=True)
        await self._record.delete_one({"_id": {"of": id_}})

    async def newest(self) -> AsyncGenerator[list[LeadId], None]:
        """Yield batches of ids of leads that should have been admitted, from among the newest without a status.

        The index on these holds them in the order in which they were inserted, so the server reads it
        from its end. To read all of it that way would be too slow: the sort turns the faster of its two ways
        of `$lookup` off (5 million took minutes as it was).
        """
        match, *others = self._unrecorded(new(self._names))
        newest: list[Document] = [
            {"$sort": {self._names.enrichment_status: -1}},
            {"$limit": self._newest},
        ]
        async with aclosing(self._batches([match, *newest, *others])) as batches:
            async for batch in batches:
                yield batch

    async def unadmitted(self) -> AsyncGenerator[list[LeadId], None]:
        """Yield batches of ids of leads that should have been admitted and were not."""
        never_ranked = _never_ranked(self._names)
        for stages in (
            self._unrecorded(new(self._names)),
            self._unmarked(never_ranked) if self.has_changed else _found(never_ranked),
            self._unrecorded(stray(self._names)),
        ):
            async with aclosing(self._batches(stages)) as batches:
                async for batch in batches:
                    yield batch

    async def strays(
        self, longest_lease: timedelta
    ) -> AsyncGenerator[tuple[list[LeadId], Document], None]:
        """Yield batches of ids of leads in work without a holder, each with the condition that they met."""
        hello = await self._queue.database.client.admin.command("hello")
        now = hello["localTime"].replace(tzinfo=UTC)
        is_stray = stray(self._names)
        stages = self._unless_history(is_stray)
        if cursor := await by_index(self._queue, self._names, stages, _BATCH):
            async with cursor:
                while batch := await _next_batch(cursor):
                    yield batch, is_stray
        for match in far_ahead(self._names, now, longest_lease):
            async with aclosing(self._batches(self._unless_history(match), self._queue)) as batches:
                async for batch in batches:
                    yield batch, match

    def _unless_history(self, match: Document) -> list[Document]:
        """Return the stages that find leads that match, without history."""
        return self._unrecorded(match)

    async def _batches(
        self, stages: list[Document], of: AsyncCollection[Document] | None = None
    ) -> AsyncGenerator[list[LeadId], None]:
        collection = self._leads if of is None else of
        with pymongo.timeout(_SEARCH_SECONDS):
            cursor = await collection.aggregate(stages, batchSize=_BATCH)
        async with cursor:
            while batch := await _next_batch(cursor):
                yield batch

    def _unmarked(self, match: Document) -> list[Document]:
        """Leave out only those that are on record for having been `pending`: what is asked for now is work."""
        return self._unrecorded(match, {f"record.{_WAS_PENDING}": {"$ne": True}})

    def _unrecorded(self, match: Document, unless: Document | None = None) -> list[Document]:
        return [{"$match": {"$and": [match, WITH_FITTING_ID]}}, *self._not_on_record(unless)]

    def _not_on_record(self, unless: Document | None = None) -> list[Document]:
        on_record = {
            "from": self._record.name,
            "localField": "key",
            "foreignField": "_id",
            "as": "record",
        }
        return [
            {"$project": {"key": _KEY}},
            {"$lookup": on_record},
            {"$match": unless or {"record": []}},
            {"$project": {"_id": 1}},
        ]


class HistoryBeside(History):
    """The record of leads whose results stand beside them: a lead without a result is new, or history."""

    def __init__(
        self,
        beside: Beside,
        range_: int = _RANGE,
        newest: int = _NEWEST,
    ) -> None:
        super().__init__(beside.leads, range_, newest, beside.names)
        self._beside = beside
        self._queue, self._old = beside.results, {}
        self._of_these = without_result(beside.results.name)

    async def record_strays(self) -> int:
        """Return how many are on record: in work are none but ours."""
        return await self._record.estimated_document_count()

    async def record_excluded(self, former: Sequence[Document]) -> int:
        """Record the leads of now that one of the former conditions excluded, and that have no result."""
        if any(former):
            await self._write_down({"$nor": [{"$and": list(former)}]})
        return await self._record.estimated_document_count()

    async def strike(self, id_: LeadId) -> None:
        """Take an id off the record. If its lead still exists it gets a result that says why it is skipped."""
        skipped = named(
            {
                self._names.enrichment_status: {"$literal": Status.SKIPPED.value},
                self._names.enrichment_error: {"$literal": Reason.SUPPRESSED.sentence},
                self._names.updated_at: "$$NOW",
            }
        )
        await self._beside.make([id_], skipped)
        await self._strike_off(id_)

    async def newest(self) -> AsyncGenerator[list[LeadId], None]:
        """Yield batches of ids of leads that should have been admitted, from among those with the highest ids: those
        that the driver made are in the order of their time."""
        highest: list[Document] = [{"$sort": {"_id": -1}}, {"$limit": self._newest}]
        async with aclosing(self._batches(self._new(highest))) as batches:
            async for batch in batches:
                yield batch

    async def unadmitted(self) -> AsyncGenerator[list[LeadId], None]:
        """Yield batches of ids of leads that should have been admitted and were not. Drops results without a lead."""
        await self._drop_orphans()
        async with aclosing(self._batches(self._new([]))) as batches:
            async for batch in batches:
                yield batch
        of_results = (new(self._names), _never_ranked(self._names), stray(self._names))
        for match in of_results:
            found = self._batches(_found(match), self._beside.results)
            async with aclosing(found) as batches:
                async for batch in batches:
                    yield batch

    async def _drop_orphans(self) -> None:
        stages = without_result(self._leads.name)  # the other way round: results without a lead
        found = self._batches(stages, self._beside.results)
        async with aclosing(found) as batches:
            async for batch in batches:
                await self._beside.drop_gone(batch)

    def _unless_history(self, match: Document) -> list[Document]:
        return _found(match)  # no history has a result

    def _new(self, these: list[Document]) -> list[Document]:
        without = without_result(self._beside.results.name)
        return [{"$match": WITH_FITTING_ID}, *these, *without, *self._not_on_record()]


def _between(begin: Document | None, end: Document | None) -> Document:
    """Return the bounds as expressions, because a query compares only values of one type."""
    bounds: list[Document] = []
    if begin is not None:
        bounds.append({"$gte": ["$_id", {"$literal": begin["of"]}]})
    if end is not None:
        bounds.append({"$lt": ["$_id", {"$literal": end["of"]}]})
    return {"$expr": {"$and": bounds}} if bounds else {}


def texts_in(value: object) -> Iterator[str]:
    """PURE Yield every text in an id of any type."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from texts_in(inner)
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")


_HOLDS_TEXT: Document = {"$type": ["string", "object", "binData"]}


async def _next_batch(cursor: AsyncCommandCursor[Document]) -> list[LeadId]:
    signals.end_if_cancelled()
    with pymongo.timeout(_SEARCH_SECONDS):  # not across a yield: it would hold for the caller too
        return [document["_id"] for document in await cursor.to_list(_BATCH)]


def _never_ranked(names: Names) -> Document:
    """Match `pending` set by the writer, without the priority that admission computes."""
    return {
        names.enrichment_status: Status.PENDING,
        names.of_book("queued_at"): {"$not": {"$gte": EPOCH}},
    }


def _found(match: Document) -> list[Document]:
    return [{"$match": {"$and": [match, WITH_FITTING_ID]}}, {"$project": {"_id": 1}}]


# Leads that were inserted while the process began: after its first step, and before it reached MongoDB.
#
# That takes half a second, and several on a busy machine. For a first start they would be history, and for
# the stream, which begins where the server stood when it was first asked, the past. So they are looked for
# once, in the oplog's last seconds, by the server's own clock. Where there is no change stream, or none that
# tells the time of an event (before MongoDB 6.0), they stay history.

_WAIT_MS = 100
_EARLY_SECONDS = 5.0
_MOST_EARLY = 100_000
_LOOKS_AT_THE_CLOCK = 5
"""Readings of the server's clock, of which the fastest counts."""
_ROUNDED = timedelta(milliseconds=2)
"""Both times are cut to milliseconds: a lead from before the process must not be taken for a later one."""


async def inserted_since(
    leads: AsyncCollection[Document], began: float, server: Server
) -> list[LeadId]:
    """Return ids of the leads inserted between `began` (`time.monotonic()`) and the stream's first start.
    Raises DatabaseTrouble."""
    if server.after is None:
        return []
    since = min([await _by_the_server(leads, began) for _ in range(_LOOKS_AT_THE_CLOCK)])
    try:
        return await _read(leads, since, server.after)
    except OperationFailure as error:
        if is_denied(error) or is_refusal(error):
            return []
        raise


async def _by_the_server(leads: AsyncCollection[Document], began: float) -> datetime:
    """Return `began` by the server's clock, or a little later: by the time the question was on its way."""
    asked_at = time.monotonic()
    hello = await leads.database.client.admin.command("hello")
    now: datetime = hello["localTime"].replace(tzinfo=UTC)
    return now - timedelta(seconds=asked_at - began) + _ROUNDED


async def _read(
    leads: AsyncCollection[Document], since: datetime, until: Timestamp
) -> list[LeadId]:
    inserts: Document = {
        "operationType": "insert",
        "wallTime": {"$gte": since},
        "$expr": {"$lte": [{"$bsonSize": "$documentKey"}, LONGEST_ID_BYTES]},
    }
    stages: list[Document] = [
        {"$match": {"$or": [inserts, {"operationType": "invalidate"}]}},
        {"$project": {"_id": 1, "operationType": 1, "documentKey": 1}},
    ]
    where: Mapping[str, Any] = {"start_at_operation_time": Timestamp(int(since.timestamp()), 0)}
    found: list[LeadId] = []
    ends_at = time.monotonic() + _EARLY_SECONDS
    while len(found) < _MOST_EARLY and time.monotonic() < ends_at:
        async with await leads.watch(
            stages, **where, max_await_time_ms=_WAIT_MS, comment="enricher: early"
        ) as stream:
            if await _read_on(stream, until, found, ends_at):
                break
            # The collection was renamed or dropped: later inserts are in the one that follows.
            where = {"start_after": stream.resume_token}
    return found


async def _read_on(
    stream: AsyncChangeStream[Document],
    until: Timestamp,
    found: list[LeadId],
    ends_at: float,
) -> bool:
    """Read on; return True when all was read, False when the stream ended before that."""
    while stream.alive and len(found) < _MOST_EARLY and time.monotonic() < ends_at:
        event = await stream.try_next()
        if event is not None:
            if event["operationType"] != "insert":  # "invalidate": the driver would resume in vain
                return False
            found.append(event["documentKey"]["_id"])
        position = seconds_of(stream.resume_token)
        if position > until.time or (event is None and position >= until.time):
            return True
    return stream.alive
