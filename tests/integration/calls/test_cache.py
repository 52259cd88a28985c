"""Answers that are found again for as long as they are good, by every daemon."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from bson import Binary, Regex, Timestamp
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from enricher.answer import Reply
from enricher.calls.flights import COLLECTION, INDEX, Cache, Flight
from enricher.lead import Document
from enricher.mongo import DatabaseTrouble
from enricher.mongo.secret import keyring
from tests.support.faults import Faults
from tests.support.observing import events, logged
from tests.support.queueing import Commands
from tests.support.waiting import business, eventually

Database = AsyncDatabase[Document]

KEY = "5f" * 20
DAY = timedelta(days=1)
REPLY = Reply(200, {"content-type": "application/json"}, b'{"name": "Quokka Freight"}')
OTHER = Reply(404, {}, b"{}")
INTERRUPTED = 11601


@pytest.fixture
async def cache(database: Database) -> Cache:
    return Cache(database, "a-process", 5.0)


@pytest.fixture
async def faulty(faults: Faults) -> AsyncIterator[Cache]:
    """Its commands fail when told to; what it has written is seen through `faults.plain`."""
    yield Cache(faults.leads.database, "a-process", 1.0)
    await faults.plain.database.drop_collection(COLLECTION)


async def taken(cache: Cache, key: str = KEY, newer_than: datetime | None = None) -> Flight:
    flight = await cache.take(key, "acme", newer_than)
    assert isinstance(flight, Flight)
    return flight


async def answer(
    cache: Cache, reply: Reply = REPLY, lasts: timedelta = DAY, key: str = KEY
) -> None:
    """Asked and kept."""
    await cache.keep(await taken(cache, key), reply, lasts)


async def stored(database: Database, key: str = KEY) -> Any:
    return await database[COLLECTION].find_one({"_id": key})


async def answered_at(database: Database) -> datetime:
    at: datetime = (await stored(database))["reply"]["at"]
    return at


# -- an answer is found again ----------------------------------------------------------------


async def test_an_answer_is_found_again_by_every_daemon(database: Database, cache: Cache) -> None:
    await answer(cache)
    other = Cache(database, "another-process", 5.0)
    assert await other.look(KEY) == REPLY
    assert await other.take(KEY, "acme") == REPLY
    assert await other.wait(KEY) == REPLY


async def test_a_question_that_nobody_asked_has_no_answer(cache: Cache) -> None:
    assert await cache.look(KEY) is None


async def test_an_answer_that_has_expired_is_none_and_is_asked_for_anew(
    database: Database, cache: Cache
) -> None:
    await answer(cache, lasts=timedelta(seconds=business()))
    assert await cache.look(KEY) == REPLY
    await eventually(lambda: _is_gone(cache))
    assert await stored(database), "it was judged by its time, not by the clean-up that comes later"

    await answer(cache, OTHER)

    assert await cache.look(KEY) == OTHER


async def _is_gone(cache: Cache) -> bool:
    return await cache.look(KEY) is None


async def test_an_answer_that_is_not_to_be_kept_serves_nobody(cache: Cache) -> None:
    await answer(cache, lasts=timedelta(0))
    assert await cache.look(KEY) is None
    assert await cache.wait(KEY) is None


async def test_a_question_under_way_has_no_answer_yet(cache: Cache) -> None:
    await taken(cache)
    assert await cache.look(KEY) is None


async def test_documents_go_by_themselves_when_their_answer_has_expired(
    database: Database, cache: Cache
) -> None:
    await cache.ensure()
    await cache.ensure()
    index = (await database[COLLECTION].index_information())[INDEX]
    assert index["expireAfterSeconds"] == 0

    await answer(cache, lasts=3 * DAY)

    document = await stored(database)
    assert document["expires_at"] == document["reply"]["expires_at"]
    assert abs(document["expires_at"] - datetime.now(UTC) - 3 * DAY) < timedelta(minutes=1)


async def test_an_index_that_stands_in_the_way_is_told_and_stops_nothing(
    database: Database, cache: Cache
) -> None:
    await database[COLLECTION].create_index("expires_at", name="theirs")
    with logged() as lines:
        await cache.ensure()
    (line,) = events(lines, "indexes.missing")
    assert line.fields["missing"] == INDEX


async def test_a_server_that_cannot_make_an_index_now_is_an_outage(
    faults: Faults, faulty: Cache
) -> None:
    async with faults.fail("createIndexes", errorCode=INTERRUPTED):
        with pytest.raises(DatabaseTrouble):
            await faulty.ensure()


# -- newer than ------------------------------------------------------------------------------


async def test_an_answer_counts_only_if_it_came_after_what_is_asked_for(
    database: Database, cache: Cache
) -> None:
    await answer(cache)
    at = await answered_at(database)
    before = at - timedelta(milliseconds=1)
    assert await cache.look(KEY, newer_than=before) == REPLY
    assert await cache.take(KEY, "acme", newer_than=before) == REPLY
    assert await cache.look(KEY, newer_than=at) is None
    assert isinstance(await cache.take(KEY, "acme", newer_than=at), Flight)


async def test_while_a_question_is_asked_afresh_its_old_answer_serves_those_who_do_not_mind(
    database: Database, cache: Cache
) -> None:
    await answer(cache)
    at = await answered_at(database)
    flight = await taken(cache, newer_than=at)
    assert await cache.look(KEY) == REPLY
    assert await cache.take(KEY, "acme") == REPLY
    assert await cache.take(KEY, "acme", newer_than=at) is None

    await cache.keep(flight, OTHER, DAY)

    assert await cache.wait(KEY, newer_than=at) == OTHER


async def test_an_old_answer_outlives_a_fresh_call_that_came_to_nothing(
    database: Database, cache: Cache
) -> None:
    await answer(cache, lasts=3 * DAY)
    expires_at = (await stored(database))["expires_at"]
    await cache.let_go(await taken(cache, newer_than=await answered_at(database)))
    assert await cache.look(KEY) == REPLY
    assert (await stored(database))["expires_at"] == expires_at


# -- what can be stored ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\xff\xfe$where\0" * 9,
        Random(1).randbytes(2 * 1024 * 1024),
        b"all the same " * 170_000,
        b'{"a": "$$NOW"}',
    ],
    ids=["empty", "zero", "binary", "2 MB of noise", "2 MB that shrink", "expression"],
)
async def test_a_body_comes_back_as_it_was(database: Database, cache: Cache, body: bytes) -> None:
    await answer(cache, Reply(200, {}, body))
    assert await cache.look(KEY) == Reply(200, {}, body)
    assert len((await stored(database))["reply"]["body"]) <= len(body)


async def test_of_the_headers_only_those_are_kept_that_say_something_later(cache: Cache) -> None:
    kept = {"date": "Tue, 14 Jul 2026 08:00:00 GMT", "content-type": "$text\udcff"}
    await answer(cache, Reply(200, {**kept, "set-cookie": "secret", "$x.y": "z"}, b""))
    reply = await cache.look(KEY)
    assert reply is not None
    assert reply.headers == {**kept, "content-type": "$text?"}


async def test_a_body_too_large_for_any_document_ends_the_flight_and_is_told(
    cache: Cache,
) -> None:
    with logged() as lines:
        await answer(cache, Reply(200, {}, os.urandom(13 * 1024 * 1024)))
    assert await cache.look(KEY) is None
    assert isinstance(await cache.take(KEY, "acme"), Flight)
    assert events(lines, "cache.too_large")


async def test_no_document_names_an_address_or_a_holder_of_one(
    database: Database, cache: Cache
) -> None:
    ring = await keyring(database)
    await taken(cache, ring.key("acme", "wynn@quokka-freight.com"))
    document = await database[COLLECTION].find_one({})
    assert "quokka" not in str(document)
    assert "wynn" not in str(document)


# -- garbage that somebody else put there ----------------------------------------------------

LATER = datetime(2999, 1, 1, tzinfo=UTC)
GOOD = {"status": 200, "headers": {}, "body": b"{}", "packed": False, "at": LATER}
GARBAGE: list[Any] = [
    None,
    "text",
    [],
    [{**GOOD, "expires_at": LATER}],
    {},
    GOOD,
    {**GOOD, "expires_at": "later"},
    {**GOOD, "expires_at": Timestamp(2**31, 1)},
    {**GOOD, "expires_at": LATER, "at": None},
    {**GOOD, "expires_at": LATER, "status": "200"},
    {**GOOD, "expires_at": LATER, "status": None},
    {**GOOD, "expires_at": LATER, "body": "{}"},
    {**GOOD, "expires_at": LATER, "body": None},
    {**GOOD, "expires_at": LATER, "headers": 7},
    {**GOOD, "expires_at": LATER, "packed": True},
    {**GOOD, "expires_at": LATER, "packed": True, "body": b"\x78\x01\x02"},
    {**GOOD, "expires_at": Regex("x")},
]


@pytest.mark.parametrize("number", range(len(GARBAGE)))
async def test_garbage_is_no_answer_and_is_replaced_by_one(
    database: Database, cache: Cache, number: int
) -> None:
    await database[COLLECTION].insert_one({"_id": KEY, "reply": GARBAGE[number]})
    assert await cache.look(KEY) is None
    await answer(cache)
    assert await cache.look(KEY) == REPLY


@pytest.mark.parametrize("number", range(len(GARBAGE)))
async def test_garbage_is_taken_at_the_second_try_at_the_latest(
    database: Database, cache: Cache, number: int
) -> None:
    """Only the reader can tell of a body that cannot be unpacked, and nobody has looked yet."""
    await database[COLLECTION].insert_one({"_id": KEY, "reply": GARBAGE[number]})
    first = await cache.take(KEY, "acme")
    assert isinstance(first or await cache.take(KEY, "acme"), Flight)


@pytest.mark.parametrize(
    "flight",
    [
        None,
        "x",
        [],
        [{"id": "x", "beat": 1}],
        {},
        {"id": 7, "beat": 1},
        {"id": "x"},
        {"id": "x", "beat": float("nan")},
        {"id": "x", "beat": "1"},
        {"id": None, "beat": None},
    ],
    ids=repr,
)
async def test_a_garbled_flight_is_none(database: Database, cache: Cache, flight: object) -> None:
    await database[COLLECTION].insert_one({"_id": KEY, "flight": flight})
    assert await cache.wait(KEY) is None
    assert not (await taken(cache)).took_over


async def test_other_bytes_than_ours_are_read_as_bytes(database: Database, cache: Cache) -> None:
    reply = {**GOOD, "expires_at": LATER, "body": Binary(b"\0" * 16, 4)}
    await database[COLLECTION].insert_one({"_id": KEY, "reply": reply})
    assert await cache.look(KEY) == Reply(200, {}, b"\0" * 16)


# -- forgetting ------------------------------------------------------------------------------


async def test_what_is_forgotten_is_gone_and_the_rest_stays(
    database: Database, cache: Cache
) -> None:
    for number in range(4):
        await answer(cache, key=f"key-{number}")
    assert await cache.forget([f"key-{number}" for number in (1, 2, 9)]) == 2
    assert await cache.forget([]) == 0
    left = [number for number in range(4) if await cache.look(f"key-{number}")]
    assert left == [0, 3]


async def test_the_answer_to_a_question_that_was_forgotten_meanwhile_is_dropped(
    database: Database, cache: Cache
) -> None:
    flight = await taken(cache)
    await cache.forget([KEY])
    await cache.keep(flight, REPLY, DAY)
    assert await stored(database) is None


# -- trouble ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"closeConnection": True, "times": 1},
        {"errorCode": INTERRUPTED, "times": 2},
        {"writeConcernError": {"code": 91, "errmsg": "x"}, "times": 2},
        {"writeConcernError": {"code": 64, "errmsg": "x"}, "times": 2},
    ],
    ids=str,
)
async def test_an_answer_is_kept_however_often_that_fails(
    faults: Faults, faulty: Cache, how: dict[str, Any]
) -> None:
    flight = await taken(faulty)
    async with faults.fail("update", **how):
        await faulty.keep(flight, REPLY, DAY)
    assert await faulty.look(KEY) == REPLY
    assert faulty.outage.is_over


async def test_an_answer_is_kept_although_nobody_waits_for_that_any_more(
    faults: Faults, faulty: Cache
) -> None:
    flight = await taken(faulty)
    async with faults.fail("update", errorCode=INTERRUPTED):
        keeping = asyncio.create_task(faulty.keep(flight, REPLY, DAY))
        await eventually(lambda: not faulty.outage.is_over)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert await faulty.wait(KEY) == REPLY


async def test_an_answer_that_the_database_refuses_for_good_ends_its_flight_and_no_other(
    database: Database, cache: Cache
) -> None:
    flights = [await taken(cache, f"key-{number}") for number in range(3)]
    refusing = {"reply.status": {"$ne": 418}}
    await database.command("collMod", COLLECTION, validator=refusing)
    replies = [REPLY, Reply(418), OTHER]
    with logged() as lines:
        await asyncio.gather(
            *(
                cache.keep(flight, reply, DAY)
                for flight, reply in zip(flights, replies, strict=True)
            )
        )
    assert [await cache.look(flight.key) for flight in flights] == [REPLY, None, OTHER]
    assert events(lines, "cache.refused")


async def test_a_look_says_when_the_database_is_away(faults: Faults, faulty: Cache) -> None:
    async with faults.fail("find", errorCode=INTERRUPTED):
        with pytest.raises(PyMongoError):
            await faulty.look(KEY)


# -- round trips -----------------------------------------------------------------------------


async def test_many_at_once_share_their_round_trips(mongodb_uri: str, database: Database) -> None:
    commands = Commands()
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        mongodb_uri, tz_aware=True, event_listeners=[commands]
    )
    async with client:
        cache = Cache(client[database.name], "a-process", 5.0)
        keys = [f"key-{number}" for number in range(64)]

        async def count(*calls: Any) -> tuple[list[Any], int]:
            before = len(commands.sent)
            results = list(await asyncio.gather(*calls))
            return results, len(commands.sent) - before

        await cache.take("what the time is", "acme")  # asked once, by the first
        _, looks = await count(*(cache.look(key) for key in keys))
        flights, takes = await count(*(cache.take(key, "acme") for key in keys))
        _, keeps = await count(*(cache.keep(flight, REPLY, DAY) for flight in flights))
        found, later = await count(*(cache.take(key, "acme") for key in keys))

    assert found == [REPLY] * 64
    assert (looks, takes, keeps, later) == (1, 1, 1, 3)
