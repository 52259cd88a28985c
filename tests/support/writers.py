"""The ways in which programs that know nothing of the daemon write leads.

Each takes a place and some leads that carry their own `_id`, and returns when they are written. The
one that is missing is `mongoimport`, which is in no package that the tests could install; it inserts
with unordered bulk writes, as `bulk_write` here does.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pymongo import AsyncMongoClient, InsertOne, MongoClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from enricher.lead import Document


@dataclass(frozen=True, slots=True)
class Place:
    """Where leads are written to."""

    uri: str
    database: str
    collection: str = "leads"
    node_modules: Path | None = None


Write: TypeAlias = Callable[[Collection[Document], list[Document]], object]
Writer: TypeAlias = Callable[[Place, list[Document]], Awaitable[None]]


def _insert_one(into: Collection[Document], leads: list[Document]) -> None:
    for lead in leads:
        into.insert_one(lead)


def _bulk_write(into: Collection[Document], leads: list[Document]) -> None:
    into.bulk_write([InsertOne(lead) for lead in leads], ordered=False)


def _client_bulk_write(into: Collection[Document], leads: list[Document]) -> None:
    """One command for several collections, where the server (8.0) knows it."""
    client = into.database.client
    if client.admin.command("hello")["maxWireVersion"] < 25:
        _bulk_write(into, leads)
        return
    client.bulk_write([InsertOne(lead, namespace=into.full_name) for lead in leads])


def _update_one_upsert(into: Collection[Document], leads: list[Document]) -> None:
    for lead in leads:
        on_insert = {name: value for name, value in lead.items() if name != "_id"}
        into.update_one({"_id": lead["_id"]}, {"$setOnInsert": on_insert}, upsert=True)


def _pipeline_upsert(into: Collection[Document], leads: list[Document]) -> None:
    for lead in leads:
        fields = {name: {"$literal": value} for name, value in lead.items() if name != "_id"}
        into.update_one({"_id": lead["_id"]}, [{"$set": fields}], upsert=True)


def _replace_one_upsert(into: Collection[Document], leads: list[Document]) -> None:
    for lead in leads:
        into.replace_one({"_id": lead["_id"]}, lead, upsert=True)


def _find_one_and_update_upsert(into: Collection[Document], leads: list[Document]) -> None:
    for lead in leads:
        fields = {name: value for name, value in lead.items() if name != "_id"}
        into.find_one_and_update({"_id": lead["_id"]}, {"$set": fields}, upsert=True)


def _find_one_and_replace_upsert(into: Collection[Document], leads: list[Document]) -> None:
    for lead in leads:
        into.find_one_and_replace({"_id": lead["_id"]}, lead, upsert=True)


def _merge_stage(into: Collection[Document], leads: list[Document]) -> None:
    """A staging collection that is merged into the leads on the server."""
    staging = into.database[f"{into.name}_staging"]
    staging.delete_many({})
    staging.insert_many(leads)
    staging.aggregate([{"$merge": {"into": into.name}}])


def _with_transaction(into: Collection[Document], leads: list[Document]) -> None:
    def write(session: ClientSession) -> None:
        for lead in leads:
            into.insert_one(lead, session=session)

    with into.database.client.start_session() as session:
        session.with_transaction(write)


def _pymongo(write: Write) -> Writer:
    def write_all(place: Place, leads: list[Document]) -> None:
        client: MongoClient[Document] = MongoClient(place.uri, uuidRepresentation="standard")
        with client:
            write(client[place.database][place.collection], leads)

    async def writer(place: Place, leads: list[Document]) -> None:
        await asyncio.to_thread(write_all, place, leads)

    return writer


async def _pymongo_async(place: Place, leads: list[Document]) -> None:
    client: AsyncMongoClient[Document] = AsyncMongoClient(place.uri)
    async with client:
        await client[place.database][place.collection].insert_many(leads)


async def _motor(place: Place, leads: list[Document]) -> None:
    from motor.motor_asyncio import AsyncIOMotorClient

    client: Any = AsyncIOMotorClient(place.uri)
    try:
        await client[place.database][place.collection].insert_many(leads)
    finally:
        client.close()


NODE_PROGRAM = """
const { MongoClient } = require("mongodb");

async function main({ uri, database, collection, leads }) {
  const client = await MongoClient.connect(uri);
  const into = client.db(database).collection(collection);
  const [first, second, third, ...others] = leads;
  await into.insertOne(first);
  await into.bulkWrite([{ insertOne: { document: second } }]);
  await into.updateOne({ _id: third._id }, { $set: third }, { upsert: true });
  await into.insertMany(others);
  await client.close();
}

main(JSON.parse(process.argv[1])).catch((error) => { console.error(error.name); process.exit(1); });
"""


async def _node(place: Place, leads: list[Document]) -> None:
    told = {
        "uri": place.uri,
        "database": place.database,
        "collection": place.collection,
        "leads": leads,
    }
    process = await asyncio.create_subprocess_exec(
        "node",
        "-e",
        NODE_PROGRAM,
        json.dumps(told),
        env={**os.environ, "NODE_PATH": str(place.node_modules)},
    )
    assert await process.wait() == 0


IN_PYTHON: Mapping[str, Writer] = {
    "insert_one": _pymongo(_insert_one),
    "insert_many": _pymongo(lambda into, leads: into.insert_many(leads)),
    "bulk_write": _pymongo(_bulk_write),
    "client_bulk_write": _pymongo(_client_bulk_write),
    "update_one_upsert": _pymongo(_update_one_upsert),
    "pipeline_upsert": _pymongo(_pipeline_upsert),
    "replace_one_upsert": _pymongo(_replace_one_upsert),
    "find_one_and_update_upsert": _pymongo(_find_one_and_update_upsert),
    "find_one_and_replace_upsert": _pymongo(_find_one_and_replace_upsert),
    "merge_stage": _pymongo(_merge_stage),
    "with_transaction": _pymongo(_with_transaction),
    "pymongo_async": _pymongo_async,
    "motor": _motor,
}
ON_NODE: Writer = _node
