"""The secret behind all keys: made once, the same for every daemon, and never replaced."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase

from enricher.errors import DatabaseRefused, EnricherError, SettingsError
from enricher.lead import Document
from enricher.mongo import server
from enricher.mongo.secret import (
    COLLECTION,
    ENTRIES,
    FINGERPRINT,
    Keyring,
    keyring,
    keyring_if_made,
)
from enricher.privacy.suppression import Suppressed

pytestmark = pytest.mark.slow

Database = AsyncDatabase[Document]

ADDRESS = "ada@quokka-freight.com"
KEY, OTHER_KEY = SecretStr("k" * 32), SecretStr("o" * 40)


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


async def test_another_database_has_another_secret(database: Database, mongodb_uri: str) -> None:
    ours = await keyring(database)
    async with server.connect(mongodb_uri, pool=2) as client:
        other = client[f"{database.name}_other"]
        try:
            assert (await keyring(other)).key(ADDRESS) != ours.key(ADDRESS)
        finally:
            await client.drop_database(other)


async def _secret(database: Database) -> Document:
    return await database[COLLECTION].find_one({"_id": "keys"}) or {}


async def test_a_secret_that_is_gone_is_not_replaced(database: Database) -> None:
    await keyring(database)
    await database[COLLECTION].drop()
    for hash_key in (None, KEY):
        for opened in (keyring, keyring_if_made):
            with pytest.raises(SettingsError, match=f"restore {COLLECTION}"):
                await opened(database, hash_key)
    assert await _secret(database) == {}


async def test_entries_that_are_gone_are_told_and_not_begun_anew(database: Database) -> None:
    """Who was forgotten would be asked about again, and nobody would know."""
    ring = await keyring(database)
    await database[ENTRIES].drop()
    for opened in (keyring, keyring_if_made):
        with pytest.raises(SettingsError, match=f"{ENTRIES} is gone"):
            await opened(database)
    assert await database[ENTRIES].count_documents({}) == 0
    await database[COLLECTION].update_one({"_id": "keys"}, {"$unset": {"marked": ""}})
    assert (await keyring(database)).key(ADDRESS) == ring.key(ADDRESS)


@pytest.mark.parametrize("hash_key", [None, KEY], ids=["no key", "a key"])
async def test_entries_of_a_wrapped_or_derived_secret_are_missed_as_well(
    database: Database, hash_key: SecretStr | None
) -> None:
    await keyring(database, hash_key)
    await keyring(database, KEY)
    await database[ENTRIES].drop()
    with pytest.raises(SettingsError, match=f"{ENTRIES} is gone"):
        await keyring(database, KEY)


async def test_entries_without_secret_and_fingerprint_are_not_given_another_secret(
    database: Database,
) -> None:
    await Suppressed(database).add(["a" * 40], "wished")
    for hash_key in (None, KEY):
        with pytest.raises(SettingsError, match=f"restore {COLLECTION}"):
            await keyring(database, hash_key)
    assert await _secret(database) == {}


async def test_another_secret_than_that_of_the_entries_is_refused(database: Database) -> None:
    await keyring(database)
    await database[COLLECTION].update_one({"_id": "keys"}, {"$set": {"secret": b"x" * 32}})
    for hash_key in (None, KEY):
        with pytest.raises(SettingsError, match="is not the one"):
            await keyring(database, hash_key)
    assert (await _secret(database))["secret"] == b"x" * 32


async def test_a_database_of_an_older_version_gets_its_fingerprint(database: Database) -> None:
    await database[COLLECTION].insert_one({"_id": "keys", "secret": b"s" * 32})
    await Suppressed(database).add(["a" * 40], "wished")
    ring = await keyring(database)
    assert ring.key(ADDRESS) == Keyring(b"s" * 32).key(ADDRESS)
    mark = await database[ENTRIES].find_one({"_id": FINGERPRINT})
    assert mark is not None
    assert mark["of"] == ring.fingerprint


async def test_with_a_key_of_its_own_a_fresh_database_holds_none(database: Database) -> None:
    ring = await keyring(database, KEY)
    assert ring.key(ADDRESS) == (await keyring(database, KEY)).key(ADDRESS)
    held = {
        value
        for name in (COLLECTION, ENTRIES)
        for document in await database[name].find().to_list()
        for value in document.values()
        if isinstance(value, str | bytes)
    }
    assert held == {"keys", FINGERPRINT, ring.fingerprint}


async def test_a_key_of_its_own_needs_nothing_of_the_database(database: Database) -> None:
    ring = await keyring(database, KEY)
    await database[COLLECTION].drop()
    made = await keyring_if_made(database, KEY)
    assert made is not None
    assert made.secret == ring.secret == (await keyring(database, KEY)).secret


@pytest.mark.parametrize("has_secret", [False, True], ids=["fresh", "with a secret"])
@pytest.mark.parametrize("drops_secrets", [False, True], ids=["", "without enricher_secrets"])
async def test_another_key_or_none_is_refused_later(
    database: Database, *, has_secret: bool, drops_secrets: bool
) -> None:
    if has_secret:
        await keyring(database)
    await keyring(database, KEY)
    if drops_secrets:
        await database[COLLECTION].drop()
    lost = has_secret and drops_secrets
    for hash_key in (None, OTHER_KEY):
        said = f"restore {COLLECTION}" if lost else "ENRICHER_HASH_KEY: not"
        for opened in (keyring, keyring_if_made):
            with pytest.raises(SettingsError, match=said):
                await opened(database, hash_key)


async def test_a_secret_is_wrapped_and_keeps_its_meaning(database: Database) -> None:
    before = await keyring(database)
    after = await keyring(database, KEY)
    assert after.secret == before.secret
    stored = await _secret(database)
    assert "secret" not in stored
    assert before.secret not in stored.values()
    assert (await keyring(database, KEY)).secret == before.secret
    made = await keyring_if_made(database, KEY)
    assert made is not None
    assert made.secret == before.secret


async def test_who_may_change_nothing_wraps_nothing(database: Database) -> None:
    assert await keyring_if_made(database, KEY) is None
    await database[COLLECTION].insert_one({"_id": "keys", "secret": b"s" * 32})
    made = await keyring_if_made(database, KEY)
    assert made is not None
    assert made.secret == b"s" * 32
    assert (await _secret(database))["secret"] == b"s" * 32
    assert await database[ENTRIES].count_documents({}) == 0


@pytest.mark.parametrize("field", ["nonce", "wrapped", "seal"])
async def test_what_was_wrapped_and_then_altered_is_refused(database: Database, field: str) -> None:
    await keyring(database)
    await keyring(database, KEY)
    await database[COLLECTION].update_one({"_id": "keys"}, {"$set": {field: b"x" * 32}})
    with pytest.raises(SettingsError, match="ENRICHER_HASH_KEY: not the key"):
        await keyring(database, KEY)
    await database[COLLECTION].update_one({"_id": "keys"}, {"$unset": {field: ""}})
    with pytest.raises(EnricherError, match=COLLECTION):
        await keyring(database, KEY)


@pytest.mark.parametrize("has_secret", [False, True], ids=["fresh", "with a secret"])
async def test_starts_at_the_same_moment_with_and_without_keys_agree_or_are_refused(
    database: Database, mongodb_uri: str, *, has_secret: bool
) -> None:
    if has_secret:
        await database[COLLECTION].insert_one({"_id": "keys", "secret": b"s" * 32})
    async with server.connect(mongodb_uri, pool=8) as client:
        theirs = client[database.name]
        opened = await asyncio.gather(
            *(keyring(each, key) for each in (database, theirs) for key in (None, KEY, OTHER_KEY)),
            return_exceptions=True,
        )
    rings = [each for each in opened if isinstance(each, Keyring)]
    assert {type(each) for each in opened} <= {Keyring, SettingsError}
    assert len({ring.secret for ring in rings}) == 1


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
