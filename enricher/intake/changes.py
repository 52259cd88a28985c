"""The change stream on the leads: opened, resumed, and read by one task.

The stream is a doorbell. An event carries no obligation: it names a lead that may have become
work, and the claim finds that lead again by itself: a new one, one that somebody set to `pending`, or one whose
inputs or conditions changed, which is read to see whether it matters (`late.py`). No part of the document travels in it, so a
document of any size passes, and the filter uses only fields of the event that can never change,
or a saved token might not be found again.

The driver is read with `try_next()` only. Cancelling a read, or a timeout around one, kills the
stream, and the next read then looks like a clean end.

A token that the server refuses is never tried twice:

    token -> refused (286, 280, 260, 136, 10334) -> time of the last checkpoint -> refused -> now

The server may refuse at once or when the stream is read: an event above 16 MB (a huge `_id`) lets
every stream open that begins before it, and kills each of them. So a start that died is trusted
again only when a later one has passed the point where it died.

Opening reads the oplog up to our first event, without giving out a position before that. It took
10 s for some three million entries of other collections (measured). The time allowed therefore
doubles with each timeout, or a daemon that was down for long would never come back.

A start by time replays events that were already seen, which changes nothing. A start from now
leaves a gap, and reports it: the stream is opened first, and then the collection is searched for what
was missed (`history.py`). The very first start begins now, because the leads that exist are history.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import pymongo
from bson import Timestamp
from loguru import logger
from pymongo.asynchronous.change_stream import AsyncCollectionChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure, PyMongoError

from enricher.fields import NAMES, Names
from enricher.intake.checkpoints import Checkpoint
from enricher.lead import Document, LeadId, Status
from enricher.mongo.expressions import Expression
from enricher.mongo.outage import is_refusal
from enricher.queue.book import LONGEST_ID_BYTES

ASKED_OF = frozenset({"email", "company_domain", "website", "company"})
"""The fields that decide whom a lead is about, as they are called where no mapping says otherwise."""
_CHANGED: Expression = {
    "$concatArrays": [
        {
            "$map": {
                "input": {"$objectToArray": {"$ifNull": ["$updateDescription.updatedFields", {}]}},
                "in": "$$this.k",
            }
        },
        {"$ifNull": ["$updateDescription.removedFields", []]},
        {
            "$map": {
                "input": {"$ifNull": ["$updateDescription.truncatedArrays", []]},
                "in": "$$this.field",
            }
        },
    ]
}
"""The paths that an update changed."""


def pipeline(
    names: Names, fields: Collection[str] | None = ASKED_OF, *, is_beside: bool = False
) -> list[Document]:
    """Return the stages of the stream on leads whose fields have these names: what may have become work.

    Among updates these are a user's `pending`, and changes of one of these top-level `fields`; of any, for `None`.
    All that we write of a lead changes its book-keeping, so no echo of that is let through.
    """
    if is_beside:
        return _pipeline_beside(fields)
    is_nested = "." in f"{names.enrichment_status}{names.enrichment}"
    requested = _requested_within(names) if is_nested else _requested(names)
    kind = _kind_within(names) if is_nested else 1
    return [
        {
            "$match": {
                "$or": [
                    # `invalidate` (dropped, renamed) only for its token: resuming from an earlier one would
                    # run into the same end again.
                    {"operationType": {"$in": ["insert", "replace", "invalidate"]}},
                    {"operationType": "update", **requested},
                    {"operationType": "update", "$expr": _touches(fields, names.enrichment)},
                ],
                # An event holds the key twice: once in itself and once in its token.
                "$expr": {"$lte": [{"$bsonSize": "$documentKey"}, LONGEST_ID_BYTES]},
            }
        },
        {
            "$project": {
                "_id": 1,
                "operationType": kind,
                "documentKey": 1,
                "clusterTime": 1,
                "is_asked_for": _is_set_pending(names),
            }
        },
    ]


def _pipeline_beside(fields: Collection[str] | None) -> list[Document]:
    """Return the stages where results stand beside the leads: no field of ours is on a lead, so a replaced one is a
    changed one, and a deleted one matters."""
    fits = {"$lte": [{"$bsonSize": "$documentKey"}, LONGEST_ID_BYTES]}
    always = ["insert", "replace", "delete", "invalidate"]
    is_touch = {"operationType": "update", "$expr": _has_changed(fields)}
    is_replace = {"$eq": ["$operationType", "replace"]}
    return [
        {"$match": {"$or": [{"operationType": {"$in": always}}, is_touch], "$expr": fits}},
        {
            "$project": {
                "_id": 1,
                "operationType": {"$cond": [is_replace, "update", "$operationType"]},
                "documentKey": 1,
                "clusterTime": 1,
                "is_asked_for": {"$literal": False},
            }
        },
    ]


def _has_changed(fields: Collection[str] | None) -> Expression:
    return {"$let": {"vars": {"changed": _CHANGED}, "in": _any_of("$$changed", _is_asked(fields))}}


def _is_asked(fields: Collection[str] | None) -> Expression:
    root = {"$arrayElemAt": [{"$split": ["$$this", "."]}, 0]}
    return True if fields is None else {"$in": [root, {"$literal": sorted(fields)}]}


def _touches(fields: Collection[str] | None, book: str) -> Expression:
    """Return the expression that tells an update of one of these fields, unless it is of our book-keeping too."""
    is_ours = {
        "$or": [{"$eq": ["$$this", book]}, {"$eq": [{"$indexOfCP": ["$$this", f"{book}."]}, 0]}]
    }
    has_ours, has_asked = (_any_of("$$changed", each) for each in (is_ours, _is_asked(fields)))
    is_touch = {"$and": [has_asked, {"$not": [has_ours]}]}
    return {"$let": {"vars": {"changed": _CHANGED}, "in": is_touch}}


def _any_of(names: Expression, condition: Expression) -> Expression:
    return {"$anyElementTrue": [{"$map": {"input": names, "in": condition}}]}


def _requested(names: Names) -> Document:
    """Match an update by which a user set `pending`. Admitting a new lead does so too, but writes the whole
    book-keeping with it: that echo is not worth a round trip."""
    updated = "updateDescription.updatedFields"
    return {
        f"{updated}.{names.enrichment_status}": Status.PENDING.value,
        f"{updated}.{names.enrichment}": {"$exists": False},
    }


# Where our fields stand within an object of the user's, an update may set the field itself, which the event names by
# its dotted path, or any object around it. One that sets such an object without a status has taken our
# fields away, as a replaced document has.


def _requested_within(names: Names) -> Document:
    book_is_missing = {"$eq": [_set_to(names.enrichment), None]}
    is_asked = {"$and": [_is_set_pending(names), book_is_missing]}
    return {"$expr": {"$or": [is_asked, _is_taken_away(names)]}}


def _kind_within(names: Names) -> Expression:
    return {"$cond": [_is_taken_away(names), "replace", "$operationType"]}


def _is_set_pending(names: Names) -> Expression:
    return {"$eq": [_set_to(names.enrichment_status), Status.PENDING.value]}


def _is_taken_away(names: Names) -> Expression:
    around = (path for path, rest in _splits(names.enrichment_status) if rest)
    is_any_set = {"$or": [{"$ne": [{"$type": _updated(path)}, "missing"]} for path in around]}
    is_update = {"$eq": ["$operationType", "update"]}
    return {"$and": [is_update, is_any_set, {"$eq": [_set_to(names.enrichment_status), None]}]}


def _set_to(path: str) -> Expression:
    """Return what an update set this field to, by itself or with an object around it; null if it did not."""
    values = (
        {"$let": {"vars": {"set": _updated(outer)}, "in": ".".join(["$$set", *rest])}}
        for outer, rest in _splits(path)
    )
    return {"$ifNull": [*values, None]}


def _updated(path: str) -> Expression:
    name = {"$literal": path}
    return {"$getField": {"field": name, "input": "$updateDescription.updatedFields"}}


def _splits(path: str) -> list[tuple[str, list[str]]]:
    """Return the path and each path around it, with the steps that lead on from there."""
    steps = path.split(".")
    return [(".".join(steps[:n]), steps[n:]) for n in range(len(steps), 0, -1)]


def fingerprint(
    names: Names, fields: Collection[str] | None = ASKED_OF, *, is_beside: bool = False
) -> str:
    """Return what is stored beside the token: another pipeline may not find a token that this one made."""
    stages = pipeline(names, fields, is_beside=is_beside)
    return hashlib.sha256(json.dumps(stages, sort_keys=True).encode()).hexdigest()[:16]


_POSITION_REFUSED = {286, 280, 260, 136, 10334}
_NO_STREAMS_HERE = {40573, 303}
"""Not a replica set, or a server that imitates MongoDB without change streams."""
_UNAUTHORIZED = 13
_TIMED_TOKEN = re.compile("82[0-9A-Fa-f]{8}")
_WAIT_MS = 1000
"""How long the server waits for an event, and so how late a stop may be noticed."""
_PATIENCE_SECONDS = 10.0
_LONGEST_PATIENCE_SECONDS = 320.0


Answer = TypeVar("Answer")


class Start(StrEnum):
    """Where a stream began; best first."""

    TOKEN = "token"  # noqa: S105 - a resume token is no secret
    TIME = "time"
    NOW = "now"


_WORSE = {Start.TOKEN: (Start.TIME, Start.NOW), Start.TIME: (Start.NOW,), Start.NOW: (Start.NOW,)}
"""What is left to try after a stream that began there died because of its position."""


class StreamUnavailable(Exception):
    """This server or this user has no change streams: poll instead."""


@dataclass(frozen=True, slots=True)
class Change:
    """The parts of an event that matter."""

    lead_id: LeadId
    is_replace: bool
    is_touch: bool = False
    """An update of what the lead is made of, which asks for nothing by itself."""
    is_delete: bool = False
    at: Timestamp | None = field(default=None, compare=False)


class Changes:
    """One stream, owned by one task.

    `token` is the position after everything that was handed out, and advances without events too: a
    quiet collection on a busy cluster would otherwise fall off the oplog.
    """

    def __init__(
        self,
        leads: AsyncCollection[Document],
        wait_ms: int = _WAIT_MS,
        patience: float = _PATIENCE_SECONDS,
        names: Names = NAMES,
        fields: Collection[str] | None = ASKED_OF,
        *,
        is_beside: bool = False,
    ) -> None:
        self._leads = leads
        self._pipeline = pipeline(names, fields, is_beside=is_beside)
        self._wait_ms = wait_ms
        self._first_patience = self._patience = patience
        self._stream: AsyncCollectionChangeStream[Document] | None = None
        self._start = Start.NOW
        self.token: dict[str, Any] | None = None
        """Resume token (post-batch where the server sent one); `None` before the first reply."""
        self._trusted: tuple[Start, ...] = tuple(Start)
        self._died_at = ""

    @property
    def position_seconds(self) -> float:
        """The time of the position, in seconds since 1970; 0 before the first reply."""
        return seconds_of(self.token)

    async def open(self, checkpoint: Checkpoint) -> Start:
        """Open at the best position there is. Raises StreamUnavailable, or the driver's errors."""
        if checkpoint.is_foreign and self.token is None:
            logger.bind(code=None, start=Start.TOKEN.value).warning("stream.position_lost")
        for start, position in self._positions(checkpoint):
            try:
                self._stream = await self._watch(position)
            except OperationFailure as error:
                self._explain(error, start)
            else:
                self._start = start
                self._remember_token()
                return start
        raise StreamUnavailable("no position is accepted")

    def _positions(self, checkpoint: Checkpoint) -> list[tuple[Start, dict[str, Any]]]:
        token = self.token or checkpoint.token
        time = checkpoint.operation_time
        positions: list[tuple[Start, dict[str, Any]]] = [(Start.NOW, {})]
        if time is not None:
            positions.insert(0, (Start.TIME, {"start_at_operation_time": time}))
        if token is not None:
            positions.insert(0, (Start.TOKEN, {"start_after": token}))
        return [(start, position) for start, position in positions if start in self._trusted]

    async def _watch(self, position: dict[str, Any]) -> AsyncCollectionChangeStream[Document]:
        return await self._patiently(
            self._leads.watch(
                self._pipeline,
                max_await_time_ms=self._wait_ms,
                comment="enricher: new leads",
                **position,
            )
        )

    async def _patiently(self, asking: Awaitable[Answer]) -> Answer:
        """Give the server the time it needs: double the timeout after each one that was too short."""
        try:
            with pymongo.timeout(self._patience):
                answer = await asking
        except PyMongoError as error:
            if error.timeout:
                self._patience = min(_LONGEST_PATIENCE_SECONDS, 2 * self._patience)
            raise
        self._patience = self._first_patience
        return answer

    def _explain(self, error: OperationFailure, start: Start) -> None:
        """Return if the next position should be tried; raise otherwise."""
        if error.code in _NO_STREAMS_HERE:
            raise StreamUnavailable("this MongoDB is not a replica set") from error
        if error.code == _UNAUTHORIZED:
            raise StreamUnavailable("the user lacks the changeStream privilege") from error
        if start is Start.NOW or not is_refusal(error):
            raise error
        self._lose_token(error, start)

    def _lose_token(self, error: OperationFailure, start: Start) -> None:
        self.token = None
        logger.bind(code=error.code, start=start.value).warning("stream.position_lost")

    async def next_change(self) -> Change | None:
        """Return the next change; `None` when a wait passed without one, or when the stream has ended.

        Raises the driver's errors. While `is_alive`, the same stream can be read on after an error and
        loses nothing.
        """
        if self._stream is None:
            return None
        event = await self._patiently(self._stream.try_next())
        self._remember_token()
        if event is None or "documentKey" not in event:
            return None
        kind = event["operationType"]
        is_touch = kind == "update" and not event["is_asked_for"]
        return Change(
            event["documentKey"]["_id"],
            is_replace=kind == "replace",
            is_touch=is_touch,
            is_delete=kind == "delete",
            at=event["clusterTime"],
        )

    def _remember_token(self) -> None:
        if self._stream is not None and self._stream.resume_token is not None:
            self.token = dict(self._stream.resume_token)
            if self.token["_data"] > self._died_at:
                self._trusted = tuple(Start)

    @property
    def is_alive(self) -> bool:
        """True while the driver can continue this stream by itself."""
        return self._stream is not None and self._stream.alive

    def lost_position(self, error: Exception) -> bool:
        """Return True when the stream died because its position no longer exists."""
        if not isinstance(error, OperationFailure) or error.code not in _POSITION_REFUSED:
            return False
        self._died_at = max(self._died_at, self.token["_data"] if self.token else "")
        self._trusted = _WORSE[self._start]
        self._lose_token(error, self._start)
        return True

    async def close(self) -> None:
        """Close the server's cursor; the position is kept for the next `open`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()


def seconds_of(token: Mapping[str, Any] | None) -> float:
    """PURE Return the time of a position, in seconds. A token is a key string, which begins with the type of
    a timestamp and its seconds."""
    data = token["_data"] if token else ""
    return float(int(data[2:10], 16)) if _TIMED_TOKEN.match(data) else 0.0
