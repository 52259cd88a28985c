"""The leads collection as the daemon sees it, and a server that can be told to fail."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.intake.history import collection_name
from enricher.lead import Document
from enricher.mongo import server
from enricher.mongo.embedded import EmbeddedServer
from enricher.queue.indexes import Indexes
from tests.support.faults import Faults, no_fail_point
from tests.support.processes import server_directory


@pytest.fixture
async def ours(mongodb_uri: str, shared_database: str) -> AsyncIterator[AsyncCollection[Document]]:
    """Empty, with the daemon's own kind of client and indexes.

    One for all tests, emptied by each: to make a collection with its indexes takes 0.1 s.
    """
    async with server.connect(mongodb_uri, pool=8) as client:
        leads = client[shared_database]["leads"]
        await Indexes(leads).ensure()
        try:
            yield leads
        finally:
            await leads.database.command("collMod", "leads", validator={})
            await leads.delete_many({})


@pytest.fixture
async def fresh(mongodb_uri: str, shared_database: str) -> AsyncIterator[AsyncCollection[Document]]:
    """The same, but nobody had it before: it may be dropped and its plans may be looked at."""
    async with server.connect(mongodb_uri, pool=8) as client:
        leads = client[shared_database][f"leads_{uuid.uuid4().hex[:12]}"]
        await Indexes(leads).ensure()
        yield leads
        await leads.drop()
        await leads.database.drop_collection(collection_name(leads.name))


@pytest.fixture(scope="session")
def shared_database(mongodb_uri: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with MongoClient[Document](mongodb_uri) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def faulty_uri(mongod: Path) -> Iterator[str]:
    """A replica set with fail points. Always an embedded one: others do not allow them."""
    with server_directory() as directory:
        server = EmbeddedServer(
            directory, binary=mongod, extra_args=["--setParameter=enableTestCommands=1"]
        )
        asyncio.run(server.start())
        try:
            yield server.uri
        finally:
            asyncio.run(server.stop())


@pytest.fixture
async def faults(faulty_uri: str) -> AsyncIterator[Faults]:
    """A collection on that server: `faults.leads` fails when told to, `faults.plain` never does."""
    name = f"leads_{uuid.uuid4().hex[:12]}"
    plain: AsyncMongoClient[Document] = AsyncMongoClient(faulty_uri, tz_aware=True)
    async with no_fail_point(faulty_uri), plain, server.connect(faulty_uri, pool=8) as client:
        yield Faults(client["crm"][name], plain["crm"][name])
        await plain["crm"].drop_collection(name)
