"""Keeps what one provider found while another takes long.

The lead stays claimed; readers see the data at once, and whoever takes the lead over after a crash
does not ask for it again. It is fenced like a settle, but it may fail: the settle writes all of it
once more.
"""

from __future__ import annotations

from collections.abc import Sequence

from bson.errors import BSONError
from loguru import logger
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.lead import SUBJECT, Document, LeadId, Lease, Progress
from enricher.mongo.coalesce import Coalescer
from enricher.mongo.collation import UpdateOne
from enricher.mongo.outage import describe
from enricher.queue import book
from enricher.queue.apart import Apart, Step
from enricher.queue.doubled import ONCE
from enricher.queue.lease import unchanged

_LARGEST_BATCH = 200
_Kept = tuple[Lease, Progress]


class Keeper:
    """Concurrent calls share one round trip."""

    def __init__(self, collection: AsyncCollection[Document], apart: Apart | None = None) -> None:
        self._collection = collection
        self._apart = apart or Apart()
        self._step = Step("keep", collection, self._write, _lead_of)
        self._coalescer = Coalescer("keep", self._flush, _LARGEST_BATCH)

    async def keep(self, lease: Lease, progress: Progress) -> None:
        """Write it while the lease is ours and the inputs are the same. Never raises."""
        await self._coalescer.submit((lease, progress))

    async def _flush(self, batch: Sequence[_Kept]) -> Sequence[None]:
        try:
            await self._apart.write(self._step, batch)
        except (PyMongoError, BSONError, ValueError, OverflowError, RecursionError) as error:
            logger.bind(leads=len(batch), error=describe(error)).warning("progress.not_kept")
        return [None] * len(batch)

    async def _write(self, batch: Sequence[_Kept]) -> None:
        updates = [_update(lease, progress) for lease, progress in batch]
        await self._collection.bulk_write(updates, ordered=False)


def _lead_of(kept: _Kept) -> LeadId:
    return kept[0].lead_id


def _update(lease: Lease, progress: Progress) -> UpdateOne:
    known = {
        "answered": {"$literal": dict(progress.answered)},
        SUBJECT: {"$literal": progress.subject.document},
    }
    values: Document = {"enrichment": book.book_with(known)}
    if progress.data:
        values |= {"enriched_data": {"$literal": progress.data}, "updated_at": "$$NOW"}
    return UpdateOne({**unchanged(lease), "$and": [ONCE]}, [{"$set": values}])
