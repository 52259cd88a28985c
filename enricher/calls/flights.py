"""Questions that cost money: of all daemons, only one at a time asks one, and its answer is kept.

A flight is a mark in the question's document, taken right before the call and ended by its answer. Its
holder beats while the call lasts. The waiters decide whether a holder is dead, and never by a stored time
alone: a flight is abandoned once it has been silent for a lease and an observer, reading it repeatedly
without a gap, has seen no beat for a while. After an outage everything looks old, so a failed or late
read restarts the observation and gives a living holder that while to beat.

The server's clock may be set back, or the next primary's may be behind: then the last beat lies in the
future and looks young for as long as the clock went back. An observer then relies on its own watch alone,
which has to last a whole lease.

A wrong judgement costs the price of one call and no more: a flight is replaced by compare-and-set on the
beat that was seen, and a late answer is stored anyway.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from loguru import logger
from pymongo import DeleteOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect, BulkWriteError

from enricher.answer import Reply
from enricher.lead import Document
from enricher.mongo import DatabaseTrouble, server
from enricher.mongo.batch import Coalescer, LoneRow, RowPath, Table, TableRow, encode
from enricher.mongo.expressions import Expression, Pipeline, in_milliseconds, is_type
from enricher.mongo.outage import Outage, may_do_one_by_one, pause, refusals
from enricher.mongo.server import ServerClock

# How one question is stored in `enricher_answers`, and how it is read.
#
#     _id          str   the question: a keyed hash, see mongo/secret.py
#     provider     str   the provider that was asked, for people
#     expires_at   date  when the document is deleted (TTL index); never says whether an answer is valid
#     reply        the answer: status, headers, body, packed (zlib), at, expires_at
#     paid_at      when the vendor last said that it is preparing an answer it has charged for
#     useless_at   when the vendor last charged for an answer that told us nothing
#     flight       a call that may be under way: id, holder, beat, at, after (id of the flight it replaced)
#
# Answer and flight are independent: while a question is asked afresh, its old answer serves every caller
# that accepts it. What a field means is decided inside the database, by its clock, and in one place for
# reading and writing: a document that the two judged differently would be waited for indefinitely. Values
# that we did not write count as no answer and no flight.

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
            beat=_last_beat(flight) if flight else None,
            took_over=bool(flight and flight.get("after")),
            paid_at=_date(document.get("paid_at")),
            was_useless="useless_at" in document,
        )
    if unreadable:  # or the database, which cannot look inside, would count it as an answer
        await collection.bulk_write(unreadable, ordered=False)
    return found


def _date(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _last_beat(flight: Mapping[str, Any]) -> Beat:
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


# Signs of life for our own flights, and the end of those that are no longer wanted.
#
# Most calls are over before their first beat. A flight is unwanted when it was given up without an answer,
# and also when it may be in the database without our knowing (a take that failed half-way, a caller that
# was cancelled): it is let go repeatedly until the database confirms it.

_BEATS_PER_LEASE = 5
_TRIES_PER_LEASE = 20
_TIMEOUTS_PER_LEASE = 4
"""A beat on a dead connection must fail early enough for another one to get through.

