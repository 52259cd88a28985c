"""The indexes: made when missing, never in somebody's way, and told about when refused."""

from __future__ import annotations

import asyncio

import pytest
from loguru import logger
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.fields import NAMES as OURS
from enricher.lead import Document
from enricher.queue.indexes import Building, Indexes, of_leads
from enricher.queue.worker import Bell
from tests.support.faults import Faults
from tests.support.queueing import FUTURE, PAST, insert, queue
from tests.support.waiting import end, eventually

NAMES = [str(index.document["name"]) for index in of_leads(OURS)]


async def test_all_indexes_are_made_and_making_them_again_changes_nothing(
    leads: AsyncCollection[Document],
) -> None:
    indexes = Indexes(leads)
    assert await indexes.missing() == NAMES

    await indexes.ensure()
    made = await leads.index_information()
    await indexes.ensure()

    assert await indexes.missing() == []
    assert await leads.index_information() == made


async def test_one_that_was_dropped_is_missing_and_made_again(
    fresh: AsyncCollection[Document],
) -> None:
    await fresh.drop_index("enricher_due")
    indexes = Indexes(fresh)
    assert await indexes.missing() == ["enricher_due"]

    await indexes.ensure()

    assert await indexes.missing() == []


async def test_those_that_are_dropped_while_the_daemon_runs_are_made_again(
    fresh: AsyncCollection[Document],
) -> None:
    """Nobody tells of it, and each search for work would read every lead until a restart."""
    indexes = Indexes(fresh)
    building = Building(indexes, queue(fresh), Bell(), look_every_seconds=0.05)
    await building.begin()
    running = asyncio.create_task(building.run(asyncio.Event()))
    try:
        await fresh.drop_indexes()

        async def are_there() -> bool:
            return await indexes.missing() == []

        await eventually(are_there)
    finally:
        await end(running)


@pytest.mark.parametrize(
    ("keys", "options"),
    [
        ({"email": 1}, {}),
        ({"enrichment_status": 1, "enrichment.due_at": 1}, {}),
        (
            {"enrichment_status": 1, "enrichment.due_at": 1},
            {"partialFilterExpression": {"enrichment.due_at": {"$gt": 0}}},
        ),
    ],
    ids=["other fields", "not partial", "another filter"],
)
async def test_another_index_of_that_name_is_no_substitute_and_stops_no_other(
    leads: AsyncCollection[Document], keys: Document, options: Document
) -> None:
    await leads.create_index(keys, name="enricher_due", **options)
    errors: list[str] = []
    sink = logger.add(lambda line: errors.append(line.record["extra"]["missing"]), level="ERROR")
    try:
        await Indexes(leads).ensure()
    finally:
        logger.remove(sink)

    assert errors == ["enricher_due"]
    assert await Indexes(leads).missing() == ["enricher_due"]


async def test_a_collection_that_was_dropped_is_not_made_by_us(
    fresh: AsyncCollection[Document],
) -> None:
    await fresh.drop()

    assert await Indexes(fresh).collection_exists() is False

    assert fresh.name not in await fresh.database.list_collection_names()


async def test_a_new_collection_gets_its_indexes(leads: AsyncCollection[Document]) -> None:
    await insert(leads)
    assert await Indexes(leads).collection_exists()
    assert await Indexes(leads).ensure()
    assert await Indexes(leads).missing() == []


async def test_an_index_may_take_longer_than_any_other_operation(faults: Faults) -> None:
    """The client's bound of 10 s on an operation is replaced: an index build runs for minutes."""
    admin = faults.plain.database.client.admin
    await faults.plain.insert_many([{"n": n} for n in range(10)])
    data: Document = {"fieldNames": []}
    point = "hangIndexBuildBeforeCommit"
    await admin.command("configureFailPoint", point, mode="alwaysOn", data=data)
    building = asyncio.create_task(Indexes(faults.leads).ensure())
    try:
        limits = await eventually(lambda: _limits_of_builds(faults))
    finally:
        await admin.command("configureFailPoint", point, mode="off")
    await building

    assert all(limit is None or limit > 3_600_000 for limit in limits)
    assert await Indexes(faults.plain).missing() == []


async def _limits_of_builds(faults: Faults) -> list[int | None]:
    """What each that is going on has been given."""
    builds: list[Document] = [
        {"$currentOp": {}},
        {"$match": {"command.createIndexes": faults.leads.name}},
    ]
    current = await faults.plain.database.client.admin.aggregate(builds)
    return [operation["command"].get("maxTimeMS") async for operation in current]


async def test_a_server_that_cannot_be_asked_is_an_outage_not_a_missing_index(
    faults: Faults,
) -> None:
    async with faults.fail("createIndexes", "listIndexes", errorCode=11601):
        with pytest.raises(PyMongoError):
            await Indexes(faults.leads).ensure()


async def test_only_leads_with_a_due_date_stand_in_the_index_that_is_read_for_it(
    fresh: AsyncCollection[Document],
) -> None:
    await insert(fresh, 1, enrichment_status="completed", enrichment={"due_at": FUTURE})
    await insert(fresh, 2, enrichment_status="completed", enrichment={"due_at": "garbage"})
    await insert(fresh, 3, enrichment_status="completed", enrichment=["garbage"])
    await insert(fresh, 4, enrichment_status="failed", enrichment={"token": 1})
    await insert(fresh, 5)
    await insert(fresh, 6, enrichment_status="retrying", enrichment={"due_at": PAST})

    standing = fresh.find({}).hint("enricher_due")

    assert {lead["_id"] async for lead in standing} == {1, 6}


async def test_leads_without_a_status_are_found_by_an_index_of_their_own(
    fresh: AsyncCollection[Document],
) -> None:
    await fresh.insert_many(
        [{"enrichment_status": "completed"} for _ in range(500)] + [{"enrichment_status": None}]
    )
    await insert(fresh, 1)

    plan = await fresh.find({"enrichment_status": None}, {"_id": 1}).explain()

    assert plan["executionStats"]["nReturned"] == 2
    assert plan["executionStats"]["totalKeysExamined"] <= 3
