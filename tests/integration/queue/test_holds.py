"""Held leads come back at the pace of the provider that can be asked again."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document, Retrying
from enricher.queue.holds import bring_back
from enricher.queue.settle import Settler
from tests.support.faults import Faults
from tests.support.queueing import FUTURE, HOUR, PAST, claim_new, insert, read, server_time

pytestmark = pytest.mark.slow

Collection = AsyncCollection[Document]


async def hold(leads: Collection, count: int, priority: float = 1, **book: Any) -> None:
    held = {"due_at": FUTURE, "held_by": ["hunter"], "priority": priority, **book}
    await leads.insert_many(
        [{"enrichment_status": "retrying", "enrichment": held} for _ in range(count)]
    )


async def due_times(leads: Collection, priority: float = 1) -> list[datetime]:
    found = await leads.find({"enrichment.priority": priority}).to_list()
    return sorted(each["enrichment"]["due_at"] for each in found)


async def test_held_leads_are_spread_over_the_time_that_the_provider_takes_for_them(
    ours: Collection,
) -> None:
    await hold(ours, 1000)
    now = await server_time(ours)

    assert await bring_back(ours, "hunter", per_second=10) == 1000

    times = await due_times(ours)
    assert now <= times[0]
    assert times[-1] <= now + timedelta(seconds=110)
    for quarter in (1, 2, 3):
        expected = timedelta(seconds=25 * quarter)
        assert abs(times[250 * quarter] - now - expected) < timedelta(seconds=10)


async def test_the_more_urgent_ones_come_first(ours: Collection) -> None:
    for priority in (1, 3, 2):
        await hold(ours, 20, priority)

    await bring_back(ours, "hunter", per_second=1)

    hot, warm, cold = [await due_times(ours, priority) for priority in (3, 2, 1)]
    assert hot[-1] <= warm[0]
    assert warm[-1] <= cold[0]


async def test_priorities_may_be_as_many_as_leads(ours: Collection) -> None:
    for priority in range(100):
        await hold(ours, 1, priority)
    await hold(ours, 1, float("nan"))

    assert await bring_back(ours, "hunter", per_second=1) == 101

    times = [(await due_times(ours, priority))[0] for priority in reversed(range(100))]
    inversions = sum(earlier > later for earlier, later in pairwise(times[::10]))
    assert inversions == 0


@pytest.mark.parametrize("due_at", [PAST, PAST - 24 * HOUR])
async def test_nobody_is_put_off(ours: Collection, due_at: datetime) -> None:
    await hold(ours, 5, due_at=due_at)
    await bring_back(ours, "hunter", per_second=0.001)
    assert set(await due_times(ours)) == {due_at}


async def test_only_leads_that_wait_for_this_provider_come_back(ours: Collection) -> None:
    book = {"due_at": FUTURE, "held_by": ["clearbit"]}
    await insert(ours, "another's", enrichment_status="retrying", enrichment=book)
    await insert(ours, "nobody's", enrichment_status="retrying", enrichment={"due_at": FUTURE})
    mine = book | {"held_by": ["hunter"]}
    await insert(ours, "a refresh", enrichment_status="completed", enrichment=mine)
    await insert(ours, "never due", enrichment_status="retrying", enrichment={"held_by": "hunter"})
    before = await ours.find().to_list()

    assert await bring_back(ours, "hunter", per_second=10) == 0
    assert await ours.find().to_list() == before


async def test_a_lead_held_by_two_comes_back_for_each_and_once(ours: Collection) -> None:
    both = {"due_at": FUTURE, "held_by": ["clearbit", "hunter"]}
    await insert(ours, enrichment_status="retrying", enrichment=both)

    assert await bring_back(ours, "hunter", per_second=10) == 1
    assert (await read(ours))["enrichment"]["held_by"] == ["clearbit"]
    assert await bring_back(ours, "hunter", per_second=10) == 0
    assert await bring_back(ours, "clearbit", per_second=10) == 1


async def test_more_than_one_batch_comes_back_although_the_database_refuses_some(
    ours: Collection,
) -> None:
    await hold(ours, 2500)
    await ours.update_one({}, {"$set": {"poor": True}})
    rule = {"$or": [{"poor": {"$exists": False}}, {"enrichment.held_by": "hunter"}]}
    await ours.database.command("collMod", ours.name, validator=rule)

    assert await bring_back(ours, "hunter", per_second=1000) == 2499
    assert await ours.count_documents({"enrichment.held_by": "hunter"}) == 1


async def test_reading_them_all_may_take_longer_than_any_other_operation(
    faults: Faults, faulty_uri: str
) -> None:
    """A cursor's time is that of all its batches: of a million, 200,000 came back within 10 s (measured)."""
    await hold(faults.plain, 1010)
    async with AsyncMongoClient[Document](
        faulty_uri, appname="enricher", timeoutMS=2000
    ) as impatient:
        leads = impatient[faults.leads.database.name][faults.leads.name]
        async with faults.fail("find", "getMore", blockConnection=True, blockTimeMS=2300):
            assert await bring_back(leads, "hunter", per_second=1000) == 1010


async def test_it_ends_early_when_told_to_stop(ours: Collection) -> None:
    await hold(ours, 10)
    stop = asyncio.Event()
    stop.set()
    assert await bring_back(ours, "hunter", 10, stop) == 0


async def test_a_name_in_place_of_the_list_is_as_good(ours: Collection) -> None:
    held = {"due_at": FUTURE, "held_by": "hunter"}
    await insert(ours, enrichment_status="retrying", enrichment=held)
    assert await bring_back(ours, "hunter", per_second=10) == 1
    assert (await read(ours))["enrichment"]["held_by"] == []


async def test_a_settled_lead_that_was_held_comes_back(ours: Collection) -> None:
    lease = await claim_new(ours)
    held = Retrying({}, {}, "hunter is held back.", HOUR, attempt_spent=False, held_by=("hunter",))
    await Settler(ours, lambda: None).settle(lease, held)

    assert await bring_back(ours, "hunter", per_second=10) == 1

    due_at = (await read(ours))["enrichment"]["due_at"]
    assert due_at <= await server_time(ours) + timedelta(seconds=1)
