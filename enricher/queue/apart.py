"""Writes many leads at once, and lets none of them hold up the others.

A plain write to a document that a writer's open transaction has changed waits inside the server until that
transaction ends, which may take a minute, and an update of many documents stops there, ordered or not. So
a batch is written under a short limit. When time is up the server is asked for a write that concerns no lead:

    it answers in time       the leads are written each apart, and one that does not go through is blocked
    it does not              it is the server that is slow, or away: that is no lead's fault, the error is
                             the caller's, and the next batch has more time

Every such write is guarded by a filter that it makes untrue itself, so what a time-out leaves open is found
out by writing again. A blocked lead is left out of batches for a while and tried beside them, briefly.

A server that is slow and well must not be asked for each lead apart again and again: where all went through
one by one, too, the next batch has more time, until batches are quick again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

import pymongo
from bson import ObjectId
from loguru import logger
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    AutoReconnect,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
)

from enricher.lead import Document, LeadId
from enricher.mongo import expressions
from enricher.mongo.expressions import id_key
from enricher.mongo.outage import is_denied
from enricher.queue.aside import Aside
from enricher.telemetry import metrics
from enricher.telemetry.labels import label

# Leads whose write ends the server, whatever the reason: known before the next blow, and written no more.
#
# A server that dies in the middle of a write dies again when that write is repeated, and so does the next
# primary. Nobody can tell from outside which of a batch it was, nor whether it was the write at all. So
#
#     a write loses its connection, and    its leads are suspects: from now on each is written alone
#     that server's process is gone
#     a write gets no answer in time, and  the same: a server that dies on a busy machine takes its time
#     its process is gone a minute later
#     before such a write                  it is put on record, with the process that it is sent to
#     after it                             that is taken back, and the lead is a suspect no more
#     two processes on record are gone     nobody writes that lead any more
#
# The record outlives the daemon and the server. A server that steps down, a cut cable and a daemon that is killed
# leave the process alive, so they count for nothing. A server that somebody kills may take a lone write with
# it, but hardly the same lead's twice in a row: one that was lost is written after all other suspects. While
# there is no suspect, all this costs a look at the record once a minute. To have a lead written again, mend it
# and delete its entry.
#
# A `mongos` has no process that stands for the servers behind it: there nobody is ever suspected.

COLLECTION = "enricher_fatal"
_LOSSES = 2
_MOST_SUSPECTS = 1000
_FORGOTTEN_AFTER = timedelta(days=1)
_DYING_SECONDS = 60.0


async def count_fatal(leads: AsyncCollection[Document]) -> int:
    """Leads of this collection that nobody writes any more; 0 for a role of earlier, which may not look."""
    condemned = {"_id.in": leads.name, "losses": {"$gte": _LOSSES}}
    try:
        return await leads.database[COLLECTION].count_documents(condemned)
    except OperationFailure as error:
        if not is_denied(error):
            raise
        return 0


async def written_off_at(leads: AsyncCollection[Document], id_: LeadId) -> datetime | None:
    """Since when nobody writes this lead any more; `None` for one that is written, or for a role as above."""
    try:
        entry = await leads.database[COLLECTION].find_one(
            {"_id": {"$eq": {"in": leads.name, "of": id_}}, "losses": {"$gte": _LOSSES}}
        )
    except OperationFailure as error:
        if not is_denied(error):
            raise
        return None
    at = entry.get("at") if entry else None
    return at if isinstance(at, datetime) else None


def is_loss(error: BaseException | None) -> bool:
    """True when a connection ended under the write, or under an earlier try of it that the error hides. A
    primary that steps down says so, and a server that is slow is still there."""
    match error:
        case None:
            return False
        case AutoReconnect(timeout=False) if not isinstance(error, NotPrimaryError):
            return True
    return is_loss(error.__cause__ or error.__context__)


@dataclass(slots=True)
class Fatal:
    """What one process knows of them."""

    leads: AsyncCollection[Document]
    aside: Aside
    _suspects: dict[bytes, ObjectId | None] = field(default_factory=dict)
    """With the process that may have died of it; `None` once it is known to be gone. Who is on record
    comes last."""
    _unanswered: dict[bytes, tuple[ObjectId, float]] = field(default_factory=dict)
    """Leads whose write was out of time, with the process that it was sent to, and when (monotonic)."""
    _condemned: dict[bytes, LeadId] = field(default_factory=dict)
    _may_record: bool = True

    @property
    def _record(self) -> AsyncCollection[Document]:
        return self.leads.database[COLLECTION]

    @property
    def process(self) -> ObjectId | None:
        """Which process takes writes now, as far as the driver knows; it is not asked."""
        servers = self.leads.database.client.topology_description.server_descriptions().values()
        return next((_process(each.topology_version) for each in servers if each.is_writable), None)

    def note(self, error: PyMongoError, process: ObjectId | None, ids: Iterable[LeadId]) -> None:
        """A write of these leads, sent to this process, ended with this error."""
        if process is None:
            return
        if is_loss(error):
            for id_ in ids:
                self._suspects.setdefault(id_key(id_), process)
        elif error.timeout and len(self._unanswered) < _MOST_SUSPECTS:
            sent = process, time.monotonic()
            self._unanswered |= dict.fromkeys(map(id_key, ids), sent)

    def is_suspect(self, id_: LeadId) -> bool:
        """It has to be written alone, or not at all."""
        if not self._suspects and not self._condemned:
            return False
        key = id_key(id_)
        return key in self._suspects or key in self._condemned

    def is_written_off(self, id_: LeadId) -> bool:
        """Nobody writes this one any more."""
        return bool(self._condemned) and id_key(id_) in self._condemned

    async def among(self, items: Sequence[Item], id_of: Callable[[Item], LeadId]) -> Sequence[Item]:
        """Those that have to be written alone, or not at all, the most suspicious last."""
        if self._unanswered:
            await self._suspect_unanswered()
        if not any(self.is_suspect(id_of(item)) for item in items):
            return []
        await self._acquit()
        order = {key: number for number, key in enumerate(self._suspects)}
        found = [item for item in items if self.is_suspect(id_of(item))]
        return sorted(found, key=lambda item: order.get(id_key(id_of(item)), -1))

    async def _suspect_unanswered(self) -> None:
        """Those whose server is gone."""
        alive, since = await self._alive(), time.monotonic() - _DYING_SECONDS
        gone = [key for key, (process, _) in self._unanswered.items() if process not in alive]
        self._suspects = dict.fromkeys(gone) | self._suspects
        self._unanswered = {
            key: (process, at)
            for key, (process, at) in self._unanswered.items()
            if process in alive and at > since
        }

    async def _acquit(self) -> None:
        """Those whose server lives."""
        if any(self._suspects.values()):
            alive = await self._alive()
            self._suspects = {
                key: None
                for key, process in self._suspects.items()
                if process not in alive or not process
            }

    async def _alive(self) -> list[ObjectId | None]:
        """The processes that are there, the one that takes writes first."""
        now = self.process
        if now is None:
            hello = await self.leads.database.client.admin.command("hello")
            now = _process(hello.get("topologyVersion"))
        servers = self.leads.database.client.topology_description.server_descriptions().values()
        return [now, *(_process(each.topology_version) for each in servers)]

    async def look(self) -> list[LeadId]:
        """What is on record: at the start, and once a minute. Returns who was taken back since.
        Raises DatabaseTrouble."""
        ours = {"_id.in": self.leads.name}
        try:
            found = await self._record.find(ours).sort("losses", -1).limit(_MOST_SUSPECTS).to_list()
        except OperationFailure as error:
            if not is_denied(error):
                raise
            found, self._may_record = [], False
        losses = {id_key(each["_id"].get("of")): each.get("losses", 0) for each in found}
        condemned = {key for key, times in losses.items() if times >= _LOSSES}
        self._suspects |= dict.fromkeys(losses.keys() - condemned)
        taken_back = [self._take_back(key) for key in self._condemned.keys() - condemned]
        for each in found[: len(condemned)]:
            self._condemn(each["_id"].get("of"))
        if len(condemned) < len(losses):
            await self._forget_old(ours)
        return taken_back

    async def _forget_old(self, ours: Document) -> None:
        """A lead that was not written for so long is in nobody's work."""
        old = {"losses": {"$lt": _LOSSES}, "at": {"$lt": datetime.now(UTC) - _FORGOTTEN_AFTER}}
        await self._record.delete_many({**ours, **old})

    def _condemn(self, id_: LeadId) -> None:
        key = id_key(id_)
        self._suspects.pop(key, None)
        self._condemned[key] = id_
        self.aside.put_for_good(key)

    def _take_back(self, key: bytes) -> LeadId:
        self.aside.take_back(key)
        return self._condemned.pop(key)

    async def may_be_written(self, id_: LeadId, step: str) -> bool:
        """Puts on record that a suspect is about to be written; False for one that is written no more."""
        if self.is_written_off(id_):
            return False
        if not self._may_record:
            return True
        losses = await self._blame(id_)
        key = id_key(id_)
        self._suspects.pop(key, None)
        if losses < _LOSSES:
            self._suspects[key] = None
            return True
        self.aside.put(id_, None, step)
        self._condemn(id_)
        return False

    async def _blame(self, id_: LeadId) -> int:
        """How many servers died under it until now."""
        alive = await self._alive()
        is_gone = {"$not": {"$in": [{"$ifNull": ["$process", None]}, [*alive, None]]}}
        losses = {"$add": [{"$ifNull": ["$losses", 0]}, {"$cond": [is_gone, 1, 0]}]}
        blamed = [{"$set": {"losses": losses, "process": alive[0], "at": "$$NOW"}}]
        try:
            entry = await self._record.find_one_and_update(
                self._entry(id_), blamed, upsert=True, return_document=ReturnDocument.AFTER
            )
        except OperationFailure as error:
            if not is_denied(error):
                raise
            self._may_record = False
            return 0
        return int(entry["losses"]) if entry else 0

    async def survived(self, id_: LeadId) -> None:
        """The server answered, to this try or to a later one."""
        if self.is_written_off(id_):
            return
        self._suspects.pop(id_key(id_), None)
        self._unanswered.pop(id_key(id_), None)
        if self._may_record:
            await self._record.delete_one(self._entry(id_))

    def _entry(self, id_: LeadId) -> Document:
        return {"_id": {"in": self.leads.name, "of": id_}}


