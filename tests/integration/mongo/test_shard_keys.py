"""Reading the shard keys. A server without a router keeps what is put into its `config.collections`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from enricher.lead import Document
from enricher.mongo import sharding


@pytest.fixture
async def leads(database: AsyncDatabase[Document]) -> AsyncIterator[str]:
    """The name of a leads collection that is sharded by account; gone from the catalogue afterwards."""
    entries, name = database.client["config"]["collections"], f"{database.name}.leads"
    await entries.insert_one({"_id": name, "key": {"account": 1, "_id": "hashed"}, "unique": False})
    yield name
    await entries.delete_one({"_id": name})


async def test_the_keys_of_those_that_are_asked_for_are_read_in_their_order(
    database: AsyncDatabase[Document], leads: str
) -> None:
    found = await sharding.read(database.client, [leads, f"{database.name}.enricher_answers"])
    assert found is not None
    assert [(name, list(key.items())) for name, key in found.items()] == [
        (leads, [("account", 1), ("_id", "hashed")])
    ]


async def test_without_a_catalogue_nothing_is_sharded(database: AsyncDatabase[Document]) -> None:
    assert await sharding.read(database.client, [f"{database.name}.leads"]) == {}
