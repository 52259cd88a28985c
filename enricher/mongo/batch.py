"""Many callers share one round trip, and many documents one update.

**Concurrent awaits.** While one batch is on its way to the database, everything submitted in the meantime
gathers for the next (`Coalescer`); and a batch does not leave while each turn of the event loop still adds to
it, for a few milliseconds at most. So a lone caller waits for one turn of an idle loop, and under load the
batches grow by themselves: there is no threshold to tune.

**A table of rows** (`Table`) is written by one update: each document gets the values of its own row. One update
for each document costs the server up to four times as much, because it parses and plans the same update each
time. So the rows travel beside the update, which looks up the row of each document it finds:

    id        stands in the filter: the server finds the documents by their index
    fence     what the document must still be for its row to be meant. The server computes it for each
              document that it finds, and writes none whose fence is that of no row
    key       the part of the fence, `_id` included, by which the update looks up the row, so that no
              document ever gets a row that was meant for what it was before. It reads only fields that no
              document to be written holds twice: of two fields of a name, the server writes the one that an
              update has read in place of both
    values    encoded once, so that each row's size is known, and what cannot be encoded is found, before
              anything is sent

Inside the update the row stands for a while in the document itself, under a name that no writer uses,
and the last stage takes it away. What the server compares and logs is the document before and after, so a
change event shows the fields that changed and nothing else.

A row goes by an update of its own where a table would gain nothing or lose something: when it is alone, too large,
or its fence cannot be told from here; when a router stands before the servers; and when the server refuses one document, which ends the update somewhere
in the middle. So every update must change nothing when it is repeated. The driver repeats no update of many
after a broken connection: the caller does.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DocumentTooLarge, NotPrimaryError, OperationFailure, WriteConcernError

from enricher.lead import Document
from enricher.mongo.expressions import Expression, Pipeline
from enricher.mongo.outage import is_refusal, is_step_down

# Concurrent awaits share one round trip.

Item = TypeVar("Item")
Result = TypeVar("Result")


_LONGEST_GATHERING_SECONDS = 0.01
"""Callers keep coming while the CPU is busy, and then an extra batch costs more than this."""


class Coalescer(Generic[Item, Result]):
    """Turns concurrent `submit(item)` calls into `flush(items)` calls, one at a time.

    `flush` returns one result for each item, in order. If it raises, every submitter of that batch gets
    the exception. A submitter that is cancelled stops waiting; its item is still flushed, because what
    was submitted must be written.
    """

    def __init__(
        self, name: str, flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], limit: int
    ) -> None:
        self._name = name
        self._flush = flush
        self._limit = limit
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Submit one item and wait for its result."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name=f"coalesce-{self._name}")
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await until_no_more_come(self._waiting.__len__, self._limit)
                batch = self._waiting[: self._limit]
                del self._waiting[: self._limit]
                try:
                    results = await self._flush([item for item, _ in batch])
                    _tell(batch, results)
                except BaseException as error:
                    for _, future in batch:
                        _fail(future, error)
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._runner = None


async def until_no_more_come(waiting: Callable[[], int], limit: int) -> None:
    """Wait until a turn of the loop adds nothing, there are `limit`, or 10 ms have passed."""
    ends = time.monotonic() + _LONGEST_GATHERING_SECONDS
    before, now = 0, waiting()
    while before < now < limit and time.monotonic() < ends:
        await asyncio.sleep(0)
        before, now = now, waiting()


def _tell(batch: Sequence[tuple[Item, asyncio.Future[Result]]], results: Sequence[Result]) -> None:
    for (_, future), result in list(zip(batch, results, strict=True)):
        if not future.done():
            future.set_result(result)


def _fail(future: asyncio.Future[Result], error: BaseException) -> None:
    if future.done():
        return
    if isinstance(error, Exception):
        future.set_exception(error)
    else:
        future.cancel()


# A batch of rows is written by one update.

MOST_ROWS = 200
"""The server compares a document's key with one row after the other: beyond this, a row costs more again."""
MOST_BYTES = 8 * 1024 * 1024
"""Half of what a command may have."""
_LARGEST_BYTES = 16 * 1024 * 1024
"""No document holds more."""
_ROW = f"row_{uuid.uuid4().hex[:8]}"
"""The name of the row in the document: one that no writer uses."""

UNFIT = (BSONError, DocumentTooLarge, ValueError, OverflowError, RecursionError)
"""What `encode` raises for values that no document can hold."""


def encode(values: Document) -> RawBSONDocument:
    """Encode the values of one row. Raises one of `UNFIT`."""
    raw = bson.encode(values)
    if len(raw) > _LARGEST_BYTES:
        raise DocumentTooLarge("the values are larger than a document may be")
    return RawBSONDocument(raw)


@dataclass(frozen=True, slots=True)
class TableRow:
    """What one document is to get."""

    id: Any
    key: RawBSONDocument
    """As `Table.key` computes it, with the same fields in the same order."""
    fence: RawBSONDocument | None
    """As `Table.fence` computes it; `None` for a row that must go alone, because only the server can tell
    what its document was."""
    values: RawBSONDocument = field(default_factory=lambda: encode({}))

    @property
    def document(self) -> bytes:
        """Return what tells two rows for one document from all others."""
        return bytes(self.key.raw)

    @property
    def size(self) -> int:
        """Return the bytes that the row takes in a command; the id alone is in no key that is smaller."""
        fence = self.fence.raw if self.fence is not None else b""
        return 2 * len(self.key.raw) + len(fence) + len(self.values.raw)