The driver's own time-out would not do: with less time left than the slowest recent round trip took, the
driver does not even send the command, and no beat would get through after an outage.
"""


_BEATING = "beats"
"""Names the beats in the outage, which they share with the answers being kept."""


@dataclass(frozen=True, slots=True)
class _Held:
    key: str
    since: float


@dataclass(frozen=True, slots=True)
class _Unwanted:
    key: str
    is_paid: bool | None
    is_useless: bool


@dataclass(slots=True)
class Beats:
    """The flights that this process holds, and those it wants to be rid of."""

    collection: AsyncCollection[Document]
    lease: float
    """Seconds without a beat after which others consider a flight abandoned."""
    outage: Outage = field(default_factory=lambda: Outage("cache"))
    _held: dict[str, _Held] = field(default_factory=dict)
    """By flight id, like `_unwanted`."""
    _unwanted: dict[str, _Unwanted] = field(default_factory=dict)

    def hold(self, flight: str, key: str) -> None:
        """Keep the flight alive until it has ended or is given up."""
        self._held[flight] = _Held(key, time.monotonic())

    def ended(self, flight: str) -> None:
        """Stop beating for a flight that is no longer in the database, or is not ours."""
        self._held.pop(flight, None)

    def give_up(
        self, flight: str, key: str, *, is_paid: bool | None = None, is_useless: bool = False
    ) -> None:
        """Mark a flight for removal; harmless for one that never existed.

        `is_paid`: the vendor has charged for the question and answers later; `None` when that is no
        better known than before. `is_useless`: the vendor charged for an answer that told us nothing.
        """
        self.ended(flight)
        self._unwanted[flight] = _Unwanted(key, is_paid, is_useless)

    async def run(self, stop: asyncio.Event) -> None:
        """Beat until told to stop, which happens after the last call has ended."""
        while not stop.is_set():
            next_at = time.monotonic() + self.lease / _BEATS_PER_LEASE
            if await self._beat():
                await pause(stop, next_at - time.monotonic())
            else:
                await pause(stop, self.lease / _TRIES_PER_LEASE)
        await self._beat()

    async def _beat(self) -> bool:
        old = time.monotonic() - self.lease / _BEATS_PER_LEASE
        beats = [_beat(flight, it.key) for flight, it in self._held.items() if it.since <= old]
        if not beats and not self._unwanted:
            self.outage.forget(_BEATING)  # nothing here waits for the database any more
            return True
        try:
            async with asyncio.timeout(self.lease / _TIMEOUTS_PER_LEASE):
                if beats:
                    await self.collection.bulk_write(beats, ordered=False)
                await self._free()
        except (*DatabaseTrouble, TimeoutError) as error:
            self.outage.failed(error, _BEATING)
            return False
        self.outage.succeeded(_BEATING)
        return True

    async def free(self) -> None:
        """Let go of all flights that were given up. Raises nothing: if this fails, the next beat does it."""
        try:
            async with asyncio.timeout(self.lease / _TIMEOUTS_PER_LEASE):
                await self._free()
        except (*DatabaseTrouble, TimeoutError) as error:
            self.outage.failed(error, _BEATING)

    async def _free(self) -> None:
        # Taken out first: a flight given up in the meantime may not have been there to let go.
        going, self._unwanted = self._unwanted, {}
        if not going:
            return
        try:
            await self.collection.bulk_write(
                [_letting_go(flight, it) for flight, it in going.items()], ordered=False
            )
        except BaseException:
            self._unwanted = going | self._unwanted
            raise


_ALIVE = {"$inc": {"flight.beat": 1}, "$currentDate": {"flight.at": True}}


def _beat(flight: str, key: str) -> UpdateOne:
    return UpdateOne({"_id": key, "flight.id": flight}, _ALIVE)


def _letting_go(flight: str, it: _Unwanted) -> UpdateOne:
    """Unset the flight but keep the document for a while: a late answer is stored only where a question stands."""
    update: Document = {"$unset": {"flight": 1}}
    now = {"paid_at": it.is_paid is True, "useless_at": it.is_useless}
    if any(now.values()):
        update["$currentDate"] = {name: True for name, is_now in now.items() if is_now}
    if it.is_paid is False:
        update["$unset"]["paid_at"] = 1
    return UpdateOne({"_id": it.key, "flight.id": flight}, update)


_CHECKS_PER_LEASE = 20
_LONGEST_CHECK_SECONDS = 0.1
"""While the database responds promptly, waiters see an answer at most this much later."""
_GAPS_PER_LEASE = 3
_LARGEST_BATCH = 200
_LARGEST_CHECK = 1000
_WATCHES_PER_LEASE = 4
_WATCHED_SECONDS = 1.5
"""Once the database is back, a living holder gets a beat through within this time."""
_DUPLICATE_KEY = 11000
_UNANSWERED_FOR = timedelta(days=1)
"""How long a question stands without an answer: longer than a call and its late answer may take."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A flight of our own: a call for this question may be under way."""

    key: str
    id: str
    """Unique to this take."""
    took_over: bool = False
    """Its previous holder went silent: that holder's call may have been made, and charged."""
    is_paid: bool = False
    """The vendor has charged for the question, whichever daemon asked it, and is preparing the answer."""


