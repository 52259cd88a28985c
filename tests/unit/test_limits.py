"""In no sliding window are there more calls than its limit, whatever the callers do.

Calls are judged where the vendor judges them: at arrival, which is up to the slack later than the
call, and for each call differently.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from random import Random

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given
from hypothesis import strategies as st

from enricher.limits import Limiter
from enricher.providers.base import Window

SLACK = 0.25
TOGETHER = 40

WINDOW_SETS = [
    pytest.param((Window(5, 0.3),), id="one"),
    pytest.param((Window(1, 0.3),), id="one call"),
    pytest.param((Window(200, 0.3),), id="fast"),
    pytest.param((Window(4, 0.1), Window(8, 0.5)), id="the longer is tighter"),
    pytest.param((Window(3, 0.3), Window(50, 1.0)), id="the shorter is tighter"),
    pytest.param((Window(10, 0.2), Window(30, 0.5), Window(40, 1.0)), id="three"),
]


class Callers:
    """Acquires, and when each of them was let through."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self.windows = windows
        self.limiter = Limiter(tuple(windows))
        self.times: list[float] = []

    async def one(self) -> None:
        await self.limiter.acquire()
        self.times.append(time.monotonic())

    async def for_ever(self) -> None:
        while True:
            await self.one()

    async def many_for(self, seconds: float) -> None:
        callers = [asyncio.create_task(self.for_ever()) for _ in range(TOGETHER)]
        await asyncio.sleep(seconds)
        await end(callers)

    def assert_kept(self) -> None:
        random = Random(1)
        arrivals = sorted(at + SLACK * random.random() for at in self.times)
        for window in self.windows:
            assert most_within(window.seconds, sorted(self.times)) <= window.calls
            assert most_within(window.seconds, arrivals) <= window.calls


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def most_within(seconds: float, times: list[float]) -> int:
    return max(
        (bisect_left(times, began + seconds) - number for number, began in enumerate(times)),
        default=0,
    )


@pytest.mark.parametrize("windows", WINDOW_SETS)
async def test_many_who_always_call_stay_within_every_window(windows: tuple[Window, ...]) -> None:
    callers = Callers(windows)
    await callers.many_for(0.9)
    callers.assert_kept()
    assert callers.times


@pytest.mark.parametrize("windows", [(Window(6, 0.3),), (Window(4, 0.1), Window(8, 0.5))])
async def test_bursts_with_rests_between_stay_within_every_window(
    windows: tuple[Window, ...],
) -> None:
    callers = Callers(windows)
    for rest in (0.2, 0.3, 0.1):
        burst = [asyncio.create_task(callers.one()) for _ in range(10)]
        await asyncio.sleep(rest)
        await end(burst)
    callers.assert_kept()


async def test_callers_who_give_up_take_no_slot_with_them_and_free_none() -> None:
    callers, random = Callers((Window(20, 0.3),)), Random(5)
    waiting = [asyncio.create_task(callers.one()) for _ in range(200)]
    for _ in range(30):
        await asyncio.sleep(0.02)
        await end(random.sample(waiting, 5))
    await end(waiting)
    callers.assert_kept()
    assert len(callers.times) > 10


async def test_nobody_calls_during_a_pause_and_there_is_no_burst_after_it() -> None:
    callers = Callers((Window(8, 0.3), Window(40, 1.0)))
    working = asyncio.create_task(callers.many_for(1.2))
    await asyncio.sleep(0.3)
    paused_at = time.monotonic()
    callers.limiter.pause(0.4)
    await working
    assert not [at for at in callers.times if paused_at < at < paused_at + 0.4]
    assert [at for at in callers.times if at >= paused_at + 0.4]
    callers.assert_kept()


async def test_the_longest_of_several_pauses_counts() -> None:
    limiter, began = Limiter(()), time.monotonic()
    for seconds in (0.02, 0.1, 0.05):
        limiter.pause(seconds)
    await limiter.acquire()
    assert time.monotonic() - began >= 0.1
    assert limiter.pause_left == 0


async def test_a_pause_that_begins_while_one_is_sat_out_is_sat_out_as_well() -> None:
    limiter, began = Limiter((Window(100, 1),)), time.monotonic()
    limiter.pause(0.05)
    caller = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0.02)
    limiter.pause(0.1)
    await caller
    assert time.monotonic() - began >= 0.12


@pytest.mark.parametrize("seconds", [float("inf"), 1e300])
def test_no_pause_is_longer_than_a_day(seconds: float) -> None:
    limiter = Limiter(())
    limiter.pause(seconds)
    assert 86_000 < limiter.pause_left <= 86_400


async def test_without_windows_nobody_waits() -> None:
    callers = Callers(())
    async with asyncio.timeout(1):
        await asyncio.gather(*(callers.one() for _ in range(1000)))
    assert len(callers.times) == 1000


# -- the arithmetic --------------------------------------------------------------------------

windows_of_any_size = st.builds(
    Window,
    st.one_of(st.integers(1, 100), st.integers(1, 1_000_000)),
    st.one_of(st.sampled_from([1.0, 60.0, 3600.0, 86_400.0]), st.floats(0.01, 31 * 86_400)),
)
window_sets = st.lists(windows_of_any_size, min_size=1, max_size=4)


def buckets(windows: Sequence[Window]) -> list[tuple[Window, AsyncLimiter]]:
    """Each window with its bucket; the longest window is asked first."""
    longest_first = sorted(windows, key=lambda window: -window.seconds)
    return list(zip(longest_first, Limiter(tuple(windows))._buckets, strict=True))


def rate_of(bucket: AsyncLimiter) -> float:
    return bucket.max_rate / bucket.time_period


@given(window_sets)
def test_a_burst_and_a_window_of_calls_after_it_are_within_the_limit(windows: list[Window]) -> None:
    for window, bucket in buckets(windows):
        assert 1 <= bucket.max_rate <= window.calls
        arriving = bucket.max_rate + rate_of(bucket) * (window.seconds + SLACK)
        assert arriving < window.calls + 1


@given(window_sets)
def test_no_window_slows_down_what_the_tightest_lets_through(windows: list[Window]) -> None:
    alone = min(rate_of(bucket) for window in windows for _, bucket in buckets([window]))
    together = min(rate_of(bucket) for _, bucket in buckets(windows))
    assert together >= alone * 0.9999


@given(st.integers(1, 100_000))
def test_a_one_minute_window_is_used_to_95_percent_and_more(calls: int) -> None:
    ((_, bucket),) = buckets([Window(calls, 60)])
    assert rate_of(bucket) * 60 >= 0.95 * calls


@pytest.mark.parametrize(
    "windows",
    [
        (Window(600, 60),),
        (Window(10, 1), Window(300, 60)),
        (Window(15, 1), Window(500, 60)),
    ],
)
def test_the_vendors_own_limits_are_used_to_97_percent(windows: tuple[Window, ...]) -> None:
    sustained = min(rate_of(bucket) for _, bucket in buckets(windows))
    assert sustained >= 0.97 * min(window.calls / window.seconds for window in windows)
