"""In no sliding window are there more calls than its limit, whatever the callers do.

Calls are judged where the vendor judges them: at arrival, which is up to the slack later than the
call, and for each call differently.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.answer import Held
from enricher.catalogue import Window
from enricher.limits.bucket import SLACK, paces
from enricher.limits.limiter import Limiter
from tests.support.callers import most_within
from tests.support.waiting import eventually, patience

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


async def end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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
    working = [asyncio.create_task(callers.for_ever()) for _ in range(TOGETHER)]
    await asyncio.sleep(0.3)
    ends_at = time.monotonic() + 0.4
    callers.limiter.pause(0.4)
    await asyncio.sleep(0.05)  # who had been let through a moment before goes through
    paused_at = time.monotonic()
    await eventually(lambda: [at for at in callers.times if at >= ends_at + 0.5])
    await end(working)
    assert not [at for at in callers.times if paused_at < at < ends_at]
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
    async with patience(1):
        await asyncio.gather(*(callers.one() for _ in range(1000)))
    assert len(callers.times) == 1000


async def test_the_most_urgent_goes_first_and_then_who_came_first() -> None:
    limiter, order = Limiter((Window(1, 0.05),)), list[str]()

    async def one(name: str, urgency: float) -> None:
        await limiter.acquire(urgency)
        order.append(name)

    await limiter.acquire()
    calls = [("cold", 0), ("odd", float("nan")), ("warm", 1), ("second warm", 1), ("hot", 2)]
    waiting = [asyncio.create_task(one(*call)) for call in calls]
    await asyncio.sleep(0)
    assert (limiter.waiting, limiter.urgency) == (5, 2)
    await asyncio.gather(*waiting)
    assert order == ["hot", "warm", "second warm", "cold", "odd"]
    assert (limiter.waiting, limiter.urgency) == (0, None)


async def test_while_a_hold_stands_callers_get_the_hold_and_no_slot() -> None:
    limiter = Limiter((Window(1, 60),))
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    limiter.hold(Held("key refused", 60))
    limiter.hold(Held("quota", 5))
    async with patience(5):
        for told in (await waiting, await limiter.acquire()):
            assert isinstance(told, Held)
            assert told.reason == "key refused"
            assert 50 < told.seconds <= 60
    limiter.release()
    assert limiter.held is None


async def test_whoever_gives_up_leaves_the_slot_to_those_who_come_later() -> None:
    limiter = Limiter((Window(1, 0.3),))
    await limiter.acquire()
    gone = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0.05)
    await end([gone])
    await asyncio.sleep(0.6)  # its slot would have come and gone
    async with patience(0.2):
        await limiter.acquire()


async def test_those_who_wait_when_it_is_closed_are_told() -> None:
    limiter = Limiter((Window(1, 60),))
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    await limiter.close()
    for caller in (waiting, limiter.acquire()):
        with pytest.raises(RuntimeError, match="closed"):
            await caller


@pytest.mark.slow
async def test_many_thousands_may_wait_and_leave() -> None:
    limiter = Limiter((Window(1, 60),))
    await limiter.acquire()
    async with patience(20):
        for urgency in range(5):
            waiting = [asyncio.create_task(limiter.acquire(urgency)) for _ in range(4_000)]
            await asyncio.sleep(0)
            assert limiter.waiting == 4_000
            assert limiter.expected_wait > 60
            await asyncio.gather(*(end([one]) for one in waiting))
    assert limiter.waiting == 0


# -- the arithmetic --------------------------------------------------------------------------

windows_of_any_size = st.builds(
    Window,
    st.one_of(st.integers(1, 100), st.integers(1, 1_000_000)),
    st.one_of(st.sampled_from([1.0, 60.0, 3600.0, 86_400.0]), st.floats(0.01, 31 * 86_400)),
)
window_sets = st.lists(windows_of_any_size, min_size=1, max_size=4).map(tuple)


@given(window_sets)
def test_a_burst_and_a_window_of_calls_after_it_are_within_the_limit(
    windows: tuple[Window, ...],
) -> None:
    for pace in paces(windows):
        assert 1 <= pace.burst <= pace.window.calls
        one_too_many = pace.window.calls + 1 - pace.burst
        needs = one_too_many * pace.gap
        assert needs >= (pace.window.seconds + SLACK) * (1 - 1e-12)


@given(window_sets)
def test_no_window_slows_down_what_the_tightest_lets_through(windows: tuple[Window, ...]) -> None:
    alone = max(paces((window,))[0].gap for window in windows)
    together = max(pace.gap for pace in paces(windows))
    assert together <= alone * 1.0001


def use(windows: tuple[Window, ...]) -> float:
    """The share of the tightest window that the fleet uses, clocks' drift included."""
    sustained = min(1 / (1.001 * pace.gap) for pace in paces(windows))
    return sustained / min(window.calls / window.seconds for window in windows)


@given(st.integers(1, 100_000), st.sampled_from([60, 3600, 86_400]))
def test_a_window_of_a_minute_and_more_is_used_to_98_percent(calls: int, seconds: int) -> None:
    assert use((Window(calls, seconds),)) >= 0.98


@pytest.mark.parametrize(
    "windows",
    [
        (Window(600, 60),),
        (Window(10, 1), Window(300, 60)),
        (Window(15, 1), Window(500, 60)),
        (Window(50, 60), Window(200, 3600), Window(600, 86_400)),
    ],
)
def test_the_vendors_own_limits_are_used_to_98_percent(windows: tuple[Window, ...]) -> None:
    assert use(windows) >= 0.98


def test_of_two_windows_of_one_length_the_stricter_counts() -> None:
    assert [pace.window for pace in paces((Window(9, 60), Window(5, 60)))] == [Window(5, 60)]


async def test_a_long_pause_is_not_sat_out_with_a_lead_in_hand() -> None:
    limiter = Limiter((Window(100, 1),))
    waiting = asyncio.create_task(limiter.acquire())
    limiter.pause(40)
    async with patience(5):
        for given in (await waiting, await limiter.acquire()):
            assert isinstance(given, Held)
            assert 30 < given.seconds <= 40
    assert limiter.held is None, "the provider is not held: there is nothing to mend"
