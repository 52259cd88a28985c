"""Concurrent awaits share one flush."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from enricher.mongo.batch import Coalescer


class Database:
    """Answers each number with its double, when its door is open."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.door = asyncio.Event()
        self.door.set()

    async def flush(self, numbers: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(numbers))
        await self.door.wait()
        if any(number < 0 for number in numbers):
            raise ValueError("a negative number")
        return [2 * number for number in numbers if number != 13]


def coalescer(database: Database, limit: int = 100) -> Coalescer[int, int]:
    return Coalescer("numbers", database.flush, limit)


async def settled() -> None:
    """Let everything that can go on now do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_lone_caller_is_flushed_at_once() -> None:
    database = Database()
    assert await coalescer(database).submit(1) == 2
    assert database.batches == [[1]]


async def test_what_is_submitted_during_a_flush_shares_the_next_one() -> None:
    database = Database()
    numbers = coalescer(database)
    database.door.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(numbers.submit(1))]
        await settled()
        tasks += [group.create_task(numbers.submit(number)) for number in (2, 3, 4)]
        await settled()
        database.door.set()

    assert [task.result() for task in tasks] == [2, 4, 6, 8]
    assert database.batches == [[1], [2, 3, 4]]


async def test_no_batch_is_larger_than_the_limit() -> None:
    database = Database()
    numbers = coalescer(database, limit=2)
    answers = await asyncio.gather(*(numbers.submit(number) for number in range(5)))
    assert answers == [0, 2, 4, 6, 8]
    assert database.batches == [[0, 1], [2, 3], [4]]


async def test_an_error_reaches_everyone_in_its_batch_and_nobody_else() -> None:
    database = Database()
    numbers = coalescer(database, limit=2)

    answers = await asyncio.gather(
        *(numbers.submit(number) for number in (1, -1, 2)), return_exceptions=True
    )

    assert [type(answer) for answer in answers] == [ValueError, ValueError, int]
    assert await numbers.submit(3) == 6


async def test_a_missing_answer_is_an_error_and_keeps_nobody_waiting() -> None:
    numbers = coalescer(Database())
    with pytest.raises(ValueError, match="zip"):
        await asyncio.wait_for(numbers.submit(13), 60)
    assert await numbers.submit(3) == 6


async def test_what_a_cancelled_caller_submitted_is_flushed_all_the_same() -> None:
    database = Database()
    numbers = coalescer(database)
    database.door.clear()
    first = asyncio.create_task(numbers.submit(1))
    await settled()
    waiting = asyncio.create_task(numbers.submit(2))
    await settled()

    for task in (first, waiting):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    database.door.set()
    assert await numbers.submit(3) == 6

    assert database.batches == [[1], [2, 3]]


async def test_it_serves_again_after_it_was_idle() -> None:
    database = Database()
    numbers = coalescer(database)
    for number in range(3):
        assert await numbers.submit(number) == 2 * number
        await settled()
    assert database.batches == [[0], [1], [2]]


async def test_the_end_of_the_loop_leaves_nobody_waiting() -> None:
    database = Database()
    numbers = coalescer(database)
    database.door.clear()
    waiting = asyncio.create_task(numbers.submit(1))
    await settled()

    for task in asyncio.all_tasks() - {asyncio.current_task(), waiting}:
        task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 60)