def _process(version: Any) -> ObjectId | None:
    """From a `topologyVersion`, which a `mongos` does not have."""
    return version["processId"] if version else None


Item = TypeVar("Item")
Result = TypeVar("Result")

_FIRST_SECONDS = 1.0
"""A batch takes some 10 ms."""
_LONGEST_SECONDS = 10.0
_LEAST_ALONE_SECONDS = 0.25
_TIMES_A_PROBE = 8
_ALL_APART_SECONDS = 2.0
_FRUITLESS_SECONDS = 1.0
"""After so long without one that goes through, the others are not tried now: all may be held."""
_SECONDS_EACH = 0.002
"""A batch of a thousand may take seconds on a busy machine."""
_MEMORY_SECONDS = 60.0
"""No transaction lives longer, unless the server was told otherwise."""
AT_ONCE = 8
"""Half of the pool: others need connections, too."""
_LATE_AT_ONCE = 4
_NO_LEAD: Document = {"_id": {"$in": []}}


@dataclass(frozen=True, slots=True)
class Step(Generic[Item, Result]):
    """One kind of write to leads."""

    name: str
    leads: AsyncCollection[Document]
    write: Callable[[Sequence[Item]], Awaitable[Result]]
    """Repeating it must change nothing."""
    id_of: Callable[[Item], LeadId]

    def key_of(self, item: Item) -> bytes:
        return expressions.id_key(self.id_of(item))


