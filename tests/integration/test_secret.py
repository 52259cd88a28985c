"""The secret behind all keys: made once, the same for every daemon, and never replaced."""

from __future__ import annotations

import asyncio

import pytest
from pymongo.asynchronous.database import AsyncDatabase

from enricher.errors import DatabaseRefused
from enricher.lead import Document
from enricher.store import server
from enricher.store.secret import COLLECTION, Keyring, keyring

Database = AsyncDatabase[Document]

ADDRESS = "ada@quokka-freight.com"


async def test_daemons_that_start_together_make_the_same_keys(
    database: Database, mongodb_uri: str
) -> None:
    async with server.connect(mongodb_uri, pool=8) as client:
        theirs = client[database.name]
        rings = await asyncio.gather(*(keyring(each) for each in [database, theirs] * 8))
    assert len({ring.key("hunter", ADDRESS) for ring in rings}) == 1
    assert await database[COLLECTION].count_documents({}) == 1


async def test_a_later_start_makes_the_same_keys(database: Database) -> None:
    first = await keyring(database)
    assert (await keyring(database)).key(ADDRESS) == first.key(ADDRESS)


async def test_another_database_has_another_secret(database: Database) -> None:
    ours = await keyring(database)
    await database[COLLECTION].delete_many({})
    assert (await keyring(database)).key(ADDRESS) != ours.key(ADDRESS)


@pytest.mark.parametrize("damage", ["text", None, b"", b"x" * 31, 7, {"a": b"x" * 32}], ids=repr)
async def test_a_damaged_secret_is_refused_and_left_as_it_is(
    database: Database, damage: object
) -> None:
    """With a new one, whoever must not be asked about would be asked about again."""
    await database[COLLECTION].insert_one({"_id": "keys", "secret": damage})
    with pytest.raises(DatabaseRefused, match=COLLECTION):
        await keyring(database)
    document = await database[COLLECTION].find_one({"_id": "keys"})
    assert document is not None
    assert document["secret"] == damage


def test_a_key_says_nothing_of_its_parts_and_has_40_digits() -> None:
    key = Keyring(b"s" * 32).key("hunter", ADDRESS)
    assert len(key) == 40
    assert int(key, 16)
    assert key != Keyring(b"t" * 32).key("hunter", ADDRESS)


def test_other_parts_make_another_key() -> None:
    ring = Keyring(b"s" * 32)
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), ("a:b", "c"), ("1:a",)]
    parts += [("c", "ab"), ("a\0b",), ("a", "b"), ("é",), ("e\u0301",), ("\ud800",), ()]
    assert len({ring.key(*each) for each in parts}) == len(parts)


def test_a_keyring_does_not_show_its_secret() -> None:
    assert "sssss" not in repr(Keyring(b"s" * 32))