Taken: TypeAlias = Flight | Reply | None
"""The result of a take; `None` while another flight is under way."""


@dataclass(slots=True, eq=False)
class _Request:
    flight: Flight
    provider: str
    newer_than: datetime | None
    abandoned: Beat | None
    is_wanted: bool = True


@dataclass(slots=True)
class Vigil:
    """PURE One observer's watch over a flight.

    A flight is abandoned when it has been silent for a whole lease by the server's clock and the observer
    itself has seen, without a gap, no beat for a while. Silence alone proves nothing: after an outage
    every living holder has been silent. Where the clock went back, the observer has to watch for the
    whole lease.
    """

    lease: float
    _beat: Beat | None = None
    _since: float = 0.0
    _last: float = 0.0

    def saw(self, beat: Beat | None, now: float) -> bool:
        """Note one reading, `None` for one that failed. Returns True once the flight is abandoned."""
        if beat is None or beat != self._beat or now - self._last > self.lease / _GAPS_PER_LEASE:
            self._beat, self._since = beat, now
        self._last = now
        if beat is None:
            return False
        if beat.silent < 0:
            return now - self._since >= self.lease
        watched = min(_WATCHED_SECONDS, self.lease / _WATCHES_PER_LEASE)
        return beat.silent >= self.lease and now - self._since >= watched


