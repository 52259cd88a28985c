"""Every index, in one place: ensured at start, verified by `enricher check`.

On a large collection that takes minutes, and goes on beside the work (`enricher/queue/building.py`).

The claim query reads keys only for leads that are work: `pending` leads stand in partial indexes
that a settled lead leaves, and the due index is read from its beginning to now. A single key that
is part of an array would turn that bound off for the whole index, so garbage must not get into it:
it holds only leads with a due date. (Measured: one lead with `enrichment: ["x"]` in a full index,
and every claim read the keys of all leads that have a due date.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import bson
import pymongo
from loguru import logger
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.lead import Document, Status
from enricher.mongo import refusal
from enricher.mongo.expressions import COLLATED, SIMPLE
from enricher.mongo.refusal import is_denied, is_refusal
from enricher.queue import unmoved
from enricher.queue.book import EPOCH, FRESH, MAILBOX

_BUILD_SECONDS = 6 * 3600.0
"""In place of the usual bound on an operation: an index on millions of leads takes a while."""
_SOON_MADE = 10_000
"""Documents: to read them takes a fraction of a second."""
_ONLY_PENDING = {"enrichment_status": Status.PENDING.value}

LEADS = (
    IndexModel(
        [
            ("enrichment_status", ASCENDING),
            ("enrichment.priority", DESCENDING),
            ("enrichment.queued_at", ASCENDING),
        ],
        name="enricher_pending_by_priority",
        partialFilterExpression=_ONLY_PENDING,
    ),
    IndexModel(
        [("enrichment_status", ASCENDING), ("enrichment.queued_at", ASCENDING)],
        name="enricher_fresh_by_age",
        partialFilterExpression={**_ONLY_PENDING, **FRESH},
    ),
    IndexModel(
        [("enrichment_status", ASCENDING), ("enrichment.due_at", ASCENDING)],
        name="enricher_due",
        partialFilterExpression={"enrichment.due_at": {"$gt": EPOCH}},
    ),
    IndexModel(
        [("enrichment_status", ASCENDING)],
        name="enricher_without_status",
        partialFilterExpression={"enrichment_status": None},
    ),
    # What people want counted; no claim reads them. Leads that complete are in none of them.
    IndexModel(
        [("enrichment_status", ASCENDING)],
        name="enricher_failed",
        partialFilterExpression={"enrichment_status": Status.FAILED.value},
    ),
    IndexModel(
        [("enrichment_status", ASCENDING)],
        name="enricher_skipped",
        partialFilterExpression={"enrichment_status": Status.SKIPPED.value},
    ),
    IndexModel(
        [("enrichment_status", ASCENDING), ("enrichment.held_by", ASCENDING)],
        name="enricher_parked",
        partialFilterExpression={
            "enrichment_status": Status.RETRYING.value,
            "enrichment.held_by": {"$exists": True},
        },
    ),
    # Few leads stand in these two, and none that goes its usual way.
    IndexModel(
        [("enrichment_status", ASCENDING)],
        name=unmoved.INDEX,
        partialFilterExpression=unmoved.FILTER,
    ),
    IndexModel(
        list(unmoved.KEYS),
        name="enricher_undated",
        partialFilterExpression=unmoved.LOST_DATE_FILTER,
    ),
    # Whoever is to be forgotten is found by it, in every lead that holds data about them.
    IndexModel(
        [(MAILBOX, ASCENDING)],
        name="enricher_mailbox",
        partialFilterExpression={MAILBOX: {"$type": "string"}},
    ),
)


_OF_A_CLAIM: Mapping[str, Document] = {
    "enricher_pending_by_priority": _ONLY_PENDING,
    "enricher_fresh_by_age": {**_ONLY_PENDING, **FRESH},
    "enricher_due": {"enrichment.due_at": {"$gt": EPOCH}},
}
"""Without which whoever looks for work reads every lead; and a question that each can answer."""

BY_ID = "_id_"
_BY_TEXT = IndexModel(
    [("_id", ASCENDING), ("enrichment_status", ASCENDING)], name="enricher_by_id", collation=SIMPLE
)


class Indexes:
    """The indexes of one leads collection."""

    def __init__(self, leads: AsyncCollection[Document]) -> None:
        self._leads = leads
        self.by_id = BY_ID
        """Name of the index by which a lead is found, as far as is known."""
        self.are_coming = False
        """Whoever looked for work now would read every lead, and need not for long."""

    async def are_soon_made(self) -> bool:
        """As far as that can be told."""
        try:
            return await self._leads.estimated_document_count() <= _SOON_MADE
        except OperationFailure as error:
            if not is_denied(error):
                raise
            return False

    async def look(self) -> None:
        """Whether the claims have theirs. A list of indexes would not tell: it names those that are
        still being built as well."""
        wanted = [_name(index) for index in _wanted(await self._present() or {})]
        ending = "" if wanted == [_name(index) for index in LEADS] else COLLATED
        are_there = [
            await self._answers(f"{name}{ending}", question)
            for name, question in _OF_A_CLAIM.items()
        ]
        self.are_coming = not all(are_there)

    async def _answers(self, name: str, question: Document) -> bool:
        try:
            await self._leads.find_one(question, {"_id": 1}, hint=name)
        except OperationFailure as error:
            if not is_refusal(error):
                raise
            return False
        return True

    async def ensure_by_id(self) -> None:
        """Under a collation no lead is found by its id without it, so nothing can be done before it."""
        if _BY_TEXT in _wanted(await self._present() or {}):
            with suppress(OperationFailure), pymongo.timeout(_BUILD_SECONDS):
                await self._leads.create_indexes([_BY_TEXT])
            await self._note_by_id()

    async def ensure(self) -> bool:
        """Create what is missing. A user who may not is told so once; the work goes on, slowly. True when
        they are all there."""
        are_there = True
        wanted = _wanted(await self._present() or {})
        try:
            with pymongo.timeout(_BUILD_SECONDS):
                await self._create(wanted)
        except OperationFailure as error:
            are_there = False
            missing = await self.missing()
            if missing is None:
                logger.bind(lacking="createIndex, listIndexes").error("indexes.unknown")
            elif missing:
                logger.bind(missing=", ".join(missing), code=error.code).error("indexes.missing")
        self.are_coming = False
        await self._note_by_id()
        return are_there

    async def _note_by_id(self) -> None:
        by_text = _name(_BY_TEXT)
        self.by_id = by_text if by_text in (await self._present() or {}) else BY_ID

    async def _create(self, wanted: Sequence[IndexModel]) -> None:
        """All in one scan of the collection; if one is refused, the others all the same."""
        try:
            await self._leads.create_indexes(list(wanted))
        except OperationFailure:
            for index in wanted:
                with suppress(OperationFailure):
                    await self._leads.create_indexes([index])
            raise

    async def collection_exists(self) -> bool:
        """After a drop or rename: creating the collection would stand in somebody's way."""
        names = await self._leads.database.list_collection_names(
            filter={"name": self._leads.name},
            authorizedCollections=True,  # or it takes a privilege on the whole database
        )
        return bool(names)

    async def missing(self) -> list[str] | None:
        """Names of the indexes that are not there, or that stand for something else.

        `None` for a user who may not look (`listIndexes`).
        """
        if (present := await self._present()) is None:
            return None
        found = {name: _meaning(index) for name, index in present.items()}
        wanted = {_name(index): _meaning(index.document) for index in _wanted(present)}
        return [name for name, meaning in wanted.items() if found.get(name) != meaning]

    async def _present(self) -> Mapping[str, Any] | None:
        try:
            return await self._leads.index_information()
        except OperationFailure as error:
            if error.code != refusal.UNAUTHORIZED:
                raise
            return None


def _wanted(present: Mapping[str, Any]) -> list[IndexModel]:
    if "collation" not in present.get(BY_ID, {}):
        return list(LEADS)
    return [_BY_TEXT, *(_simple(index) for index in LEADS)]


def _simple(index: IndexModel) -> IndexModel:
    document = index.document
    return IndexModel(
        list(document["key"].items()),
        name=f"{document['name']}{COLLATED}",
        partialFilterExpression=document["partialFilterExpression"],
        collation=SIMPLE,
    )


def _name(index: IndexModel) -> str:
    return str(index.document["name"])


def _meaning(index: Mapping[str, Any]) -> tuple[list[tuple[str, int]], bytes, str]:
    """What a query can use it for. The filter as BSON: the driver reads its date back without a zone."""
    locale = index.get("collation", SIMPLE)["locale"]
    filter_ = bson.encode(index.get("partialFilterExpression", {}))
    return list(dict(index["key"]).items()), filter_, locale
