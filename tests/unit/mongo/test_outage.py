"""What a loop does and says while the database is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

import pytest
from bson.errors import InvalidDocument
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError, WriteConcernError

from enricher.errors import DatabaseUnreachable, NoPrimary
from enricher.mongo.outage import FailOver, Outage, describe, pause
from tests.support.observing import counted, events, logged
from tests.support.waiting import patience

GONE = AutoReconnect("connection to db-1.internal closed, document {'email': 'ada@acme.example'}")


def outage() -> Outage:
    return Outage("worker", Random(1))


async def test_it_is_over_until_something_fails_and_again_when_something_succeeds() -> None:
    away = outage()
    seen = [away.is_over]
    away.failed(GONE)
    seen.append(away.is_over)
    away.succeeded()
    assert [*seen, away.is_over] == [True, False, True]


async def test_pauses_grow_with_the_failures_and_begin_anew_after_it() -> None:
    away = outage()
    first, *_, last = [away.failed(GONE) for _ in range(10)]
    assert first <= 0.1
    assert 5 <= last <= 10
    away.succeeded()
    assert away.failed(GONE) <= 0.1


async def _swallows_its_cancellation(then: Callable[[], Awaitable[object]]) -> None:
    with suppress(asyncio.CancelledError):  # as the driver does now and then
        await asyncio.Event().wait()
    await then()


async def _fails_again() -> None:
    outage().failed(GONE)


@pytest.mark.parametrize("then", [_fails_again, lambda: pause(asyncio.Event(), 60)])
async def test_a_cancellation_that_the_driver_swallowed_ends_a_loop_when_it_waits_again(
    then: Callable[[], Awaitable[object]],
) -> None:
    loop = asyncio.create_task(_swallows_its_cancellation(then))
    await asyncio.sleep(0)
    loop.cancel()
    async with patience(10):
        await asyncio.wait([loop])
    assert loop.cancelled()


async def test_it_is_said_once_when_it_begins_and_once_when_it_is_over() -> None:
    away = outage()
    with logged() as lines:
        for _ in range(50):
            away.failed(GONE)
        away.succeeded()
        away.succeeded()
    assert [line.event for line in lines] == ["database.unavailable", "database.available"]
    begun, over = lines
    assert (begun.fields["loop"], begun.fields["error"]) == ("worker", "AutoReconnect")
    assert over.fields["failures"] == 50


async def test_each_outage_is_said_anew() -> None:
    away = outage()
    with logged() as lines:
        for _ in range(2):
            away.failed(GONE)
            away.succeeded()
    assert len(events(lines, "database.unavailable")) == 2


async def test_every_failure_is_counted() -> None:
    before = counted("enricher_database_errors_total", loop="worker")
    away = outage()
    away.failed(GONE)
    away.failed(GONE)
    assert counted("enricher_database_errors_total", loop="worker") == before + 2


async def test_one_that_succeeds_does_not_end_what_others_wait_for() -> None:
    outage = Outage("calls")
    outage.failed(GONE, "one")
    outage.failed(GONE, "another")
    outage.succeeded("a third")
    assert not outage.is_over
    outage.succeeded("one")
    assert not outage.is_over
    outage.succeeded("another")
    assert outage.is_over


async def test_the_pause_of_one_does_not_grow_by_the_failures_of_another() -> None:
    outage = Outage("calls")
    longest = [outage.failed(GONE, "one") for _ in range(10)][-1]
    assert outage.failed(GONE, "another") < longest


async def test_one_that_is_given_up_ends_its_own_part_alone() -> None:
    outage = Outage("calls")
    outage.failed(GONE, "one")
    outage.failed(GONE, "another")
    outage.forget("one")
    assert not outage.is_over
    outage.forget("another")
    assert outage.is_over


def test_an_error_is_described_without_what_it_quotes() -> None:
    assert describe(GONE) == "AutoReconnect"
    assert describe(OperationFailure("{'email': 'ada@acme.example'}", 91)) == "OperationFailure 91"


STEPPED_DOWN = WriteConcernError("stepped down", 189)


class Step:
    """Fails in these ways, one after another, and is done then."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)

    async def __call__(self) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "done"


async def test_a_start_takes_a_step_again_until_the_fail_over_is_over() -> None:
    fail_over = FailOver()
    step = Step(NoPrimary("an election"), GONE, STEPPED_DOWN)
    assert await fail_over.outlast("starting", step) == "done"
    assert fail_over.outage.is_over


@pytest.mark.parametrize("trouble", [GONE, STEPPED_DOWN])
async def test_a_fail_over_that_has_no_end_ends_the_start(trouble: PyMongoError) -> None:
    with pytest.raises(DatabaseUnreachable) as ended:
        await FailOver(seconds=0.05).outlast("starting", Step(*[trouble] * 100))
    assert str(ended.value) == f"MongoDB failed while starting: {describe(trouble)}"


async def test_a_start_that_finds_no_primary_says_what_the_driver_said() -> None:
    gone = NoPrimary("MongoDB cannot be reached: No primary available for writes")
    with pytest.raises(NoPrimary) as ended:
        await FailOver(seconds=0).outlast("starting", Step(gone))
    assert ended.value is gone


@pytest.mark.parametrize(
    "trouble", [OperationFailure("not authorized", 13), InvalidDocument("no such thing")]
)
async def test_what_is_no_fail_over_ends_the_start_at_once(trouble: Exception) -> None:
    step = Step(trouble)
    with pytest.raises(DatabaseUnreachable):
        await FailOver().outlast("starting", step)
    assert step.failures == []


@pytest.mark.parametrize("seconds", [0.02, 0, -1])
async def test_a_pause_ends_by_itself(seconds: float) -> None:
    began = time.monotonic()
    async with patience(5):
        await pause(asyncio.Event(), seconds)
    assert time.monotonic() - began >= seconds


async def test_a_pause_ends_at_once_when_it_is_time_to_stop() -> None:
    stop = asyncio.Event()
    pausing = asyncio.create_task(pause(stop, 60))
    await asyncio.sleep(0)
    stop.set()
    async with patience(1):
        await pausing


async def test_a_pause_can_be_cancelled() -> None:
    pausing = asyncio.create_task(pause(asyncio.Event(), 60))
    await asyncio.sleep(0)
    pausing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pausing