class Flights:
    """The flights of one process, and its view of the fleet's. Concurrent calls share round trips."""

    def __init__(self, collection: AsyncCollection[Document], holder: str, lease: float) -> None:
        """`holder` names the process, for people; `lease` is in seconds."""
        self._collection = collection
        self._holder = holder
        self._lease = lease
        self._clock = ServerClock(collection.database.client)
        self.beats = Beats(collection, lease)
        self._waits = Outage("flights")
        self._abandoned: dict[str, Beat] = {}
        """The beats seen of flights judged abandoned: the next take replaces exactly that beat."""
        self._taking = Coalescer("cache-take", self._take, _LARGEST_BATCH)
        self._checking = Coalescer("cache-wait", self._check, _LARGEST_CHECK)
        self._freeing: Coalescer[None, None] = Coalescer("cache-let-go", self._free, _LARGEST_BATCH)

    async def take(self, key: str, provider: str, newer_than: datetime | None = None) -> Taken:
        """Return our own flight, the reply if there already is one, or `None` while another is under way.

        Raises what the database does; whatever the take left behind is then let go.
        """
        flight = Flight(key, uuid.uuid4().hex)
        request = _Request(flight, provider, newer_than, self._abandoned.pop(key, None))
        try:
            return await self._taking.submit(request)
        except asyncio.CancelledError:
            request.is_wanted = False
            self.beats.give_up(flight.id, key)
            raise

    async def wait(self, key: str, newer_than: datetime | None = None) -> Reply | None:
        """Wait for the reply; returns `None` when the question is free or its flight abandoned: take again.

        Raises no database error: it waits outages out.
        """
        vigil = Vigil(self._lease)
        while True:
            standing = await self._checking.submit(key)
            reply = standing.answer(newer_than) if standing else None
            if reply is not None or (standing and standing.beat is None):
                return reply
            beat = standing.beat if standing else None
            if vigil.saw(beat, time.monotonic()) and beat:
                self._abandoned[key] = beat
                return None

    async def let_go(
        self, flight: Flight, *, is_paid: bool | None = None, is_useless: bool = False
    ) -> None:
        """End the flight without an answer. Raises nothing: while the database is away, `run` retries.

        `is_paid`: the vendor has charged for the question and answers later, so the next call for it is
        not counted again. `is_useless`: the vendor charged and told us nothing.
        """
        self.beats.give_up(flight.id, flight.key, is_paid=is_paid, is_useless=is_useless)
        await self._freeing.submit(None)

    async def _free(self, batch: Sequence[None]) -> Sequence[None]:
        await self.beats.free()
        return batch

    # -- waiting -----------------------------------------------------------------------------

    async def _check(self, keys: Sequence[str]) -> Sequence[QuestionState | None]:
        """Make one reading for all waiters here, at a steady pace; each result is `None` when it failed."""
        await asyncio.sleep(min(_LONGEST_CHECK_SECONDS, self._lease / _CHECKS_PER_LEASE))
        try:
            standings = await read(self._collection, keys)
        except DatabaseTrouble as error:
            await asyncio.sleep(self._waits.failed(error))
            return [None] * len(keys)
        self._waits.succeeded()
        return [standings.get(key, QuestionState()) for key in keys]

    # -- taking ------------------------------------------------------------------------------

    async def _take(self, batch: Sequence[_Request]) -> Sequence[Taken]:
        requests = [request for request in batch if request.is_wanted]
        for request in requests:  # before the write: from then on others may see the flight
            self.beats.hold(request.flight.id, request.flight.key)
        try:
            try:
                taken = await self._take_all(requests)
            except DatabaseTrouble:
                # A try whose reply was lost may have worked, and repeating it with the same ids shows that.
                taken = await self._take_all(requests)
        except BaseException:
            self._settle_holds(requests, {})
            raise
        self._settle_holds(requests, taken)
        return [taken.get(request.flight.id) for request in batch]

    def _settle_holds(self, requests: Sequence[_Request], taken: dict[str, Taken]) -> None:
        """Keep the flights that are ours; give up those that may be ours but have no taker."""
        for request in requests:
            flight = request.flight
            if flight.id not in taken or not request.is_wanted:
                self.beats.give_up(flight.id, flight.key)
            elif not isinstance(taken[flight.id], Flight):
                self.beats.ended(flight.id)

    async def _take_all(self, requests: Sequence[_Request]) -> dict[str, Taken]:
        """Return the outcomes by flight id: one round trip when all questions are new, otherwise three.

        Nearly every question is new, and an insert costs the server a fifth of an update with all its
        expressions (0.04 against 0.23 ms of CPU, MongoDB 6.0). Callers look before they take.
        """
        new = [each for each in requests if each.newer_than is None and each.abandoned is None]
        made = await self._insert(new) if new else set()
        if rest := [each for each in requests if each.flight.id not in made]:
            made |= await self._upsert(rest)
        taken: dict[str, Taken] = {
            each.flight.id: each.flight for each in requests if each.flight.id in made
        }
        rest = [request for request in rest if request.flight.id not in taken]
        standings = await read(self._collection, [each.flight.key for each in rest]) if rest else {}
        for request in rest:
            taken[request.flight.id] = _outcome(request, standings.get(request.flight.key))
        return taken

    async def _upsert(self, requests: Sequence[_Request]) -> set[str]:
        """Return the ids of flights whose document this write created, and which are therefore ours."""
        updates = [self._update(each) for each in requests]
        try:
            result = await self._collection.bulk_write(updates, ordered=False)
        except BulkWriteError as error:
            if not _is_only_a_race(error.details):
                raise
            upserted = [entry["index"] for entry in error.details["upserted"]]
        else:
            upserted = list(result.upserted_ids or ())
        return {requests[number].flight.id for number in upserted}

    async def _insert(self, requests: Sequence[_Request]) -> set[str]:
        """Return the ids of flights that the insert made ours; the other questions have been asked before."""
        # Never by our own clock. A slow one makes a flight look silent before its first beat, and the call
        # is paid for twice; a fast one keeps the flight alive for that much longer after its holder's
        # death.
        now = await self._clock.fresh()
        ids = [each.flight.id for each in requests]
        try:
            await self._collection.insert_many(
                [self._question(each, now) for each in requests], ordered=False
            )
        except BulkWriteError as error:
            if not _is_only_a_race(error.details):
                raise
            taken = {entry["index"] for entry in error.details["writeErrors"]}
            return {id_ for number, id_ in enumerate(ids) if number not in taken}
        return set(ids)

    def _question(self, request: _Request, now: datetime) -> Document:
        flight = {"id": request.flight.id, "holder": self._holder, "beat": 0, "at": now}
        return {
            "_id": request.flight.key,
            "provider": request.provider,
            "expires_at": now + _UNANSWERED_FOR,
            "flight": flight,
        }

    def _update(self, request: _Request) -> UpdateOne:
        question = {
            "_id": "$_id",
            "provider": {"$literal": request.provider},
            "expires_at": {
                "$max": [
                    in_milliseconds(_UNANSWERED_FOR),
                    {"$cond": [ANSWERED, "$reply.expires_at", None]},
                ]
            },
            "reply": {"$cond": [ANSWERED, "$reply", "$$REMOVE"]},
            "paid_at": "$paid_at",
            "useless_at": "$useless_at",
            "flight": {
                "id": request.flight.id,
                "holder": {"$literal": self._holder},
                "beat": {"$literal": 0},
                "at": "$$NOW",
                "after": {"$cond": [HELD, "$flight.id", "$$REMOVE"]},
            },
        }
        taking = {"$cond": [_is_to_be_had(request), question, "$$ROOT"]}
        return UpdateOne({"_id": request.flight.key}, [{"$replaceWith": taking}], upsert=True)


