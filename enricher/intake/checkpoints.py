"""How far the change stream has been admitted, and since when the collection has been watched.

One document per leads collection, shared by all daemons: any of them may save a position once every
lead before it has been admitted, and it only ever moves forward. A position means nothing for another
pipeline, so the pipeline's fingerprint is stored beside it. Nor does it mean anything for another
collection of the same name: one that was recreated, or restored from a dump, on this cluster or on
another, which would take the token for a time. (Measured: all of a dump's history was taken for new
leads; a position ahead of the cluster's clock hid all new leads until the clock reached it.) So the UUID
that the server gave the collection is stored there too. Reading it takes `listCollections`.

Under another name of the status every lead looks new. So the name for which the history is on record stands there
as well: for another one it has to be recorded again.

The rules by which documents are leads, and are read, stand there as well. When they change, what stands in the
collection and was no lead before is history, like all that stood there at the first start: neither a wider
condition nor another mapping may enrich thousands at once. Since earlier events may be read once more after
that, the moment of the change is noted: what they tell of is looked up in the record first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Timestamp, json_util
from bson.errors import BSONError
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, OperationFailure

from enricher.fields import NAMES, Names
from enricher.lead import Document
from enricher.mongo.outage import date_or_none, is_denied, whole_number
from enricher.values.storable import mapping

COLLECTION = "enricher_checkpoints"
_MARGIN_SECONDS = 120
"""How long before the save a start by time begins: events are seen late, and admitting is idempotent."""
_LATELY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LeadRules:
    """By which documents of a collection are leads, and how those are read."""

    only: Document = field(default_factory=dict)
    """The condition for being a lead: a MongoDB filter."""
    reading: str = ""
    """Stands for the mapping; empty for the usual one."""

    @property
    def fingerprint(self) -> str:
        """What stands for all of it; empty for the rules that hold where nothing is said."""
        if not self.only and not self.reading:
            return ""
        text = f"{_as_text(self.only)}\n{self.reading}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Adopted:
    """The rules that hold now, as they are stored."""

    fingerprint: str = ""
    only: str = "{}"
    """As extended JSON: a stored filter could not be written to by path."""
    era: int = 0
    """How often they have changed."""
    since: Timestamp | None = None
    """The moment of the last change; `None` before the first."""
    before: Sequence[str] = ()
    """The conditions until then, as far as what they excluded is not on record yet."""

    @property
    def former(self) -> list[Document]:
        """The conditions of which each must have let a document be a lead. One that cannot be read let none."""
        return [_as_filter(text) for text in self.before]


def _as_text(only: Document) -> str:
    return json_util.dumps(only, json_options=json_util.CANONICAL_JSON_OPTIONS, sort_keys=True)


def _as_filter(text: str) -> Document:
    try:
        return dict(json_util.loads(text, json_options=json_util.CANONICAL_JSON_OPTIONS))
    except (BSONError, ValueError, TypeError, KeyError):
        return {"_id": {"$in": []}}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved position: the token, and the time to fall back on when the token is refused."""

    token: dict[str, Any] | None
    started_at: datetime
    """The first start of any daemon on this collection, by the server's clock."""
    saved_at: datetime | None
    """When a position was last saved; `None` before the first."""
    history_known: bool
    strays_known: bool = False
    """The leads that were already in work then are on record too; an earlier version did not record them."""
    history_leads: int = 0
    """How many leads were put on record."""
    history_from: Document | None = None
    """Where to continue a half-finished record: `{"of": id}`."""
    is_foreign: bool = False
    """The saved position belongs to another collection of this name, and means nothing here."""
    origin: Timestamp | None = None
    """Where the oplog ended when the first daemon connected; `None` if that was an earlier version."""
    searched_at: datetime | None = None
    """When a search of the whole collection was last completed."""
    rules: Adopted = field(default_factory=Adopted)
    inputs_since: datetime | None = None
    """Since when inputs that come late are noticed."""

    @property
    def is_first(self) -> bool:
        """True until the first start has saved a position, or recorded the history."""
        return self.saved_at is None and not self.history_known

    @property
    def was_searched_lately(self) -> bool:
        """True within an hour of a complete search: a fleet that restarts need not repeat it per daemon."""
        return self.searched_at is not None and datetime.now(UTC) - self.searched_at < _LATELY

    @property
    def operation_time(self) -> Timestamp | None:
        """A point in the oplog not before the first start, and not later than the token unless the
        reader was far behind when it was saved: a search follows every start by time.

        Until a position is saved, this is the point at which the first process began: what is inserted
        from there on is never history, however long it takes to prepare the collections, and however
        that process ends.
        """
        if self.saved_at is None:
            return self.origin
        # A position of an older version has no origin. The next whole second is late for what is inserted
        # in the rest of the first one.
        first = self.origin or Timestamp(int(self.started_at.timestamp()) + 1, 0)
        return max(first, Timestamp(int(self.saved_at.timestamp()) - _MARGIN_SECONDS, 0))


