"""Empty databases on the server that the whole run shares, each used by one test after another.

    async with empty_database(client, uri) as database: ...

A daemon that starts on a new database makes nine collections with two dozen indexes, and these are dropped again:
0.13 s of mongod's CPU, hundreds of times. So a database that a test gave back is given to a later one, emptied, as long as
its collections are just those that a daemon makes. What a test did to them, options, other indexes, a profiler or a
key that is part of an array (which an index remembers for ever), costs the database its second life. It rests before that:
what a killed daemon had sent reaches the server after the kill.

A test about what is made at a first start, or about who makes nothing, asks for a `new` one.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import bson
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from enricher.calls import flights, ledger
from enricher.intake import checkpoints
from enricher.intake.history import collection_name
from enricher.lead import Document
from enricher.limits import bucket
from enricher.mongo import secret, server
from enricher.privacy import suppression
from enricher.queue.indexes import Indexes
from enricher.status.daemons import Daemons
from tests.support.waiting import business

REST_SECONDS = 5.0
"""On an idle machine."""
BESIDE = "enricher_results_leads"
_MOST = 1000
"""Leads: to delete more, each from all indexes, takes longer than to make everything anew."""

Shape = dict[str, bytes]
"""Collection -> its options and indexes."""


class Lending:
    """The databases of one server that may be used again."""

    def __init__(self) -> None:
        self._resting: deque[tuple[float, str]] = deque()
        self._made: Shape | None = None
        """What a daemon makes."""

    async def take(self, client: AsyncMongoClient[Document]) -> AsyncDatabase[Document]:
        while (name := self._rested()) is not None:
            if await self._can_be_emptied(client[name]):
                return client[name]
            await client.drop_database(name)
        return client[_new_name()]

    def give_back(self, name: str) -> None:
        self._resting.append((time.monotonic() + REST_SECONDS * business(), name))

    def names(self) -> list[str]:
        return [name for _, name in self._resting]

    def _rested(self) -> str | None:
        if self._resting and self._resting[0][0] < time.monotonic():
            return self._resting.popleft()[1]
        return None

    async def _can_be_emptied(self, database: AsyncDatabase[Document]) -> bool:
        """Having emptied it, unless it is no longer as a daemon made it."""
        try:
            made = await self._as_made(database.client)
            if not (found := await _shape(database)).items() <= made.items():
                return False
        except OperationFailure:  # an older server does not tell
            return False
        if await database["leads"].estimated_document_count() > _MOST:
            return False
        for name in found:
            await database[name].delete_many({})
        return True

    async def _as_made(self, client: AsyncMongoClient[Document]) -> Shape:
        if self._made is None:
            database = client[_new_name()]
            await _make(database)
            self._made = await _shape(database)
            self.give_back(database.name)
        return self._made


_shared: dict[str, Lending] = {}


@contextmanager
def shared(uri: str) -> Iterator[None]:
    """Let tests on this server take over the databases of others; none is left afterwards."""
    _shared[uri] = Lending()
    try:
        yield
    finally:
        with MongoClient[Document](uri) as client:
            for name in _shared.pop(uri).names():
                client.drop_database(name)


@asynccontextmanager
async def empty_database(
    client: AsyncMongoClient[Document], uri: str, *, new: bool = False
) -> AsyncIterator[AsyncDatabase[Document]]:
    """One that nobody else has; on a server that is not shared, and if it is to be `new`, dropped afterwards."""
    lending = None if new else _shared.get(uri)
    database = client[_new_name()] if lending is None else await lending.take(client)
    try:
        yield database
    finally:
        if lending is None:
            await client.drop_database(database.name)
        else:
            lending.give_back(database.name)


def _new_name() -> str:
    return f"test_{uuid.uuid4().hex}"


async def _shape(database: AsyncDatabase[Document]) -> Shape:
    catalog = await database.client.admin.aggregate(
        [{"$listCatalog": {}}, {"$match": {"db": database.name}}]
    )
    return {each["name"]: _plain(each) async for each in catalog}


def _plain(entry: Document) -> bytes:
    """Without what names this one collection."""
    metadata = entry.get("md", {})
    options = {name: of for name, of in metadata.get("options", {}).items() if name != "uuid"}
    indexes = sorted(metadata.get("indexes", []), key=lambda index: str(index["spec"]["name"]))
    return bson.encode({"type": entry["type"], "options": options, "indexes": indexes})


async def _make(database: AsyncDatabase[Document]) -> None:
    """All that a daemon makes whose fields have their usual names, on the leads or beside them."""
    for leads in ("leads", BESIDE):
        await Indexes(database[leads]).ensure()
    await server.let_expire(database[flights.COLLECTION], flights.INDEX)
    await server.let_expire(database[ledger.COLLECTION], ledger.INDEX)
    await Daemons(database, "leads").ensure()
    for name in _PLAIN:
        await database.create_collection(name)


_PLAIN = (
    *(bucket.COLLECTION, checkpoints.COLLECTION, secret.COLLECTION, suppression.COLLECTION),
    *(collection_name("leads"), collection_name(BESIDE)),
)
