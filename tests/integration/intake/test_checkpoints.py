"""The saved position: it only moves forward, and is no use to another pipeline or collection."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from bson import Timestamp
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher.intake.checkpoints import COLLECTION, Checkpoint, Checkpoints
from enricher.lead import Document
from tests.support.queueing import HOUR, PAST, server_time


@pytest.fixture
async def collection(database: AsyncDatabase[Document]) -> AsyncCollection[Document]:
    return database[COLLECTION]


def checkpoints(
    collection: AsyncCollection[Document], leads: str = "leads", pipeline: str = "one"
) -> Checkpoints:
    return Checkpoints(collection.database, leads, pipeline)


def token(number: int) -> Document:
    return {"_data": f"82{number:08X}"}


async def test_the_first_start_has_no_position_and_notes_when_it_was(
    collection: AsyncCollection[Document],
) -> None:
    checkpoint = await checkpoints(collection).begin()

    assert (checkpoint.token, checkpoint.saved_at, checkpoint.history_known) == (None, None, False)
    assert checkpoint.operation_time is None
    assert abs(checkpoint.started_at - await server_time(collection)) < timedelta(seconds=5)


async def test_later_starts_know_the_first_one(collection: AsyncCollection[Document]) -> None:
    first = await checkpoints(collection).begin()
    await checkpoints(collection).history_is_known(3)
    second = await checkpoints(collection).begin()
    assert second.started_at == first.started_at
    assert second.history_known


async def test_daemons_that_start_together_agree_on_the_first_start(
    collection: AsyncCollection[Document],
) -> None:
    starts = await asyncio.gather(*(checkpoints(collection).begin() for _ in range(8)))
    assert len({start.started_at for start in starts}) == 1
    assert await collection.count_documents({}) == 1


async def test_a_saved_position_is_found_again(collection: AsyncCollection[Document]) -> None:
    saved = {**token(7), "_typeBits": b"\x01"}
    await checkpoints(collection).begin()
    await checkpoints(collection).save(saved)
    checkpoint = await checkpoints(collection).begin()
    assert checkpoint.token == saved
    assert checkpoint.saved_at is not None


async def test_a_position_never_moves_backwards(collection: AsyncCollection[Document]) -> None:
    ahead, behind = checkpoints(collection), checkpoints(collection)
    await ahead.begin()
    await ahead.save(token(9))
    saved_at = (await ahead.begin()).saved_at

    await behind.save(token(3))

    checkpoint = await behind.begin()
    assert (checkpoint.token, checkpoint.saved_at) == (token(9), saved_at)


async def test_two_daemons_that_save_at_once_leave_the_later_position(
    collection: AsyncCollection[Document],
) -> None:
    first, second = checkpoints(collection), checkpoints(collection)
    await first.begin()
    await asyncio.gather(
        *(first.save(token(number)) for number in range(0, 40, 2)),
        *(second.save(token(number)) for number in range(1, 40, 2)),
    )
    assert (await first.begin()).token == token(39)


async def test_saving_the_same_position_again_renews_its_time(
    collection: AsyncCollection[Document],
) -> None:
    """An idle stream on an idle cluster is at the same place, and that is news."""
    await checkpoints(collection).begin()
    await checkpoints(collection).save(token(5))
    await collection.update_one({}, {"$set": {"saved_at": PAST}})
    await checkpoints(collection).save(token(5))
    saved_at = (await checkpoints(collection).begin()).saved_at
    assert saved_at is not None
    assert saved_at > PAST


async def test_another_pipeline_starts_by_time_and_then_keeps_its_own_position(
    collection: AsyncCollection[Document],
) -> None:
    await checkpoints(collection).begin()
    await checkpoints(collection).save(token(9))
    changed = checkpoints(collection, pipeline="two")

    checkpoint = await changed.begin()
    assert checkpoint.token is None
    assert checkpoint.operation_time is not None

    await changed.save(token(4))
    assert (await changed.begin()).token == token(4)


async def test_each_leads_collection_has_a_position_of_its_own(
    collection: AsyncCollection[Document],
) -> None:
    for name, number in (("leads", 1), ("prospects", 2)):
        await checkpoints(collection, name).begin()
        await checkpoints(collection, name).save(token(number))
    assert (await checkpoints(collection, "leads").begin()).token == token(1)


async def test_saving_before_the_first_start_is_noted_does_no_harm(
    collection: AsyncCollection[Document],
) -> None:
    await checkpoints(collection).save(token(1))
    assert (await checkpoints(collection).begin()).token == token(1)


def test_a_start_by_time_begins_two_minutes_early_but_not_before_the_first_start() -> None:
    late = Checkpoint(None, PAST - HOUR, saved_at=PAST, history_known=True)
    early = Checkpoint(None, PAST, saved_at=PAST + timedelta(seconds=30), history_known=True)
    assert late.operation_time == Timestamp(int(PAST.timestamp()) - 120, 0)
    assert early.operation_time == Timestamp(int(PAST.timestamp()) + 1, 0)


async def test_a_start_by_time_in_the_second_of_the_first_start_misses_nothing_of_that_second(
    collection: AsyncCollection[Document],
) -> None:
    origin = Timestamp(int((await server_time(collection)).timestamp()), 7)
    first = Checkpoints(collection.database, "leads", "one", origin)
    await first.begin()
    await first.save(token(9))
    again = await checkpoints(collection).begin()
    assert again.operation_time == origin


async def test_the_position_of_another_collection_of_this_name_is_not_used_and_gives_way(
    collection: AsyncCollection[Document],
) -> None:
    leads = collection.database["leads"]
    await leads.insert_one({})
    first = checkpoints(collection)
    await first.begin()
    await first.save(token(9))
    await leads.drop()
    await leads.insert_one({})

    restarted = checkpoints(collection)
    found = await restarted.begin()
    assert (found.token, found.operation_time, found.is_foreign) == (None, None, True)

    await restarted.save(token(3))
    found = await restarted.begin()
    assert (found.token, found.is_foreign) == (token(3), False)


async def test_a_position_saved_before_the_collection_was_known_is_used(
    collection: AsyncCollection[Document],
) -> None:
    early = checkpoints(collection)
    await early.begin()
    await early.save(token(5))
    await collection.database["leads"].insert_one({})

    found = await checkpoints(collection).begin()

    assert (found.token, found.is_foreign) == (token(5), False)
