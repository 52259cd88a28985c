"""How one question is stored in `enricher_answers`, and how it is read.

    _id          str   the question: a keyed hash, see mongo/secret.py
    provider     str   the provider that was asked, for people
    expires_at   date  when the document is deleted (TTL index); never says whether an answer is valid
    reply        the answer: status, headers, body, packed (zlib), at, expires_at
    paid_at      when the vendor last said that it is preparing an answer it has charged for
    useless_at   when the vendor last charged for an answer that told us nothing
    flight       a call that may be under way: id, holder, beat, at, after (id of the flight it replaced)

Answer and flight are independent: while a question is asked afresh, its old answer serves every caller
that accepts it. What a field means is decided inside the database, by its clock, and in one place for
reading and writing: a document that the two judged differently would be waited for indefinitely. Values
that we did not write count as no answer and no flight.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from enricher.answer import Reply
from enricher.lead import Document
from enricher.mongo.expressions import Expression, is_type

COLLECTION = "enricher_answers"
_HEADERS = ("content-type", "date")
_LARGEST_BODY = 64 * 1024 * 1024
"""Bytes after unpacking: no foreign data may fill the memory."""
_WORTH_SQUEEZING = 1024
"""Bytes: below this, compression takes more time than the space it saves is worth."""
_LATELY_MS = 3_600_000
"""An hour without word that the vendor is still preparing an answer.

Beyond that the vendor starts over and charges again; and the run of a lead that paid for nothing is over,
or nearly.
"""
LARGEST_STORED = 12 * 1024 * 1024
"""Bytes. A document has at most 16 MB."""

ANSWERED: Expression = {
    "$and": [
        is_type("$reply.status", "int"),
        is_type("$reply.body", "binData"),
        is_type("$reply.at", "date"),
        is_type("$reply.expires_at", "date"),
        {"$gt": ["$reply.expires_at", "$$NOW"]},
    ]
}
HELD: Expression = {
    "$and": [
        is_type("$flight.id", "string"),
        {"$in": [{"$type": "$flight.beat"}, ["int", "long"]]},
    ]
}
_SILENT_MS = {"$subtract": ["$$NOW", "$flight.at"]}
_SEEN = {
    "id": "$flight.id",
    "beat": "$flight.beat",
    "after": "$flight.after",
    "silent_ms": {"$cond": [is_type("$flight.at", "date"), _SILENT_MS, None]},
}


def _lately(path: str) -> Expression:
    """Keep the date at `path` only if it is recent."""
    is_recent = {"$gt": [path, {"$subtract": ["$$NOW", _LATELY_MS]}]}
    return {"$cond": [{"$and": [is_type(path, "date"), is_recent]}, path, "$$REMOVE"]}


_STANDING = {
    "reply": {"$cond": [ANSWERED, "$reply", "$$REMOVE"]},
    "flight": {"$cond": [HELD, _SEEN, "$$REMOVE"]},
    "paid_at": _lately("$paid_at"),
    "useless_at": _lately("$useless_at"),
}


@dataclass(frozen=True, slots=True)
class Beat:
    """A flight's sign of life: `number` rises for as long as its holder lives."""

    flight: str
    number: int
    silent: float = field(default=math.inf, compare=False)
    """Seconds since the beat, by the server's clock."""


@dataclass(frozen=True, slots=True)
class QuestionState:
    """One question as it stood when it was read."""

    reply: Reply | None = None
    at: datetime | None = None
    until: datetime | None = None
    """When the reply expires; `None` for a date beyond Python's range."""
    beat: Beat | None = None
    """`None` when no call is under way."""
    took_over: bool = False
    """The flight replaced one whose holder had gone silent."""
    paid_at: datetime | None = None
    """When the vendor last said that it is preparing a paid answer; `None` once that is an hour old."""
    was_useless: bool = False
    """It was recently charged for, and told us nothing."""

    def is_paid(self, newer_than: datetime | None) -> bool:
        """True when the vendor would treat the next call as part of the one already charged."""
        return self.paid_at is not None and (newer_than is None or self.paid_at > newer_than)

    def answer(self, newer_than: datetime | None) -> Reply | None:
        """Return the stored reply, unless the caller wants one that came after `newer_than`."""
        is_old = newer_than is not None and (self.at is None or self.at <= newer_than)
        return None if is_old else self.reply


def answered_after(newer_than: datetime | None) -> Expression:
    """`Standing.answer` as an expression inside the database."""
    if newer_than is None:
        return ANSWERED
    return {"$and": [ANSWERED, {"$gt": ["$reply.at", {"$literal": newer_than}]}]}


async def read(
    collection: AsyncCollection[Document], keys: Iterable[str]
) -> dict[str, QuestionState]:
    """Return how these questions stand, in one round trip; questions never asked are missing from the result."""
    found: dict[str, QuestionState] = {}
    unreadable: list[UpdateOne] = []
    async for document in collection.find({"_id": {"$in": list(set(keys))}}, _STANDING):
        stored, flight = document.get("reply"), document.get("flight")
        reply = _unpack(stored) if stored else None
        if stored and reply is None:
            unreadable.append(_discarding(document["_id"], stored))
        found[document["_id"]] = QuestionState(
            reply=reply,
            at=stored["at"] if stored and reply else None,
            until=_date(stored["expires_at"]) if stored and reply else None,
            beat=_beat(flight) if flight else None,
            took_over=bool(flight and flight.get("after")),
            paid_at=_date(document.get("paid_at")),
            was_useless="useless_at" in document,
        )
    if unreadable:  # or the database, which cannot look inside, would count it as an answer
        await collection.bulk_write(unreadable, ordered=False)
    return found


def _date(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _beat(flight: Mapping[str, Any]) -> Beat:
    silent_ms = flight["silent_ms"]
    silent = math.inf if silent_ms is None else silent_ms / 1000
    return Beat(flight["id"], flight["beat"], silent)


def pack(reply: Reply) -> Document:
    """Return the reply as it is stored, with only those headers that matter later."""
    is_worth_it = len(reply.body) >= _WORTH_SQUEEZING
    squeezed = zlib.compress(reply.body, level=1) if is_worth_it else reply.body
    is_shorter = len(squeezed) < len(reply.body)
    return {
        "status": reply.status,
        # HTTP clients use lone surrogates for stray bytes, and the database rejects them.
        "headers": {
            name: reply.headers[name].encode("utf-8", "replace").decode()
            for name in _HEADERS
            if name in reply.headers
        },
        "body": squeezed if is_shorter else reply.body,
        "packed": is_shorter,
    }


def _unpack(stored: Mapping[str, Any]) -> Reply | None:
    """Return the reply, or `None` for what only looks like an answer."""
    headers, body = stored.get("headers"), bytes(stored["body"])
    if not isinstance(headers, dict) or not isinstance(stored["at"], datetime):
        return None
    if stored.get("packed"):
        unpacker = zlib.decompressobj()
        try:
            body = unpacker.decompress(body, _LARGEST_BODY)
        except zlib.error:
            return None
        if not unpacker.eof:
            return None
    texts = {name: headers[name] for name in _HEADERS if isinstance(headers.get(name), str)}
    return Reply(stored["status"], texts, body)


def _discarding(key: str, stored: Mapping[str, Any]) -> UpdateOne:
    """Discard only the body that was seen: a valid answer may have replaced it."""
    return UpdateOne({"_id": key, "reply.body": stored["body"]}, {"$unset": {"reply": 1}})
