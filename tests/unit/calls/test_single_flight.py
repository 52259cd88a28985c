"""Callers of the same thing share one making of it, and none can spoil it for the others."""

from __future__ import annotations

import asyncio

import pytest

from enricher.calls.paid import SingleFlight


class Kitchen:
    """Makes what is asked for, when the door is opened; counts."""

    def __init__(self) -> None:
        self.made = self.cancelled = 0
        self.door = asyncio.Event()

    async def make(self) -> int:
        try:
            await self.door.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.made += 1
        return self.made


async def test_all_who_ask_at_the_same_time_get_what_one_made() -> None:
    kitchen, flights = Kitchen(), SingleFlight[int]()
    callers = [asyncio.create_task(flights.do("key", kitchen.make)) for _ in range(500)]
    await asyncio.sleep(0)
    assert flights.is_under_way("key")
    kitchen.door.set()
    assert await asyncio.gather(*callers) == [1] * 500
    assert not flights.is_under_way("key")


async def test_who_comes_later_or_asks_for_something_else_has_it_made_anew() -> None:
    kitchen, flights = Kitchen(), SingleFlight[int]()
    kitchen.door.set()
    both = await asyncio.gather(*(flights.do(key, kitchen.make) for key in ("a", "b")))
    assert both == [1, 2]
    assert await flights.do("a", kitchen.make) == 3


async def test_a_caller_who_gives_up_takes_nobody_down_with_him() -> None:
    kitchen, flights = Kitchen(), SingleFlight[int]()
    first, second = (asyncio.create_task(flights.do("key", kitchen.make)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    kitchen.door.set()
    assert await second == 1


async def test_when_the_last_has_given_up_it_is_cancelled_and_the_next_begins_anew() -> None:
    kitchen, flights = Kitchen(), SingleFlight[int]()
    only = asyncio.create_task(flights.do("key", kitchen.make))
    await asyncio.sleep(0.01)
    only.cancel()
    await asyncio.wait([only])
    kitchen.door.set()
    assert await flights.do("key", kitchen.make) == 1
    assert kitchen.cancelled == 1


async def test_what_goes_wrong_reaches_all_who_asked() -> None:
    async def fail() -> int:
        raise ValueError("burnt")

    flights = SingleFlight[int]()
    callers = [asyncio.create_task(flights.do("key", fail)) for _ in range(3)]
    for caller in callers:
        with pytest.raises(ValueError, match="burnt"):
            await caller
