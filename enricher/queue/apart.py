"""Write many leads at once, without letting any of them hold up the others.

A plain write to a document that a writer's open transaction has changed waits inside the server until that
transaction ends, which may take a minute; an update of many documents stops there, ordered or not. So
a batch is written under a short limit. When time is up, the server is asked for a write that touches no lead:

    it answers in time       the leads are written one by one, and those that do not go through are blocked
    it does not              the server is slow or away: that is no lead's fault, the caller gets the error,
                             and the next batch has more time

Every such write is guarded by a filter that the write itself makes false, so when a timeout leaves the outcome
open, writing again settles it. A blocked lead is left out of batches for a while and tried apart, briefly.

A server that is slow but healthy must not get single writes again and again: if all leads went through
one by one too, the next batch has more time, until batches are quick again.
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
from enricher.queue.lanes import Aside
from enricher.telemetry import metrics
from enricher.telemetry.log import label

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
    """Count this collection's leads that are written no more; 0 for an older role, which may not read the record."""
    condemned = {"_id.in": leads.name, "losses": {"$gte": _LOSSES}}
    try:
        return await leads.database[COLLECTION].count_documents(condemned)
    except OperationFailure as error:
        if not is_denied(error):
            raise
        return 0


async def written_off_at(leads: AsyncCollection[Document], id_: LeadId) -> datetime | None:
    """Return since when this lead is written no more; `None` if it still is, or for a role that may not read."""
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
    """Return True when a connection ended under the write, or under an earlier try that the error hides. A
    primary that steps down says so, and a slow server is still there: neither is a loss."""
    match error:
        case None:
            return False
        case AutoReconnect(timeout=False) if not isinstance(error, NotPrimaryError):
            return True
    return is_loss(error.__cause__ or error.__context__)


@dataclass(slots=True)
class Fatal:
    """What one process knows of fatal leads and suspects."""

    leads: AsyncCollection[Document]
    aside: Aside
    _suspects: dict[bytes, ObjectId | None] = field(default_factory=dict)
    """With the process that may have died of the write; `None` once it is known to be gone. Leads on record
    come last."""
    _unanswered: dict[bytes, tuple[ObjectId, float]] = field(default_factory=dict)
    """Leads whose write timed out, with the process that it was sent to, and when (monotonic)."""
    _condemned: dict[bytes, LeadId] = field(default_factory=dict)
    _may_record: bool = True

    @property
    def _record(self) -> AsyncCollection[Document]:
        return self.leads.database[COLLECTION]

    @property
    def process(self) -> ObjectId | None:
        """The process that takes writes now, as far as the driver knows; asks no server."""
        servers = self.leads.database.client.topology_description.server_descriptions().values()
        return next((_process(each.topology_version) for each in servers if each.is_writable), None)

    def note(self, error: PyMongoError, process: ObjectId | None, ids: Iterable[LeadId]) -> None:
        """Note that a write of these leads, sent to this process, ended with this error."""
        if process is None:
            return
        if is_loss(error):
            for id_ in ids:
                self._suspects.setdefault(id_key(id_), process)
        elif error.timeout and len(self._unanswered) < _MOST_SUSPECTS:
            sent = process, time.monotonic()
            self._unanswered |= dict.fromkeys(map(id_key, ids), sent)

    def is_suspect(self, id_: LeadId) -> bool:
        """Return whether the lead must be written alone, or not at all."""
        if not self._suspects and not self._condemned:
            return False
        key = id_key(id_)
        return key in self._suspects or key in self._condemned

    def is_written_off(self, id_: LeadId) -> bool:
        """Return whether the lead is written no more."""
        return bool(self._condemned) and id_key(id_) in self._condemned

    async def among(self, items: Sequence[Item], id_of: Callable[[Item], LeadId]) -> Sequence[Item]:
        """Return the items that must be written alone, or not at all, the most suspicious last."""
        if self._unanswered:
            await self._suspect_unanswered()
        is_any_known = self._suspects or self._condemned
        if not is_any_known or not any(self.is_suspect(id_of(item)) for item in items):
            return []
        await self._acquit()
        order = {key: number for number, key in enumerate(self._suspects)}
        found = [item for item in items if self.is_suspect(id_of(item))]
        return sorted(found, key=lambda item: order.get(id_key(id_of(item)), -1))

    async def _suspect_unanswered(self) -> None:
        """Suspect the leads whose write got no answer and whose server's process is gone."""
        alive, since = await self._alive(), time.monotonic() - _DYING_SECONDS
        gone = [key for key, (process, _) in self._unanswered.items() if process not in alive]
        self._suspects = dict.fromkeys(gone) | self._suspects
        self._unanswered = {
            key: (process, at)
            for key, (process, at) in self._unanswered.items()
            if process in alive and at > since
        }

    async def _acquit(self) -> None:
        """Drop the suspects whose server's process is alive."""
        if any(self._suspects.values()):
            alive = await self._alive()
            self._suspects = {
                key: None
                for key, process in self._suspects.items()
                if process not in alive or not process
            }

    async def _alive(self) -> list[ObjectId | None]:
        """Return the running server processes, the one that takes writes first."""
        now = self.process
        if now is None:
            hello = await self.leads.database.client.admin.command("hello")
            now = _process(hello.get("topologyVersion"))
        servers = self.leads.database.client.topology_description.server_descriptions().values()
        return [now, *(_process(each.topology_version) for each in servers)]

    async def look(self) -> list[LeadId]:
        """Read the record, at the start and once a minute. Return the leads whose entries were deleted since.
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
        """Delete old entries of suspects: a lead that was not written for so long is in no daemon's work."""
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
        """Put on record that a suspect is about to be written; return False for a lead that is written no more."""
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
        """Put the write on record; return how many server processes have died under it so far."""
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
        """Clear the lead: the server answered, to this try or to a later one."""
        if self.is_written_off(id_):
            return
        self._suspects.pop(id_key(id_), None)
        self._unanswered.pop(id_key(id_), None)
        if self._may_record:
            await self._record.delete_one(self._entry(id_))

    def _entry(self, id_: LeadId) -> Document:
        return {"_id": {"in": self.leads.name, "of": id_}}