def _is_to_be_had(request: _Request) -> Expression:
    free: list[Expression] = [{"$not": [HELD]}]
    if seen := request.abandoned:
        same = [
            {"$eq": ["$flight.id", {"$literal": seen.flight}]},
            {"$eq": ["$flight.beat", seen.number]},
        ]
        free.append({"$and": same})
    return {"$and": [{"$not": [answered_after(request.newer_than)]}, {"$or": free}]}


def _is_only_a_race(details: Mapping[str, Any]) -> bool:
    """True when two daemons created the same document at once; a read shows which of them owns it."""
    return not details["writeConcernErrors"] and all(
        entry["code"] == _DUPLICATE_KEY for entry in details["writeErrors"]
    )


def _outcome(request: _Request, standing: QuestionState | None) -> Taken:
    if standing is None:
        return None
    if standing.beat and standing.beat.flight == request.flight.id:
        is_paid = standing.is_paid(request.newer_than)
        return Flight(request.flight.key, request.flight.id, standing.took_over, is_paid)
    return standing.answer(request.newer_than)


# The cache: what vendors answered, raw, for all daemons and for as long as it is valid.
#
# An answer is stored before anything else is done with it, so a crash does not pay for it twice, and, like
# a settle, the write is tried until the database gives a definite answer. We store the vendor's reply and
# not our reading of it: a provider that learns to read more of it does so without a call.
#
# The same documents hold the flights. An answer beats a flight, whoever holds it, and the last answer wins:
# each was paid for. Only a forgotten question stays forgotten; a reply that arrives afterwards is dropped.

INDEX = "enricher_answers_expiry"
_LONGEST_LEASE_SECONDS = 5.0
_MOST_READ_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class _Answer:
    flight: Flight
    reply: Document
    lasts: timedelta


