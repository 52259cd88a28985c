"""Every index, in one place: ensured at start, verified by `enricher check`.

The claim query reads keys only for leads that are work: `pending` leads stand in partial indexes
that a settled lead leaves, and the due index is read from its beginning to now. A single key that
is part of an array would turn that bound off for the whole index, so garbage must not get into it:
it holds only leads with a due date. (Measured: one lead with `enrichment: ["x"]` in a full index,
and every claim read the keys of all leads that have a due date.)
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import bson
import pymongo
from loguru import logger
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.lead import Document, Status
from enricher.store import privileges
from enricher.store.book import EPOCH, FRESH, MAILBOX

_BUILD_SECONDS = 6 * 3600.0
"""In place of the usual bound on an operation: an index on millions of leads takes a while."""
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
    # Whoever is to be forgotten is found by it, in every lead that holds data about them.
    IndexModel(
        [(MAILBOX, ASCENDING)],
        name="enricher_mailbox",
        partialFilterExpression={MAILBOX: {"$type": "string"}},
    ),
)


class Indexes:
    """The indexes of one leads collection."""

    def __init__(self, leads: AsyncCollection[Document]) -> None:
        self._leads = leads

    async def ensure(self) -> None:
        """Create what is missing. A user who may not is told so once; the work goes on, slowly."""
        try:
            with pymongo.timeout(_BUILD_SECONDS):
                await self._create()
        except OperationFailure as error:
            missing = await self.missing()
            if missing is None:
                logger.bind(lacking="createIndex, listIndexes").error("indexes.unknown")
            elif missing:
                logger.bind(missing=", ".join(missing), code=error.code).error("indexes.missing")

    async def _create(self) -> None:
        """All in one scan of the collection; if one is refused, the others all the same."""
        try:
            await self._leads.create_indexes(list(LEADS))
        except OperationFailure:
            for index in LEADS:
                with suppress(OperationFailure):
                    await self._leads.create_indexes([index])
            raise

    async def ensure_if_collection_exists(self) -> bool:
        """After a drop or rename: creating the collection would stand in somebody's way."""
        names = await self._leads.database.list_collection_names(
            filter={"name": self._leads.name},
            authorizedCollections=True,  # or it takes a privilege on the whole database
        )
        if names:
            await self.ensure()
        return bool(names)

    async def missing(self) -> list[str] | None:
        """Names of the indexes that are not there, or that stand for something else.

        `None` for a user who may not look (`listIndexes`).
        """
        try:
            present = await self._leads.index_information()
        except OperationFailure as error:
            if error.code != privileges.UNAUTHORIZED:
                raise
            return None
        found = {name: _meaning(index) for name, index in present.items()}
        wanted = {str(index.document["name"]): _meaning(index.document) for index in LEADS}
        return [name for name, meaning in wanted.items() if found.get(name) != meaning]


def _meaning(index: Mapping[str, Any]) -> tuple[list[tuple[str, int]], bytes]:
    """What a query can use it for. The filter as BSON: the driver reads its date back without a zone."""
    return list(dict(index["key"]).items()), bson.encode(index.get("partialFilterExpression", {}))
