"""The patience of the tests: as long as was said on an idle machine, longer on a busy one."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from tests.support.waiting import business, end, eventually, patience


async def test_patience_ends_after_its_seconds_and_not_before() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with patience(0.05):
            await asyncio.sleep(60)
    assert time.monotonic() - began >= 0.05


async def test_whoever_is_done_in_time_hears_nothing_of_it() -> None:
    async with patience(0.05):
        pass
    await asyncio.sleep(0.1)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "patience"]


async def test_an_error_within_it_is_that_error() -> None:
    with pytest.raises(ValueError, match="ours"):
        async with patience(5):
            raise ValueError("ours")


async def test_what_does_not_come_is_named_with_what_was_seen_instead() -> None:
    with pytest.raises(AssertionError, match=r"not so within 0\.05 s.*\n.*last result: 0"):
        await eventually(lambda: 0, within=0.05)


async def test_patience_ends_though_what_is_asked_has_swallowed_its_end() -> None:
    """As the driver does with a cancellation that comes just as it is answered."""

    async def swallow() -> bool:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return False

    with pytest.raises(AssertionError, match=r"last result: False"):
        async with asyncio.timeout(30):
            await eventually(swallow, within=0.05)


async def test_who_swallows_a_cancellation_is_cancelled_again() -> None:
    async def swallow() -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
                return

    task = asyncio.create_task(swallow())
    await asyncio.sleep(0)
    async with patience(30):
        await end(task)
    assert task.done()


def test_no_machine_is_quicker_than_an_idle_one() -> None:
    assert business() >= 1


@pytest.mark.slow
@pytest.mark.timeout(2)
async def test_a_test_is_ended_later_than_the_waits_in_it() -> None:
    await asyncio.sleep(2.2)
