"""Who asked not to be processed is written down under a key, and found again."""

from __future__ import annotations

import asyncio

from pymongo.asynchronous.database import AsyncDatabase

from enricher.lead import Document
from enricher.mongo.secret import Keyring
from enricher.privacy import suppression
from enricher.privacy.suppression import Suppressed, key_of

KEYS = Keyring(bytes(32))
ADA = key_of(KEYS, "ada@quokka-freight.com")
BOB = key_of(KEYS, "bob@quokka-freight.com")


async def test_who_was_added_is_found_and_nobody_else(database: AsyncDatabase[Document]) -> None:
    suppressed = Suppressed(database)
    assert await suppressed.add([ADA], "wished") == 1
    found = await asyncio.gather(*(suppressed.has(key) for key in (ADA, BOB)))
    assert found == [True, False]


async def test_a_second_time_changes_nothing(database: AsyncDatabase[Document]) -> None:
    suppressed = Suppressed(database)
    await suppressed.add([ADA], "wished")
    [entry] = await database[suppression.COLLECTION].find().to_list()
    assert await suppressed.add([ADA, BOB], "again") == 1
    assert await database[suppression.COLLECTION].find_one({"_id": ADA}) == entry


async def test_no_address_stands_in_an_entry(database: AsyncDatabase[Document]) -> None:
    await Suppressed(database).add([ADA], "wished")
    [entry] = await database[suppression.COLLECTION].find().to_list()
    assert set(entry) == {"_id", "at", "why"}
    assert "ada" not in str(entry).lower().replace(ADA, "")


async def test_an_entry_can_be_taken_back(database: AsyncDatabase[Document]) -> None:
    suppressed = Suppressed(database)
    await suppressed.add([ADA], "wished")
    assert [await suppressed.remove(ADA), await suppressed.remove(ADA)] == [True, False]
    assert not await suppressed.has(ADA)


async def test_two_who_add_the_same_at_once_both_succeed(database: AsyncDatabase[Document]) -> None:
    one, other = Suppressed(database), Suppressed(database)
    added = await asyncio.gather(*(each.add([ADA], "wished") for each in (one, other) * 4))
    assert sum(added) == 1