@dataclass(frozen=True, slots=True)
class RowPath:
    """A row of a table, as the stages of its update see it: in the document, at this path."""

    path: str

    def value(self, name: str) -> Expression:
        """Return the expression for one of the row's values; no value where the row has none."""
        return f"${self.path}.{name}"

    def if_has(self, name: str, then: Expression, otherwise: Expression) -> Expression:
        """Return one expression for rows that have this value, and another for those that have not."""
        return {"$cond": [{"$eq": [{"$type": self.value(name)}, "missing"]}, otherwise, then]}

    def may_have(self, name: str) -> bool:  # noqa: ARG002 - another row may
        """Return whether any row that these stages write has this value."""
        return True


@dataclass(frozen=True, slots=True)
class LoneRow:
    """A row that goes alone: its values are known, so the stages hold them, and nothing that they leave out."""

    values: Mapping[str, Any]

    def value(self, name: str) -> Expression:
        """Return the value itself; no value where there is none."""
        return {"$literal": self.values[name]} if name in self.values else "$$REMOVE"

    def if_has(self, name: str, then: Expression, otherwise: Expression) -> Expression:
        """Return the expression that holds for this row."""
        return then if name in self.values else otherwise

    def may_have(self, name: str) -> bool:
        """Return whether the row has this value."""
        return name in self.values


Stages: TypeAlias = Callable[[RowPath | LoneRow], Pipeline]
"""The update of a row."""


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of update."""

    key: Expression
    fence: Expression
    stages: Stages
    only: Document = field(default_factory=dict)
    """What else must be true of a document."""
    within: str | None = None
    """The path of the object in which the row stands meanwhile; "" for the document itself, `None` for an update
    that needs no row."""

    async def write(
        self, collection: AsyncCollection[Document], rows: Sequence[TableRow]
    ) -> tuple[int, list[int]]:
        """Write the rows that may share an update. Return how many documents matched, and the positions of the
        rows that must go by an update of their own; some of those may be written already."""
        if _is_behind_a_router(collection):
            return 0, list(range(len(rows)))
        matched, rest, late = 0, list[int](), set[bytes]()
        for positions in _tables(rows):
            some = [rows[each] for each in positions]
            documents = {row.document for row in some}
            # What comes later for a document must not be written before what goes alone.
            may_share = len(some) > 1 and late.isdisjoint(documents)
            found = await self._write_together(collection, some) if may_share else None
            if found is None:
                rest += positions
                late |= documents
            matched += found or 0
        return matched, sorted(rest)

    async def _write_together(
        self, collection: AsyncCollection[Document], rows: Sequence[TableRow]
    ) -> int | None:
        """Return how many documents matched; `None` if the server refuses to write one of them."""
        given = {
            "keys": {"$literal": [row.key for row in rows]},
            "fences": {"$literal": [row.fence for row in rows]},
            "rows": {"$literal": [row.values for row in rows]},
        }
        mine = {"$expr": {"$in": [self.fence, "$$fences"]}}
        only = {"_id": {"$in": [row.id for row in rows]}, "$and": [mine, self.only]}
        try:
            done = await collection.update_many(only, self._looking_up(), let=given)
        except (OperationFailure, DocumentTooLarge, NotPrimaryError) as error:
            if not _may_go_alone(error):
                raise
            return None
        return done.matched_count

    def _looking_up(self) -> Pipeline:
        if self.within is None:
            return self.stages(LoneRow({}))
        path = f"{self.within}.{_ROW}" if self.within else _ROW
        row = {"$let": {"vars": {"at": {"$indexOfArray": ["$$keys", self.key]}}, "in": _ROW_THERE}}
        return [{"$set": {path: row}}, *self.stages(RowPath(path)), {"$unset": [path]}]

    def alone(self, row: TableRow) -> Pipeline:
        """Return the same update for the row's document alone."""
        return self.stages(LoneRow(row.values))


def _tables(rows: Sequence[TableRow]) -> Iterator[list[int]]:
    """Yield the positions of the rows that go together, and of each that must go alone. Two rows with one key
    never share a table."""
    table: list[int] = []
    keys: set[bytes] = set()
    room = MOST_BYTES
    for position, row in enumerate(rows):
        size, document = row.size, row.document
        if row.fence is None or size > MOST_BYTES:
            yield [position]
            continue
        if len(table) == MOST_ROWS or size > room or document in keys:
            yield table
            table, keys, room = [], set(), MOST_BYTES
        table.append(position)
        keys.add(document)
        room -= size
    if table:
        yield table


_ROW_THERE: Expression = {
    "$cond": [
        {"$gte": ["$$at", 0]},
        {"$arrayElemAt": ["$$rows", "$$at"]},
        {"$toInt": {"$concat": ["no row for an id of type ", {"$type": "$_id"}]}},
    ]
}
"""Below 0 stands for the last row, which is somebody else's: the server refuses that update instead."""


def _is_behind_a_router(collection: AsyncCollection[Document]) -> bool:
    """Return whether a router sends the updates: one of many over several shards it does not repeat while a chunk
    moves, and so may write a document not at all, or only where it no longer is, and count it all the same."""
    known = collection.database.client.topology_description.topology_type_name
    return known in ("Sharded", "LoadBalanced")


def _may_go_alone(error: OperationFailure | DocumentTooLarge | NotPrimaryError) -> bool:
    """Return whether the documents may go by updates of their own: one of them cannot be written, or the server
    is no primary any more, and the driver finds the next one for single updates."""
    if isinstance(error, WriteConcernError):
        return is_step_down(error)
    return not isinstance(error, OperationFailure) or is_refusal(error)