def _process(version: Any) -> ObjectId | None:
    """Return the process of a `topologyVersion`, which a `mongos` does not have."""
    return version["processId"] if version else None


Item = TypeVar("Item")
Result = TypeVar("Result")

_FIRST_SECONDS = 1.0
"""A batch normally takes some 10 ms."""
_LONGEST_SECONDS = 10.0
_ALONE = 4
"""The limit of a lead alone begins with this part of a batch's."""
_TIMES_A_PROBE = 8
_ALL_APART_SECONDS = 2.0
_FRUITLESS_SECONDS = 1.0
"""After this long without a lead that goes through, the rest are not tried now: all may be held."""
_SECONDS_EACH = 0.002
"""A batch of a thousand may take seconds on a busy machine."""
_MEMORY_SECONDS = 60.0
"""No transaction lives longer, unless the server is configured otherwise."""
AT_ONCE = 8
"""Half of the pool: other tasks need connections, too."""
_LATE_AT_ONCE = 4
_NO_LEAD: Document = {"_id": {"$in": []}}


@dataclass(frozen=True, slots=True)
class Step(Generic[Item, Result]):
    """One kind of write to leads."""

    name: str
    leads: AsyncCollection[Document]
    write: Callable[[Sequence[Item]], Awaitable[Result]]
    """Must change nothing when repeated."""
    id_of: Callable[[Item], LeadId]
    is_table: bool = False
    """Several items go by one update, which the driver does not repeat after a broken connection."""

    def key_of(self, item: Item) -> bytes:
        return expressions.id_key(self.id_of(item))


@dataclass(frozen=True, slots=True)
class Parted(Generic[Item, Result]):
    """The result of a batch."""

    parts: list[tuple[Sequence[Item], Result]] = field(default_factory=list)
    """The items that were written together, with their result."""
    blocked: list[Item] = field(default_factory=list)

    def __add__(self, other: Parted[Item, Result]) -> Parted[Item, Result]:
        return Parted(self.parts + other.parts, self.blocked + other.blocked)


