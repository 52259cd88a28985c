"""Every index, in one place: ensured at start, verified by `enricher check`.

The claim query reads keys only for leads that are work: `pending` leads stand in partial indexes
that a settled lead leaves, and the due index is read from its beginning to now.
"""

from __future__ import annotations

from loguru import logger
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.lead import Document, Status

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
        name="enricher_pending_by_age",
        partialFilterExpression=_ONLY_PENDING,
    ),
    # Not partial: it also finds the leads without a status, after a gap in the stream.
    IndexModel(
        [("enrichment_status", ASCENDING), ("enrichment.due_at", ASCENDING)],
        name="enricher_due",
    ),
)


class Indexes:
    """The indexes of one leads collection."""

    def __init__(self, leads: AsyncCollection[Document]) -> None:
        self._leads = leads

    async def ensure(self) -> None:
        """Create what is missing. A user who may not is told so once; the work goes on, slowly."""
        try:
            await self._leads.create_indexes(list(LEADS))
        except OperationFailure as error:
            if missing := await self.missing():
                logger.bind(missing=", ".join(missing), code=error.code).error("indexes.missing")

    async def ensure_if_collection_exists(self) -> None:
        """After a drop or rename: creating the collection would stand in somebody's way."""
        names = await self._leads.database.list_collection_names(filter={"name": self._leads.name})
        if names:
            await self.ensure()

    async def missing(self) -> list[str]:
        """Names of the indexes that are not there."""
        present = set(await self._leads.index_information())
        names = [str(index.document["name"]) for index in LEADS]
        return [name for name in names if name not in present]
