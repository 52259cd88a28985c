"""Leads that were inserted while the process began: after its first step, and before it reached MongoDB.

That takes half a second, and several on a busy machine. For a first start they would be history, and for
the stream, which begins where the server stood when it was first asked, the past. So they are looked for
once, in the oplog's last seconds, by the server's own clock. Where there is no change stream, or none that
tells the time of an event (before MongoDB 6.0), they stay history.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Timestamp
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.intake.changes import seconds_of
from enricher.lead import Document, LeadId
from enricher.mongo.refusal import is_denied, is_refusal
from enricher.mongo.server import Server
from enricher.queue.book import LONGEST_ID_BYTES

_WAIT_MS = 100
_LONGEST_SECONDS = 5.0
_MOST = 100_000
_LOOKS = 5
"""At the clock, for the quickest counts."""
_ROUNDED = timedelta(milliseconds=2)
"""Both times are cut to milliseconds: a lead from before the process must not pass for a later one."""


async def inserted_since(
    leads: AsyncCollection[Document], began: float, server: Server
) -> list[LeadId]:
    """Ids of those inserted between `began`, a moment of `time.monotonic()`, and the stream's first start.
    Raises DatabaseTrouble."""
    if server.after is None:
        return []
    since = min([await _by_the_server(leads, began) for _ in range(_LOOKS)])
    try:
        return await _read(leads, since, server.after)
    except OperationFailure as error:
        if is_denied(error) or is_refusal(error):
            return []
        raise


async def _by_the_server(leads: AsyncCollection[Document], began: float) -> datetime:
    """That moment or a little later: later by what the question was on its way."""
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
    ends_at = time.monotonic() + _LONGEST_SECONDS
    while len(found) < _MOST and time.monotonic() < ends_at:
        async with await leads.watch(
            stages, **where, max_await_time_ms=_WAIT_MS, comment="enricher: early"
        ) as stream:
            if await _read_on(stream, until, found, ends_at):
                break
            # The collection was renamed or dropped: what came afterwards is in the next one.
            where = {"start_after": stream.resume_token}
    return found


async def _read_on(
    stream: AsyncChangeStream[Document],
    until: Timestamp,
    found: list[LeadId],
    ends_at: float,
) -> bool:
    """Whether all was read; False when the stream has ended before."""
    while stream.alive and len(found) < _MOST and time.monotonic() < ends_at:
        event = await stream.try_next()
        if event is not None:
            if event["operationType"] != "insert":  # "invalidate": the driver would resume in vain
                return False
            found.append(event["documentKey"]["_id"])
        position = seconds_of(stream.resume_token)
        if position > until.time or (event is None and position >= until.time):
            return True
    return stream.alive
