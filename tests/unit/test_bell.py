"""The doorbell: no ring is lost, and none counts twice."""

from __future__ import annotations

import asyncio
import time

from enricher.queue.bell import Bell
from tests.waiting import patience


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
