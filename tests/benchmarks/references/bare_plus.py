"""bare, and what nobody can leave out who loses no lead and pays for no call twice.

The same calls, and the writes that the daemon's promises rest on: leads are claimed and fenced, each call
has its flight and its place in the ledger before it is made, its answer is kept before it is used, and the
lead is settled under the fence. Each kind of write goes out in batches, one command at a time: the
documents and the commands are the daemon's. No identity, types, merge, score, metrics or log; no limit,
outage, retry, heartbeat or change stream either, so whatever goes wrong ends it.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import uvloop
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from yarl import URL

from enricher.answer import Reply
from enricher.calls.flights import COLLECTION, pack
from enricher.calls.ledger import COLLECTION as LEDGER
from enricher.calls.ledger import Ask, Begun, Budget, Ledger, Usage
from enricher.fields import NAMES
from enricher.lead import SUBJECT, Lease, Status, Subject
from enricher.mongo.batch import Coalescer, LoneRow, RowPath, Table, TableRow, encode
from enricher.mongo.expressions import Pipeline, UpdateOne
from enricher.mongo.secret import Keyring
from enricher.mongo.server import ServerClock, let_expire
from enricher.providers.transport import Client, open_client
from enricher.queue import book
from enricher.queue.indexes import Indexes
from enricher.queue.lanes import once
from enricher.queue.leads import Leads, unchanged, unchanged_row, unchanged_table
from tests.benchmarks.references.record import (
    HEADERS,
    Document,
    Orders,
    forever,
    questions,
    update,
)

HOLDER = "reference"
LEASE = timedelta(seconds=60)
AT_ONCE = 200
KEPT_MS = 7 * 24 * 3600 * 1000
REFRESH_MS = 90 * 24 * 3600 * 1000
UNANSWERED_FOR = timedelta(days=1)
ROOM_FOR_A_CLAIM = 4
"""The next claim waits until a quarter of the leads in work have ended, or each would be of one lead."""
GARBAGE = (20_000, 20, 20)
"""The daemon's thresholds of the garbage collector."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is about to be made."""

    key: str
    provider: str
    vendor: str
    flight: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What a lease ends with."""

    lease: Lease
    data: Document
    subject: Subject


def _keep(row: RowPath | LoneRow) -> Pipeline:
    expires_at = {"$add": ["$$NOW", row.value("lasts_ms")]}
    is_ours = {"$eq": ["$flight.id", row.value("flight")]}
    kept = {"at": "$$NOW", "expires_at": expires_at}
    stored = {
        "_id": "$_id",
        "provider": "$provider",
        "expires_at": {"$max": [expires_at, {"$cond": [is_ours, None, "$expires_at"]}]},
        "reply": {"$mergeObjects": [row.value("reply"), kept]},
        "flight": {"$cond": [is_ours, "$$REMOVE", "$flight"]},
    }
    return [{"$replaceWith": stored}]


def _settle(row: RowPath | LoneRow) -> Pipeline:
    ended = {
        "holder": None,
        "attempts": 0,
        "answered": {},
        "due_at": {"$add": ["$$NOW", row.value("due_ms")]},
        SUBJECT: row.value(SUBJECT),
    }
    lead = {
        "enrichment_status": row.value("status"),
        "enrichment_error": None,
        "enrichment": book.book_with(NAMES, ended),
        "enriched_data": row.value("data"),
        "updated_at": "$$NOW",
        "enriched_at": "$$NOW",
    }
    return [{"$set": lead}, {"$unset": ["enrichment.queued_at", "enrichment.inputs"]}]


_KEY = {"id": "$_id"}
_KEEPING = Table(_KEY, _KEY, _keep, within="")
_SETTLING = unchanged_table(NAMES, _settle, once(NAMES))


async def _write(
    table: Table,
    collection: AsyncCollection[Document],
    rows: Sequence[TableRow],
    filters: Sequence[Document],
) -> None:
    """All by one update, and one by one what cannot be among them: a lone row, for instance."""
    matched, rest = await table.write(collection, rows)
    if rest:
        alone = [UpdateOne(filters[each], table.alone(rows[each])) for each in rest]
        matched += (await collection.bulk_write(alone, ordered=False)).matched_count
    assert matched == len(rows), f"{len(rows) - matched} of {len(rows)} were not ours"


class Books:
    """All that is written, each kind of write in batches."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._leads = client[database]["leads"]
        self._answers = client[database][COLLECTION]
        self._usage = client[database][LEDGER]
        self._clock = ServerClock(client)
        self._writer = uuid.uuid4().hex[:16]
        self._ledgers: dict[str, Ledger] = {}
        self._beginning = Coalescer("begin", self._begin, AT_ONCE)
        self._keeping = Coalescer("keep", self._store, AT_ONCE)
        self._settling = Coalescer("settle", self._end, AT_ONCE)
        self.keyring = Keyring(secrets.token_bytes(32))
        rank = book.priority("temperature", ["hot", "warm", "cold"])
        self.queue = Leads(self._leads, HOLDER, LEASE, rank)

    async def ensure(self) -> None:
        """The daemon's indexes."""
        await Indexes(self._leads).ensure()
        await let_expire(self._answers, "enricher_answers_expiry")
        await Usage(self._usage.database, {}, {}).ensure()

    async def begin(self, provider: str, vendor: str, question: str) -> Call:
        """Take the flight of a question nobody has asked yet, and a call of the vendor's budget."""
        call = Call(self.keyring.key(provider, question), provider, vendor, uuid.uuid4().hex)
        await self._beginning.submit(call)
        return call

    async def keep(self, call: Call, reply: Reply) -> None:
        """Store the answer, end the flight, and book the call as charged."""
        values = {"flight": call.flight, "reply": pack(reply), "lasts_ms": KEPT_MS}
        key = encode({"id": call.key})
        await self._keeping.submit(TableRow(call.key, key, key, encode(values)))
        self._ledger(call.vendor).note(call.provider, settled=1, charged=1)

    async def settle(self, lease: Lease, data: Document, subject: Subject) -> None:
        """End the lead as completed, while it is ours and as it was."""
        await self._settling.submit(Ending(lease, data, subject))

    async def close(self) -> None:
        """Write what the ledger has noted."""
        for ledger in self._ledgers.values():
            await ledger.flush()

    def _ledger(self, vendor: str) -> Ledger:
        if vendor not in self._ledgers:
            self._ledgers[vendor] = Ledger(self._usage, vendor, Budget(), self._writer, self._clock)
        return self._ledgers[vendor]

    # -- batches ---------------------------------------------------------------------------

    async def _begin(self, batch: Sequence[Call]) -> Sequence[None]:
        now = await self._clock.fresh()
        flight = {"holder": HOLDER, "beat": 0, "at": now}
        taken = [
            {
                "_id": call.key,
                "provider": call.provider,
                "expires_at": now + UNANSWERED_FOR,
                "flight": {"id": call.flight, **flight},
            }
            for call in batch
        ]
        await asyncio.gather(self._answers.insert_many(taken, ordered=False), self._grant(batch))
        return [None] * len(batch)

    async def _grant(self, batch: Sequence[Call]) -> None:
        asks: defaultdict[str, list[Ask]] = defaultdict(list)
        for call in batch:
            asks[call.vendor].append(Ask(call.provider))
        granted = await asyncio.gather(
            *(self._ledger(vendor).grant(some) for vendor, some in asks.items())
        )
        assert all(isinstance(each, Begun) for some in granted for each in some)

    async def _store(self, rows: Sequence[TableRow]) -> Sequence[None]:
        await _write(_KEEPING, self._answers, rows, [{"_id": row.id} for row in rows])
        return [None] * len(rows)

    async def _end(self, batch: Sequence[Ending]) -> Sequence[None]:
        rows = [unchanged_row(each.lease, _values(each)) for each in batch]
        await _write(_SETTLING, self._leads, rows, [unchanged(each.lease, NAMES) for each in batch])
        return [None] * len(batch)