@dataclass(slots=True)
class _Round:
    """One round of writing leads one by one."""

    ends: float
    """Monotonic, like `went_through_at`."""
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
    """Shared by the loops of one process: what one learns of a lead or the server, the others know."""

    least_seconds: float = _FIRST_SECONDS
    """A write that takes longer may be held: no limit below is ever less than this, or this part of it."""
    fatal: Fatal | None = None
    """Leads that may end the server: written alone, or not at all."""
    limit_seconds: float = field(init=False)
    alone_seconds: float = field(init=False)
    """Limit for one lead: several times what a write takes the server."""
    _blocked: dict[bytes, float] = field(default_factory=dict)
    """Key -> until when (monotonic) the lead is remembered as blocked."""
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _late_turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LATE_AT_ONCE))

    def __post_init__(self) -> None:
        self.limit_seconds = self.least_seconds
        self.alone_seconds = self._least_alone_seconds

    @property
    def _least_alone_seconds(self) -> float:
        return self.least_seconds / _ALONE

    async def write(self, step: Step[Item, Result], items: Sequence[Item]) -> Parted[Item, Result]:
        """Write the items. Raises the write's errors, and its timeout when the server itself does not answer."""
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
        """Write a suspect alone. A lead that is written no more counts as blocked."""
        id_ = step.id_of(item)
        if not await fatal.may_be_written(id_, step.name):
            return Parted([], [item])
        try:
            written = await self._write(step, [item])
        except PyMongoError as error:
            if not error.timeout and not is_loss(error):
                await fatal.survived(id_)
            raise
        if not written.blocked:  # else there was no answer: the write may be killing the server
            await fatal.survived(id_)
        return written

    async def _send(self, step: Step[Item, Result], items: Sequence[Item]) -> Result:
        """Send a write, and note it if it lost the server; every write passes here."""
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
        """Try a blocked item once more; return nothing while it is still blocked, or the database is away."""
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
        """Return whether the lead is written no more, because its write killed the server each time."""
        return self.fatal is not None and self.fatal.is_written_off(id_)

    def among(self, items: Iterable[Item], key_of: Callable[[Item], bytes]) -> list[Item]:
        """Return the items that are remembered as blocked."""
        if not self._blocked:
            return []
        now = time.monotonic()
        for key in [key for key, until in self._blocked.items() if until <= now]:
            del self._blocked[key]
        return [each for each in items if key_of(each) in self._blocked]

    async def _together(
        self, step: Step[Item, Result], items: Sequence[Item]
    ) -> Parted[Item, Result]:
        # Any operation of this client may take as long.
        longest = step.leads.database.client.options.timeout or _LONGEST_SECONDS
        began = time.monotonic()
        limit = min(self.limit_seconds + len(items) * _SECONDS_EACH, longest)
        try:
            with pymongo.timeout(limit):
                result = await self._send(step, items)
        except PyMongoError as error:
            took = time.monotonic() - began
            if step.is_table and len(items) > 1 and is_loss(error) and took < longest:
                return await self._patiently(step, items, longest - took)
            if took < limit / 2:
                raise  # not because of the limit set here
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
        """Write again with the whole time an operation may take: an election takes longer than a write."""
        with pymongo.timeout(seconds):
            if self.fatal is not None and await self.fatal.among(items, step.id_of):
                return await self.write(step, items)
            return Parted([(items, await self._send(step, items))])

    async def _ask_the_server(
        self, leads: AsyncCollection[Document], error: PyMongoError, limit: float
    ) -> None:
        """Raise `error` if the server, and not a lead, is slow; else set the limit for one lead."""
        began = time.monotonic()
        try:
            with pymongo.timeout(limit):
                await leads.update_one(_NO_LEAD, {"$unset": {"enricher_probe": 1}})
        except PyMongoError:
            self._allow_more()
            raise error from None
        enough = _TIMES_A_PROBE * (time.monotonic() - began)
        self.alone_seconds = min(limit, max(self._least_alone_seconds, enough))

    async def _once_more(self, step: Step[Item, Result], held: list[Item]) -> Parted[Item, Result]:
        """Try blocked leads a few at a time, at random, and stop once none of them goes through: one
        transaction may hold a thousand."""
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
        """Write one by one. An item whose turn comes after the round ends counts as blocked, until the next try."""
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
        """Return nothing when the lead is blocked, or its turn came too late."""
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
        """Remember blocked leads from the first time only, so that one blocked by mistake does not stay so."""
        new = {key: item for item in blocked if (key := step.key_of(item)) not in self._blocked}
        self._blocked |= dict.fromkeys(new, time.monotonic() + _MEMORY_SECONDS)
        if new:
            metrics.BLOCKED.inc(len(new))
            one = label(step.id_of(next(iter(new.values()))))
            logger.bind(leads=len(new), lead=one, step=step.name).warning("lead.blocked")

    def _allow_more(self) -> None:
        self.limit_seconds = min(_LONGEST_SECONDS, 2 * self.limit_seconds)

    def _took(self, seconds: float) -> None:
        enough = max(self.least_seconds, 2 * seconds, 0.8 * self.limit_seconds)
        self.limit_seconds = min(_LONGEST_SECONDS, enough)


def _is_without_server(error: PyMongoError) -> bool:
    """Return whether there was no connection to send the write over, or it was lost."""
    return isinstance(error, AutoReconnect) and not isinstance(error, NetworkTimeout)