class Checkpoints:
    """Reads and moves the checkpoint of one leads collection."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        leads: str,
        pipeline: str,
        origin: Timestamp | None = None,
        names: Names = NAMES,
        rules: LeadRules | None = None,
        *,
        is_beside: bool = False,
    ) -> None:
        self._database = database
        self._collection: AsyncCollection[Document] = database[COLLECTION]
        self._id = leads
        self._pipeline = pipeline
        self._origin = origin
        self._status = f"beside {names.enrichment_status}" if is_beside else names.enrichment_status
        self._rules = rules or LeadRules()
        self._uuid: Any = None
        """The leads collection's; `None` while it does not exist, or for a user who may not list collections."""

    async def begin(self) -> Checkpoint:
        """Return the checkpoint; create it if this is the first start of any daemon on this collection."""
        self._uuid = await self._ask_uuid()
        is_first = {"$eq": [{"$type": "$started_at"}, "missing"]}
        origin = {"$cond": [is_first, self._origin, "$origin"]}
        first = {
            name: {"$ifNull": [f"${name}", "$$NOW"]} for name in ("started_at", "inputs_since")
        }
        document = await self._collection.find_one_and_update(
            {"_id": self._id},
            [{"$set": {"origin": origin, **first}}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return self._read(document or {})

    async def _ask_uuid(self) -> Any:
        try:
            cursor = await self._database.list_collections(filter={"name": self._id})
            found = await cursor.to_list()
        except OperationFailure as error:
            if not is_denied(error):
                raise
            return None
        return found[0].get("info", {}).get("uuid") if found else None

    def _read(self, document: Document) -> Checkpoint:
        saved_for = document.get("uuid")
        is_ours = self._uuid is None or saved_for in (None, self._uuid)
        usable = is_ours and document.get("pipeline") == self._pipeline
        is_of_names = document.get("history_of", NAMES.enrichment_status) == self._status
        return Checkpoint(
            token=_token(document.get("token")) if usable else None,
            started_at=date_or_none(document.get("started_at")) or datetime.now(UTC),
            saved_at=date_or_none(document.get("saved_at")) if is_ours else None,
            history_known=is_of_names and bool(document.get("history_known")),
            strays_known=is_of_names and bool(document.get("strays_known")),
            history_leads=whole_number(document.get("history_leads")),
            history_from=self._begin_of(document.get("history_from")),
            is_foreign=not is_ours,
            searched_at=date_or_none(document.get("searched_at")) if is_ours else None,
            origin=_timestamp(document.get("origin")) if is_ours else None,
            rules=_adopted(mapping(document.get("rules"))),
            inputs_since=date_or_none(document.get("inputs_since")),
        )

    def _begin_of(self, stored: object) -> Document | None:
        position = mapping(stored)
        is_ours = "of" in position and position.get("uuid") == self._uuid
        is_ours &= position.get("status", NAMES.enrichment_status) == self._status
        return {"of": position["of"]} if is_ours else None

    async def adopt(self) -> Checkpoint:
        """Let our rules hold from now on; note the change if others held. Once for a process, at its start."""
        rules, checkpoint = self._rules, await self.begin()
        stored = checkpoint.rules
        if stored.fingerprint == rules.fingerprint:
            return checkpoint
        # At a first start there is no change: the history that is recorded then is that of these rules.
        before = [] if checkpoint.is_first else [*stored.before, stored.only]
        changed = {
            "fingerprint": rules.fingerprint,
            "only": _as_text(rules.only),
            "era": stored.era + 1,
            "since": self._origin,
            "before": before,
        }
        as_seen = {"_id": self._id, "rules.era": stored.era or None}
        await self._collection.update_one(as_seen, {"$set": {"rules": changed}})
        return await self.begin()

    async def change_is_on_record(self, era: int, leads: int) -> None:
        """Note that what stood there at the change of the rules is on record, with the number of leads there."""
        this = {"_id": self._id, "rules.era": era}
        await self._collection.update_one(
            this, {"$set": {"rules.before": [], "history_leads": leads}}
        )

    async def started_at(self) -> datetime | None:
        """Return the time of any daemon's first start on this collection; `None` before it."""
        found = await self._collection.find_one({"_id": self._id}, {"started_at": 1})
        return date_or_none((found or {}).get("started_at"))

    async def save(self, token: dict[str, Any]) -> None:
        """Move forward to `token`; changes nothing when other daemons are further ahead.

        Tokens sort by time as text: their `_data` is a key string in hexadecimal.
        """
        behind: Document = {
            "_id": self._id,
            "$or": [
                {"token._data": {"$not": {"$gt": token["_data"]}}},
                {"pipeline": {"$ne": self._pipeline}},
            ],
        }
        position: Document = {
            "token": {"$literal": token},
            "pipeline": self._pipeline,
            "saved_at": "$$NOW",
        }
        if self._uuid is not None:
            behind["$or"].append({"uuid": {"$exists": True, "$ne": self._uuid}})
            position["uuid"] = self._uuid
        try:
            await self._collection.update_one(behind, [{"$set": position}], upsert=True)
        except DuplicateKeyError:
            return  # another daemon is further

    async def was_searched(self) -> None:
        """Note that the whole collection was searched, to its end."""
        searched = {"$currentDate": {"searched_at": True}}
        await self._collection.update_one({"_id": self._id}, searched)

    async def history_goes_on(self, begin: Document) -> None:
        """Note that all leads before `begin` are on record."""
        position = {**begin, "uuid": self._uuid, "status": self._status}
        await self._collection.update_one({"_id": self._id}, {"$set": {"history_from": position}})

    async def history_is_known(self, leads: int) -> None:
        """Note that the history is on record, with its number of leads."""
        known = {
            "history_known": True,
            "strays_known": True,
            "history_leads": leads,
            "history_of": self._status,
        }
        done = {"$set": known, "$unset": {"history_from": 1}}  # an id may be an address
        await self._collection.update_one({"_id": self._id}, done)


def _adopted(stored: Document) -> Adopted:
    before = stored.get("before")
    return Adopted(
        str(stored.get("fingerprint") or ""),
        str(stored.get("only") or "{}"),
        whole_number(stored.get("era")),
        _timestamp(stored.get("since")),
        tuple(map(str, before)) if isinstance(before, list) else (),
    )


def _timestamp(stored: object) -> Timestamp | None:
    return stored if isinstance(stored, Timestamp) else None


def _token(stored: object) -> dict[str, Any] | None:
    """Return the stored token, `None` for any other value: the search that follows misses nothing."""
    token = mapping(stored)
    return token if isinstance(token.get("_data"), str) else None


async def saved_at(database: AsyncDatabase[Document], leads: str) -> datetime | None:
    """Return when any daemon last saved the position of this collection; `None` before the first time."""
    document = await database[COLLECTION].find_one({"_id": leads}, {"saved_at": 1})
    found = (document or {}).get("saved_at")
    return found if isinstance(found, datetime) else None