def _values(ending: Ending) -> Document:
    return {
        "status": Status.COMPLETED,
        "data": ending.data,
        "due_ms": REFRESH_MS,
        SUBJECT: ending.subject.document,
    }


class BarePlus:
    """Claims while there is room, and works on all that it holds at the same time."""

    ASKED: ClassVar = (("clearbit", "clearbit"), ("hunter", "hunter"))
    """(provider, vendor), in the order of `questions`."""

    def __init__(self, orders: Orders, books: Books, http: Client) -> None:
        self.orders = orders
        self.books = books
        self.http = http

    async def drain(self) -> None:
        """Until nothing is left to claim."""
        tasks: set[asyncio.Task[None]] = set()
        while True:
            room = self.orders.in_flight - len(tasks)
            if room >= self.orders.in_flight // ROOM_FOR_A_CLAIM:
                claimed = await self.books.queue.claim(room)
                tasks |= {asyncio.create_task(self.work(lease)) for lease in claimed.leases}
            if not tasks:
                return await self.books.close()
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def work(self, lease: Lease) -> None:
        """One lead, from its claim to its settle."""
        asked = questions(self.orders.vendors, lease.lead.inputs.email or "")
        bodies = await asyncio.gather(
            *(self._ask(*names, *each) for names, each in zip(self.ASKED, asked, strict=True))
        )
        data = update(*bodies)["$set"]["enriched_data"]
        await self.books.settle(lease, data, Subject())

    async def _ask(self, provider: str, vendor: str, url: str, params: Mapping[str, str]) -> bytes:
        target = URL(url).with_query(params)
        call = await self.books.begin(provider, vendor, target.raw_path_qs)
        reply = await self.http.fetch("GET", target, HEADERS)
        assert isinstance(reply, Reply)
        await self.books.keep(call, reply)
        return reply.body


async def run(contestant: type[BarePlus]) -> None:
    """Drain what the orders name."""
    orders = Orders.read()
    client: AsyncMongoClient[Document] = AsyncMongoClient(orders.uri, w="majority", tz_aware=True)
    async with client, open_client() as http:
        books = Books(client, orders.database)
        await books.ensure()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        await contestant(orders, books, http).drain()
        await forever()


if __name__ == "__main__":
    uvloop.run(run(BarePlus))
