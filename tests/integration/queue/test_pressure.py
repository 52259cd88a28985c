"""The worker while leads wait for a limit: it takes no more than is served soon, but for the urgent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.answer import Answer, Query
from enricher.lead import Document, Pressure
from enricher.queue.worker import Slots
from tests.support.scripted import company, provider
from tests.support.waiting import eventually
from tests.support.working import Working, queue, working

Collection = AsyncCollection[Document]

COLD, WARM, HOT = 0, 5, 9
PRIORITY_OF_ONE = 0.1
"""Of one step of urgency: below the range of the words all of them count as they are."""
PER_SECOND = 10
NEVER = 60.0
"""A poll that no test waits for: what is claimed was rung for."""


@dataclass
class Limit:
    """A provider's script that stands in for its limit: each call waits until it is served, the most
    urgent first. The address says how urgent: `5-17@...`."""

    waiting: dict[str, asyncio.Event] = field(default_factory=dict)
    arrived: list[str] = field(default_factory=list)

    async def __call__(self, query: Query) -> Answer:
        name = (query.email or "").partition("@")[0]
        self.arrived.append(name)
        self.waiting[name] = asyncio.Event()
        try:
            await self.waiting[name].wait()
        finally:
            self.waiting.pop(name, None)
        return company(name="Acme")

    def serve(self, leads: int = 1) -> None:
        for name in sorted(self.waiting, key=urgency_of, reverse=True)[:leads]:
            self.waiting.pop(name).set()

    def pressure(self) -> Pressure:
        urgency = max(map(urgency_of, self.waiting), default=COLD) * PRIORITY_OF_ONE
        return Pressure(len(self.waiting), len(self.waiting) / PER_SECOND, urgency)

    def holds(self, leads: int) -> bool:
        return len(self.waiting) == leads

    def has_seen(self, urgency: int) -> bool:
        return self.count(urgency) > 0

    def count(self, urgency: int) -> int:
        return sum(urgency_of(name) == urgency for name in self.arrived)


def urgency_of(name: str) -> int:
    return int(name.partition("-")[0])


numbers = count()


async def insert(leads: Collection, urgency: int, leads_count: int = 1) -> None:
    """As writers do it, and the watcher: each is admitted, with its priority."""
    names = [f"{urgency}-{next(numbers)}" for _ in range(leads_count)]
    await leads.insert_many(
        [
            {"_id": name, "email": f"{name}@acme.com", "temperature": urgency * PRIORITY_OF_ONE}
            for name in names
        ]
    )
    await queue(leads).admit(names)


async def arrive(process: Working, leads: Collection, urgency: int, leads_count: int = 1) -> None:
    await insert(leads, urgency, leads_count)
    process.bell.ring()


async def pending(leads: Collection) -> int:
    return await leads.count_documents({"enrichment_status": "pending"})


def at_the(limit: Limit, **settings: Any) -> dict[str, Any]:
    """A process whose only provider is at its limit."""
    return {"pressure": limit.pressure, "poll_seconds": NEVER} | settings


async def test_a_hot_lead_is_claimed_at_once_though_all_slots_wait_for_a_limit(
    ours: Collection,
) -> None:
    limit = Limit()
    await insert(ours, COLD, 200)
    async with working(ours, provider("acme", limit), **at_the(limit, concurrency=64)) as process:
        await eventually(lambda: limit.holds(64))

        await arrive(process, ours, HOT)

        await eventually(lambda: limit.count(HOT) == 1)
        assert limit.holds(65)
        assert await pending(ours) == 136


async def test_leads_no_more_urgent_than_those_that_wait_stay_in_the_queue(
    ours: Collection,
) -> None:
    limit = Limit()
    await insert(ours, WARM, 20)
    async with working(ours, provider("acme", limit), **at_the(limit, concurrency=16)) as process:
        await eventually(lambda: limit.holds(16))
        await arrive(process, ours, WARM, 5)
        await arrive(process, ours, COLD, 5)
        await arrive(process, ours, HOT)
        await eventually(lambda: limit.count(HOT) == 1)
        assert (limit.count(WARM), limit.count(COLD)) == (16, 0)


async def test_an_equally_urgent_lead_is_claimed_as_soon_as_the_one_before_it_is_served(
    ours: Collection,
) -> None:
    limit = Limit()
    await insert(ours, COLD, 50)
    async with working(ours, provider("acme", limit), **at_the(limit, concurrency=16)) as process:
        await eventually(lambda: limit.holds(16))
        await arrive(process, ours, HOT)
        await eventually(lambda: limit.count(HOT) == 1)
        await arrive(process, ours, HOT)
        await asyncio.sleep(0.3)  # it is rung for, and there is nothing more urgent than who waits
        assert limit.count(HOT) == 1

        limit.serve()

        await eventually(lambda: limit.count(HOT) == 2)
        assert limit.pressure().is_high


async def test_many_urgent_leads_leave_room_for_one_that_is_more_urgent_still(
    ours: Collection,
) -> None:
    limit = Limit()
    await insert(ours, COLD, 50)
    async with working(ours, provider("acme", limit), **at_the(limit, concurrency=16)) as process:
        await eventually(lambda: limit.holds(16))
        for urgency in (3, 5, 7):
            await arrive(process, ours, urgency, 50)
            await eventually(partial(limit.has_seen, urgency))

        assert len(limit.waiting) <= 16 + 8


@pytest.mark.slow
async def test_a_backlog_is_worked_off_in_the_order_of_its_urgency_and_no_slot_lies_idle(
    ours: Collection,
) -> None:
    limit = Limit()
    await insert(ours, COLD, 80)
    async with working(ours, provider("acme", limit), **at_the(limit, concurrency=16)) as process:
        await eventually(lambda: limit.holds(16))
        await arrive(process, ours, WARM, 40)
        await eventually(lambda: limit.count(WARM) > 0)

        async def everything_is_served() -> bool:
            limit.serve()
            return await ours.count_documents({"enrichment_status": "completed"}) == 120

        await eventually(everything_is_served, within=60)
    last_warm = max(i for i, name in enumerate(limit.arrived) if urgency_of(name) == WARM)
    went_ahead = sum(urgency_of(name) == COLD for name in limit.arrived[16:last_warm])
    assert went_ahead <= 20  # what a claim took in between, and the turns of the oldest


async def test_an_old_cold_lead_comes_though_warm_ones_never_end(ours: Collection) -> None:
    limit = Limit()
    await insert(ours, COLD, 16)
    async with working(ours, provider("acme", limit), **at_the(limit, concurrency=16)) as process:
        await eventually(lambda: limit.holds(16))
        await insert(ours, COLD)

        async def cold_one_has_come() -> bool:
            await arrive(process, ours, WARM)
            limit.serve()
            return limit.count(COLD) == 17

        await eventually(cold_one_has_come, within=60)
        assert limit.count(WARM) < 60


async def test_work_that_is_served_soon_is_claimed_as_ever(ours: Collection) -> None:
    limit = Limit()
    await insert(ours, COLD, 9)
    async with working(ours, provider("acme", limit), **at_the(limit, concurrency=64)) as process:
        await eventually(lambda: limit.holds(9))
        assert not limit.pressure().is_high
        await arrive(process, ours, COLD)
        await eventually(lambda: limit.holds(10))


async def test_after_a_lull_no_more_is_claimed_than_the_limit_serves_soon(
    ours: Collection,
) -> None:
    limit = Limit()
    await insert(ours, COLD, 5)
    async with working(ours, provider("acme", limit), **at_the(limit, concurrency=64)) as process:
        await eventually(lambda: limit.holds(5))
        await arrive(process, ours, COLD, 200)
        await eventually(lambda: len(limit.waiting) > 5)
        await arrive(process, ours, HOT)
        await eventually(lambda: limit.count(HOT) == 1)
        assert limit.count(COLD) < 64


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_also_the_smallest_process_takes_an_urgent_lead(
    ours: Collection, concurrency: int
) -> None:
    limit = Limit()
    await insert(ours, COLD, 5)

    def pressure() -> Pressure:
        return Pressure(len(limit.waiting), 9.0 if limit.waiting else 0.0, COLD)

    settings = at_the(limit, concurrency=concurrency, pressure=pressure)
    async with working(ours, provider("acme", limit), **settings) as process:
        await eventually(lambda: limit.holds(concurrency))
        await arrive(process, ours, HOT)
        await eventually(lambda: limit.count(HOT) == 1)


async def test_a_stop_is_heeded_under_pressure(ours: Collection) -> None:
    limit = Limit()
    await insert(ours, COLD, 30)
    async with working(ours, provider("acme", limit), **at_the(limit, concurrency=16)) as process:
        await eventually(lambda: limit.holds(16))
        await process.drained()
    assert await pending(ours) == 30


async def test_leads_of_a_busy_collection_do_not_keep_those_of_another_out(
    ours: Collection,
) -> None:
    """However urgent they are: one lead of each collection is in work, and its turn comes."""
    limit = Limit()
    slots = Slots(16, pressure=limit.pressure)
    other = ours.database["others"]
    await insert(ours, HOT, 40)
    terms = at_the(limit, concurrency=16, slots=slots)
    async with (
        working(other, provider("acme", limit), **terms) as late,
        working(ours, provider("acme", limit), **terms),
    ):
        await eventually(lambda: limit.holds(15))
        await arrive(late, other, COLD, 3)
        await eventually(lambda: limit.count(COLD) == 1)
        assert await pending(other) == 2
        limit.serve(16)
        await eventually(lambda: limit.count(COLD) > 1)
    await other.drop()
