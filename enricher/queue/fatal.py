"""Leads whose write ends the server, whatever the reason: known before the next blow, and written no more.

A server that dies in the middle of a write dies again when that write is repeated, and so does the next
primary. Nobody can tell from outside which of a batch it was, nor whether it was the write at all. So

    a write loses its connection, and    its leads are suspects: from now on each is written alone
    that server's process is gone
    a write gets no answer in time, and  the same: a server that dies on a busy machine takes its time
    its process is gone a minute later
    before such a write                  it is put on record, with the process that it is sent to
    after it                             that is taken back, and the lead is a suspect no more
    two processes on record are gone     nobody writes that lead any more

The record outlives the daemon and the server. A server that steps down, a cut cable and a daemon that is killed
leave the process alive, so they count for nothing. A server that somebody kills may take a lone write with
it, but hardly the same lead's twice in a row: one that was lost is written after all other suspects. While
there is no suspect, all this costs a look at the record once a minute. To have a lead written again, mend it
and delete its entry.

A `mongos` has no process that stands for the servers behind it: there nobody is ever suspected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import AutoReconnect, NotPrimaryError, OperationFailure, PyMongoError

from enricher.lead import Document, LeadId
from enricher.mongo.expressions import id_key
from enricher.mongo.refusal import is_denied
from enricher.queue.aside import Aside

COLLECTION = "enricher_fatal"
_LOSSES = 2
_MOST = 1000
_FORGOTTEN_AFTER = timedelta(days=1)
_DYING_SECONDS = 60.0

Item = TypeVar("Item")


async def count(leads: AsyncCollection[Document]) -> int:
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
        elif error.timeout and len(self._unanswered) < _MOST:
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
            found = await self._record.find(ours).sort("losses", -1).limit(_MOST).to_list()
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