@dataclass(frozen=True, slots=True)
class Parted(Generic[Item, Result]):
    """What came of a batch."""

    parts: list[tuple[Sequence[Item], Result]] = field(default_factory=list)
    """What was written together, with its result."""
    blocked: list[Item] = field(default_factory=list)

    def __add__(self, other: Parted[Item, Result]) -> Parted[Item, Result]:
        return Parted(self.parts + other.parts, self.blocked + other.blocked)


@dataclass(slots=True)
class _Round:
    """Of writing leads each apart."""

    ends: float
    """Monotonic, as the next one."""
    went_through_at: float = field(default_factory=time.monotonic)
    is_any_blocked: bool = False

    @classmethod
    def of(cls, leads: int) -> _Round:
        return cls(time.monotonic() + _ALL_APART_SECONDS + leads * 2 * _SECONDS_EACH)

    @property
    def is_over(self) -> bool:
        now = time.monotonic()
        return now > self.ends or now - self.went_through_at > _FRUITLESS_SECONDS


@dataclass(slots=True)
class Apart:
    """One for each process: what one loop learns of a lead or the server, the others know."""

    limit_seconds: float = _FIRST_SECONDS
    alone_seconds: float = _LEAST_ALONE_SECONDS
    """For one lead: several times what the server takes for a write."""
    fatal: Fatal | None = None
    """Leads that may end the server: written alone, or not at all."""
    _blocked: dict[bytes, float] = field(default_factory=dict)
    """Key -> until when (monotonic) it is remembered."""
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _late_turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LATE_AT_ONCE))

    async def write(self, step: Step[Item, Result], items: Sequence[Item]) -> Parted[Item, Result]:
        """Raises what the write raises, and its time-out when the server itself does not answer."""
        suspects = self.fatal and await self.fatal.among(items, step.id_of)
        if not self.fatal or not suspects:
            return await (self._write if self._blocked else self._together)(step, items)
        keys = {step.key_of(each) for each in suspects}
        others = [each for each in items if step.key_of(each) not in keys]
        written: Parted[Item, Result] = Parted()
        if others:
            written = await self._write(step, others)
        for item in suspects:
            written += await self._write_suspect(self.fatal, step, item)
        return written

    async def _write_suspect(
        self, fatal: Fatal, step: Step[Item, Result], item: Item
    ) -> Parted[Item, Result]:
        """Alone. One that is written no more counts as blocked."""
        id_ = step.id_of(item)
        if not await fatal.may_be_written(id_, step.name):
            return Parted([], [item])
        try:
            written = await self._write(step, [item])
        except PyMongoError as error:
            if not error.timeout and not is_loss(error):
                await fatal.survived(id_)
            raise
        if not written.blocked:  # else there was no answer: the server may be dying of it
            await fatal.survived(id_)
        return written

    async def _send(self, step: Step[Item, Result], items: Sequence[Item]) -> Result:
        """Every write passes here: what loses the server is noted."""
        if self.fatal is None:
            return await step.write(items)
        process = self.fatal.process
        try:
            return await step.write(items)
        except PyMongoError as error:
            self.fatal.note(error, process, [step.id_of(item) for item in items])
            raise

    async def _write(self, step: Step[Item, Result], items: Sequence[Item]) -> Parted[Item, Result]:
        held = self.among(items, step.key_of)
        if not held:
            return await self._together(step, items)
        keys = {step.key_of(each) for each in held}
        others = [each for each in items if step.key_of(each) not in keys]
        written: Parted[Item, Result] = Parted()
        if others:
            written = await self._together(step, others)
        return written + await self._once_more(step, held)

    async def again(self, step: Step[Item, Result], item: Item, tries: int) -> list[Result]:
        """One that is blocked, once more; nothing while it still is, or the database is away."""
        async with self._late_turns:
            try:
                if self.fatal is not None and await self.fatal.among([item], step.id_of):
                    return [result for _, result in (await self.write(step, [item])).parts]
                with pymongo.timeout(min(self.limit_seconds, self.alone_seconds * 1.2**tries)):
                    result = await self._send(step, [item])
            except PyMongoError:
                return []
        self._blocked.pop(step.key_of(item), None)
        return [result]

    def is_written_off(self, id_: LeadId) -> bool:
        """It ended the server each time: nobody writes it any more."""
        return self.fatal is not None and self.fatal.is_written_off(id_)

    def among(self, items: Iterable[Item], key_of: Callable[[Item], bytes]) -> list[Item]:
        """Those of them that were blocked a moment ago."""
        if not self._blocked:
            return []
        now = time.monotonic()
        for key in [key for key, until in self._blocked.items() if until <= now]:
            del self._blocked[key]
        return [each for each in items if key_of(each) in self._blocked]

    async def _together(
        self, step: Step[Item, Result], items: Sequence[Item]
    ) -> Parted[Item, Result]:
        longest, began = _longest(step.leads), time.monotonic()
        limit = min(self.limit_seconds + len(items) * _SECONDS_EACH, longest)
        try:
            with pymongo.timeout(limit):
                result = await self._send(step, items)
        except PyMongoError as error:
            took = time.monotonic() - began
            if took < limit / 2:
                raise  # not for the limit that was set here
            if (_is_without_server(error) or is_loss(error)) and took < longest:
                return await self._patiently(step, items, longest - took)
            if not error.timeout:
                raise
            await self._ask_the_server(step.leads, error, limit)
        else:
            self._took(time.monotonic() - began - len(items) * _SECONDS_EACH)
            return Parted([(items, result)])
        if self.fatal is not None and await self.fatal.among(items, step.id_of):
            return Parted([], list(items))  # the next try writes each of those alone
        this = _Round.of(len(items))
        written = await self._each(step, items, this)
        if not this.is_any_blocked:
            self._allow_more()
        return written

    async def _patiently(
        self, step: Step[Item, Result], items: Sequence[Item], seconds: float
    ) -> Parted[Item, Result]:
        """An election takes longer than a write."""
        with pymongo.timeout(seconds):
            if self.fatal is not None and await self.fatal.among(items, step.id_of):
                return await self.write(step, items)
            return Parted([(items, await self._send(step, items))])

    async def _ask_the_server(
        self, leads: AsyncCollection[Document], error: PyMongoError, limit: float
    ) -> None:
        """Raises `error` when it is not a lead that takes so long."""
        began = time.monotonic()
        try:
            with pymongo.timeout(limit):
                await leads.update_one(_NO_LEAD, {"$unset": {"enrichment": 1}})
        except PyMongoError:
            self._allow_more()
            raise error from None
        enough = _TIMES_A_PROBE * (time.monotonic() - began)
        self.alone_seconds = min(limit, max(_LEAST_ALONE_SECONDS, enough))

    async def _once_more(self, step: Step[Item, Result], held: list[Item]) -> Parted[Item, Result]:
        """A few at a time, at random, and no further once none of them goes through: a transaction may
        hold a thousand."""
        random.shuffle(held)
        written: Parted[Item, Result] = Parted()
        while held:
            few, held = held[:AT_ONCE], held[AT_ONCE:]
            tried = await self._each(step, few, _Round.of(len(few)))
            written += tried
            if not tried.parts:
                break
        return written + Parted([], held)

    async def _each(
        self, step: Step[Item, Result], items: Sequence[Item], this: _Round
    ) -> Parted[Item, Result]:
        """For which time is up before its turn counts as blocked, until the next try."""
        written: Parted[Item, Result] = Parted()
        tries = [self._alone(step, item, this) for item in items]
        results = await asyncio.gather(*tries, return_exceptions=True)
        for item, result in zip(items, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            if result:
                written.parts.append(([item], result[0]))
                self._blocked.pop(step.key_of(item), None)
            else:
                written.blocked.append(item)
        self._remember(step, written.blocked)
        return written

    async def _alone(self, step: Step[Item, Result], item: Item, this: _Round) -> list[Result]:
        """Nothing when the lead is blocked, or its turn came too late."""
        async with self._turns:
            if this.is_over:
                return []
            try:
                with pymongo.timeout(self.alone_seconds):
                    result = await self._send(step, [item])
            except PyMongoError as error:
                if not error.timeout or is_loss(error):
                    raise
                this.is_any_blocked = True
                return []
            this.went_through_at = time.monotonic()
            return [result]

    def _remember(self, step: Step[Item, Result], blocked: Sequence[Item]) -> None:
        """For as long as from the first time: who was taken for one by mistake must not stay one."""
        new = {key: item for item in blocked if (key := step.key_of(item)) not in self._blocked}
        self._blocked |= dict.fromkeys(new, time.monotonic() + _MEMORY_SECONDS)
        if new:
            metrics.BLOCKED.inc(len(new))
            one = label(step.id_of(next(iter(new.values()))))
            logger.bind(leads=len(new), lead=one, step=step.name).warning("lead.blocked")

    def _allow_more(self) -> None:
        self.limit_seconds = min(_LONGEST_SECONDS, 2 * self.limit_seconds)

    def _took(self, seconds: float) -> None:
        enough = max(_FIRST_SECONDS, 2 * seconds, 0.8 * self.limit_seconds)
        self.limit_seconds = min(_LONGEST_SECONDS, enough)


def _is_without_server(error: PyMongoError) -> bool:
    """There was no connection to send it over, or none any more."""
    return isinstance(error, AutoReconnect) and not isinstance(error, NetworkTimeout)


def _longest(leads: AsyncCollection[Document]) -> float:
    """What any operation of this client may take."""
    return leads.database.client.options.timeout or _LONGEST_SECONDS