class Cache:
    """The answers and flights of one fleet, as one process sees them. Concurrent calls share round trips."""

    def __init__(
        self, database: AsyncDatabase[Document], holder: str, lease_seconds: float
    ) -> None:
        """`holder` names the process, for people; its flights are abandoned after 5 s at most."""
        self._collection = database[COLLECTION]
        self._flights = Flights(
            self._collection, holder, min(_LONGEST_LEASE_SECONDS, lease_seconds)
        )
        looking = Coalescer("cache-look", self._look, _MOST_READ_AT_ONCE)
        self._keeping = Coalescer("cache-keep", self._keep, _MOST_READ_AT_ONCE)
        self.take = self._flights.take
        self.wait = self._flights.wait
        self.let_go = self._flights.let_go
        self.run = self._flights.beats.run
        self.standing = looking.submit
        """Returns how the question with this key stands."""
        self.outage = self._flights.beats.outage
        """That of the beats and the kept answers, for the readiness check."""

    async def ensure(self) -> None:
        """Create the index that deletes expired answers; log a missing privilege and go on."""
        await server.let_expire(self._collection, INDEX)

    async def look(self, key: str, newer_than: datetime | None = None) -> Reply | None:
        """Return the stored reply, if it is still valid and came after `newer_than`."""
        return (await self.standing(key)).answer(newer_than)

    async def keep(self, flight: Flight, reply: Reply, lasts: timedelta) -> None:
        """Store the reply for `lasts` and end the flight. Raises no database error.

        Waits an outage out. A caller may stop waiting: the reply is stored all the same.
        """
        packed = pack(reply)
        if len(packed["body"]) > LARGEST_STORED:
            logger.bind(question=flight.key, status=reply.status).error("cache.too_large")
            await self.let_go(flight)
            return
        await self._keeping.submit(_Answer(flight, packed, lasts))

    async def forget(self, keys: Collection[str]) -> int:
        """Delete these questions; the reply to a call under way is dropped when it arrives.

        Returns how many there were, those without an answer included.
        """
        if not keys:
            return 0
        deletions = [DeleteOne({"_id": key}) for key in keys]
        result = await self._collection.bulk_write(deletions, ordered=False)
        return result.deleted_count

    # -- coalesced ---------------------------------------------------------------------------

    async def _look(self, keys: Sequence[str]) -> Sequence[QuestionState]:
        standings = await read(self._collection, keys)
        return [standings.get(key, QuestionState()) for key in keys]

    async def _keep(self, batch: Sequence[_Answer]) -> Sequence[None]:
        while True:
            try:
                await self._store(batch)
            except DatabaseTrouble as error:
                await asyncio.sleep(self.outage.failed(error))
            else:
                self.outage.succeeded()
                return [None] * len(batch)

    async def _store(self, batch: Sequence[_Answer]) -> None:
        refused: dict[int, int] = {}
        rows = [_row(answer) for answer in batch]
        rest: Sequence[int] = range(len(rows))
        try:
            _, rest = await _KEEPING.write(self._collection, rows)
        except AutoReconnect as error:
            if not may_do_one_by_one(error):
                raise
        if rest:
            updates = [UpdateOne({"_id": rows[n].id}, _KEEPING.alone(rows[n])) for n in rest]
            try:
                await self._collection.bulk_write(updates, ordered=False)
            except BulkWriteError as error:
                refused = {rest[each.position]: each.code for each in refusals(error)}
        for number, answer in enumerate(batch):
            self._flights.beats.ended(answer.flight.id)
            if number in refused:
                logger.bind(question=answer.flight.key, code=refused[number]).error("cache.refused")
                self._flights.beats.give_up(answer.flight.id, answer.flight.key)


def _keep(row: RowPath | LoneRow) -> Pipeline:
    """Store without an upsert: what was forgotten in the meantime must not come back."""
    expires_at = {"$add": ["$$NOW", row.value("lasts_ms")]}
    is_ours = {"$eq": ["$flight.id", row.value("flight")]}
    stored = {
        "_id": "$_id",
        "provider": "$provider",
        "expires_at": {"$max": [expires_at, {"$cond": [is_ours, None, "$expires_at"]}]},
        "reply": {"$mergeObjects": [row.value("reply"), {"at": "$$NOW", "expires_at": expires_at}]},
        "flight": {"$cond": [is_ours, "$$REMOVE", "$flight"]},
    }
    return [{"$replaceWith": stored}]


_KEY: Document = {"id": "$_id"}
_KEEPING = Table(_KEY, _KEY, _keep, within="")


def _row(answer: _Answer) -> TableRow:
    values = {
        "flight": answer.flight.id,
        "reply": answer.reply,
        "lasts_ms": round(answer.lasts.total_seconds() * 1000),
    }
    key = encode({"id": answer.flight.key})
    return TableRow(answer.flight.key, key, key, encode(values))
