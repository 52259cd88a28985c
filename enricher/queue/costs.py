"""Note on a lead what its enrichment may have cost, before a paid call is made: for daemons with a ceiling alone.

One update for all leads whose calls come at the same time. It raises the count and never lowers it, so a write
that is repeated or that arrives late does no harm; and it is fenced, so it tells a worker that has lost its lead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from enricher.fields import NAMES, Names
from enricher.lead import Document, Lease, Status
from enricher.mongo.batch import Coalescer, LoneRow, RowPath, TableRow
from enricher.mongo.expressions import Pipeline, UpdateOne, id_key
from enricher.mongo.outage import refusals
from enricher.queue import book
from enricher.queue.apart import Apart, Step
from enricher.queue.inputs import text_or_null
from enricher.queue.leads import fence, unchanged_row, unchanged_table, writable

_LARGEST_BATCH = 200
_LATE_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Cost:
    lease: Lease
    spent: int


class Costs:
    """Writes what leads may have cost; concurrent calls share one round trip."""

    def __init__(
        self,
        collection: AsyncCollection[Document],
        apart: Apart | None = None,
        names: Names = NAMES,
    ) -> None:
        """`collection` is that of the results, where these stand beside the leads."""
        self._collection = collection
        self._names = names
        self._apart = apart or Apart()
        self._table = unchanged_table(names, partial(_raise, names), writable(names), None)
        self._step = Step("cost", collection, self._write, _lead_of, is_table=True)
        self._coalescer = Coalescer("cost", self._flush, _LARGEST_BATCH)

    async def note(self, lease: Lease, spent: int) -> bool:
        """Note that the lead may have cost as much; False when it is no longer ours. Raises DatabaseTrouble.

        A lead that a writer's transaction holds is waited for.
        """
        cost = _Cost(lease, spent)
        is_noted = await self._coalescer.submit(cost)
        for tries in count():
            if is_noted is not None:
                return is_noted
            if self._apart.is_written_off(lease.lead_id):
                return False
            await asyncio.sleep(_LATE_PAUSE_SECONDS)
            if written := await self._apart.again(self._step, cost, tries):
                return written[0][0]
        raise AssertionError  # pragma: no cover - `count` does not end

    async def _flush(self, batch: Sequence[_Cost]) -> Sequence[bool | None]:
        """Return one result for each; `None` for those of a lead that is blocked."""
        most = {_key(each): each for each in sorted(batch, key=lambda each: each.spent)}
        written = await self._apart.write(self._step, list(most.values()))
        noted = {
            _key(each): is_noted
            for part, results in written.parts
            for each, is_noted in zip(part, results, strict=True)
        }
        return [noted.get(_key(each)) for each in batch]

    async def _write(self, batch: Sequence[_Cost]) -> Sequence[bool]:
        rows = [unchanged_row(each.lease, {"spent": each.spent}, None) for each in batch]
        matched, rest = await self._table.write(self._collection, rows)
        if rest:
            matched += await self._write_each([(batch[each], rows[each]) for each in rest])
        return [True] * len(batch) if matched == len(batch) else await self._read_back(batch)

    async def _write_each(self, pairs: Sequence[tuple[_Cost, TableRow]]) -> int:
        only = writable(self._names)
        updates = [
            UpdateOne({**fence(each.lease, self._names), **only}, self._table.alone(row))
            for each, row in pairs
        ]
        try:
            return (await self._collection.bulk_write(updates, ordered=False)).matched_count
        except BulkWriteError as error:
            refusals(error)  # raises it where the database is to blame: a lead's refusal is its own
            return int(error.details["nMatched"])

    async def _read_back(self, batch: Sequence[_Cost]) -> Sequence[bool]:
        """Tell whose lead is still ours, and says so much."""
        view = {
            "status": text_or_null(f"${self._names.enrichment_status}"),
            "claim_id": text_or_null(book.noted(self._names, "claim_id")),
            "token": book.token(self._names),
            "spent": book.spent(self._names),
        }
        ids = [each.lease.lead_id for each in batch]
        found = await self._collection.find({"_id": {"$in": ids}}, view).to_list()
        standing = {id_key(lead["_id"]): lead for lead in found}
        return [_is_noted(each, standing.get(id_key(each.lease.lead_id))) for each in batch]


def _key(cost: _Cost) -> tuple[str, bytes]:
    return cost.lease.claim_id, id_key(cost.lease.lead_id)


def _lead_of(cost: _Cost) -> object:
    return cost.lease.lead_id


def _raise(names: Names, row: RowPath | LoneRow) -> Pipeline:
    spent = {"$max": [book.spent(names), row.value("spent")]}
    return [{"$set": {names.enrichment: book.book_with(names, {"spent": spent})}}]


def _is_noted(cost: _Cost, now: Document | None) -> bool:
    if now is None or now["status"] != Status.PROCESSING:
        return False
    is_ours = (now["claim_id"], now["token"]) == (cost.lease.claim_id, cost.lease.token)
    return is_ours and bool(now["spent"] >= cost.spent)
