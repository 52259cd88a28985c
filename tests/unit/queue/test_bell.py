"""The doorbell: no ring is lost, and none counts twice."""

from __future__ import annotations

import asyncio
import time

from enricher.queue.worker import Bell
from tests.support.waiting import patience


async def test_a_ring_wakes_who_waits() -> None:
    bell = Bell()
    waiting = asyncio.create_task(bell.wait(60))
    await asyncio.sleep(0)
    bell.ring()
    async with patience(1):
        await waiting


async def test_a_ring_that_came_before_is_not_lost() -> None:
    bell = Bell()
    bell.ring()
    async with patience(1):
        await bell.wait(60)


async def test_rings_are_not_counted() -> None:
    bell = Bell()
    for _ in range(3):
        bell.ring()
    await bell.wait(60)
    began = time.monotonic()
    await bell.wait(0.03)
    assert time.monotonic() - began >= 0.03


async def test_without_a_ring_it_is_waited_as_long_as_was_said() -> None:
    began = time.monotonic()
    await Bell().wait(0.03)
    assert 0.03 <= time.monotonic() - began < 5


async def test_a_ring_after_the_wait_is_kept_for_the_next() -> None:
    bell = Bell()
    await bell.wait(0)
    bell.ring()
    async with patience(1):
        await bell.wait(60)


# -- a lone new lead ---------------------------------------------------------------------------


async def test_who_waits_with_room_hears_of_a_lone_lead_and_answers() -> None:
    bell = Bell()
    waiting = asyncio.create_task(bell.wait(60, lambda: True))
    await asyncio.sleep(0)
    announcing = asyncio.create_task(bell.announce("a lead"))
    async with patience(1):
        assert not await waiting
    newcomer = bell.newcomer()
    assert newcomer
    assert newcomer.id == "a lead"
    newcomer.answer(is_taken=True)
    assert await announcing
    assert bell.newcomer() is None


async def test_nobody_hears_of_a_lone_lead_who_does_not_wait_or_has_no_room() -> None:
    bell = Bell()
    assert not await bell.announce(1)
    for waiting in (bell.wait(60), bell.wait(60, lambda: False)):
        task = asyncio.create_task(waiting)
        await asyncio.sleep(0)
        assert not await bell.announce(1)
        bell.ring()
        assert await task


async def test_after_a_ring_a_lone_lead_is_one_of_many() -> None:
    bell = Bell()
    task = asyncio.create_task(bell.wait(60, lambda: True))
    await asyncio.sleep(0)
    bell.ring()
    assert not await bell.announce(1)
    assert await task


async def test_one_lead_at_a_time_stands_at_the_door() -> None:
    bell = Bell()
    task = asyncio.create_task(bell.wait(60, lambda: True))
    await asyncio.sleep(0)
    first = asyncio.create_task(bell.announce(1))
    await asyncio.sleep(0)
    assert not await bell.announce(2)
    await task
    newcomer = bell.newcomer()
    assert newcomer
    newcomer.answer(is_taken=False)
    assert not await first


async def test_a_ring_together_with_a_lone_lead_is_not_lost() -> None:
    bell = Bell()
    task = asyncio.create_task(bell.wait(60, lambda: True))
    await asyncio.sleep(0)
    announcing = asyncio.create_task(bell.announce(1))
    await asyncio.sleep(0)
    bell.ring()
    assert await task
    newcomer = bell.newcomer()
    assert newcomer
    newcomer.answer(is_taken=True)
    assert await announcing


async def test_who_is_cancelled_while_waiting_turns_the_lone_lead_away() -> None:
    bell = Bell()
    task = asyncio.create_task(bell.wait(60, lambda: True))
    await asyncio.sleep(0)
    announcing = asyncio.create_task(bell.announce(1))
    await asyncio.sleep(0)
    task.cancel()
    async with patience(1):
        assert not await announcing
    assert task.cancelled() or not await task


async def test_an_answer_to_who_has_gone_away_is_dropped() -> None:
    bell = Bell()
    task = asyncio.create_task(bell.wait(60, lambda: True))
    await asyncio.sleep(0)
    announcing = asyncio.create_task(bell.announce(1))
    await task
    newcomer = bell.newcomer()
    assert newcomer
    announcing.cancel()
    await asyncio.gather(announcing, return_exceptions=True)
    newcomer.answer(is_taken=True)
