"""The change stream on the leads: opened, resumed, and read by one task.

The stream is a doorbell. An event carries no obligation: it names a lead that may have become
work, and the claim finds that lead again by itself. Nothing of the document travels in it, so a
document of any size passes, and the filter uses only fields of the event that can never change,
or a saved token might not be found again.

The driver is asked with `try_next()` only. Cancelling a read, or a time-out around one, kills the
stream, and the next read then looks like a clean end.

A token that the server refuses is never tried twice:

    token -> refused (286, 280, 260, 136, 10334) -> time of the last checkpoint -> refused -> now

A start by time replays what was seen already, which changes nothing. A start from now leaves a
gap, and says so: the stream is opened first, and then the collection is searched for what was
missed (`history.py`). The very first start begins now, because what stands there is nobody's work.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from loguru import logger
from pymongo.asynchronous.change_stream import AsyncCollectionChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure, PyMongoError

from enricher.lead import Document, LeadId, Status
from enricher.store.checkpoints import Checkpoint

PIPELINE: list[Document] = [
    {
        "$match": {
            "$or": [
                # `invalidate` (dropped, renamed) only for its token: resuming from an earlier one would
                # meet the same end again.
                {"operationType": {"$in": ["insert", "replace", "invalidate"]}},
                {
                    # Somebody set `pending`. Admitting a new lead does so as well, but writes the
                    # whole book-keeping with it: that echo is not worth a round trip.
                    "operationType": "update",
                    "updateDescription.updatedFields.enrichment_status": Status.PENDING.value,
                    "updateDescription.updatedFields.enrichment": {"$exists": False},
                },
            ]
        }
    },
    {"$project": {"_id": 1, "operationType": 1, "documentKey": 1}},
]
FINGERPRINT = hashlib.sha256(json.dumps(PIPELINE, sort_keys=True).encode()).hexdigest()[:16]
"""A token made by one pipeline may not be found by another; it is stored beside the token."""

_POSITION_REFUSED = {286, 280, 260, 136, 10334}
_NO_STREAMS_HERE = {40573, 303}
"""Not a replica set; or a server that imitates MongoDB without change streams."""
_UNAUTHORIZED = 13
_MAX_AWAIT_MS = 1000


class Start(StrEnum):
    """Where a stream began."""

    TOKEN = "token"  # noqa: S105 - a resume token is no secret
    TIME = "time"
    NOW = "now"


class StreamUnavailable(Exception):
    """This server, or this user, has no change streams: poll instead."""


@dataclass(frozen=True, slots=True)
class Change:
    """One event, as far as it matters."""

    lead_id: LeadId
    is_replace: bool


class Changes:
    """One stream, owned by one task.

    `token` is the position after everything that was handed out, also when nothing was: a quiet
    collection on a busy cluster would otherwise fall off the oplog.
    """

    def __init__(self, leads: AsyncCollection[Document]) -> None:
        self._leads = leads
        self._stream: AsyncCollectionChangeStream[Document] | None = None
        self._token: dict[str, Any] | None = None

    @property
    def token(self) -> dict[str, Any] | None:
        """Resume token (post-batch where the server sent one); `None` before the first reply."""
        return self._token

    async def open(self, checkpoint: Checkpoint) -> Start:
        """Open at the best position there is. Raises StreamUnavailable, or what the driver raises."""
        for start, position in self._positions(checkpoint):
            try:
                self._stream = await self._watch(position)
            except OperationFailure as error:
                self._explain(error, start)
            else:
                self._remember_token()
                return start
        raise StreamUnavailable("no position is accepted")

    def _positions(self, checkpoint: Checkpoint) -> list[tuple[Start, dict[str, Any]]]:
        token = self._token or checkpoint.token
        time = checkpoint.operation_time
        positions: list[tuple[Start, dict[str, Any]]] = [(Start.NOW, {})]
        if time is not None:
            positions.insert(0, (Start.TIME, {"start_at_operation_time": time}))
        if token is not None:
            positions.insert(0, (Start.TOKEN, {"start_after": token}))
        return positions

    async def _watch(self, position: dict[str, Any]) -> AsyncCollectionChangeStream[Document]:
        return await self._leads.watch(
            PIPELINE, max_await_time_ms=_MAX_AWAIT_MS, comment="enricher: new leads", **position
        )

    def _explain(self, error: OperationFailure, start: Start) -> None:
        """Return when the next position should be tried; raise otherwise."""
        if error.code in _NO_STREAMS_HERE:
            raise StreamUnavailable("this MongoDB is not a replica set") from error
        if error.code == _UNAUTHORIZED:
            raise StreamUnavailable("the user lacks the changeStream privilege") from error
        if error.code not in _POSITION_REFUSED:
            raise error
        self._token = None
        logger.bind(code=error.code, start=start).warning("stream.position_lost")

    async def next_change(self) -> Change | None:
        """The next change; `None` when a wait passed without one, or when the stream has ended.

        Raises what the driver raises. While `is_alive`, the same stream can be read on after an
        error and loses nothing.
        """
        if self._stream is None:
            return None
        event = await self._stream.try_next()
        self._remember_token()
        return None if event is None or "documentKey" not in event else _change(event)

    def _remember_token(self) -> None:
        if self._stream is not None and self._stream.resume_token is not None:
            self._token = dict(self._stream.resume_token)

    @property
    def is_alive(self) -> bool:
        """True while the driver can go on with this stream by itself."""
        return self._stream is not None and self._stream.alive

    def lost_position(self, error: PyMongoError) -> bool:
        """True when the stream died because its position no longer exists."""
        lost = isinstance(error, OperationFailure) and error.code in _POSITION_REFUSED
        if lost:
            self._token = None
        return lost

    async def close(self) -> None:
        """Close the server's cursor; the position is kept for the next `open`."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()


def _change(event: Document) -> Change:
    return Change(event["documentKey"]["_id"], event["operationType"] == "replace")
