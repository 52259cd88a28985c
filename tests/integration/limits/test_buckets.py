"""The fleet's limits: the pipeline on a real server, judged by strict sliding windows."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from random import Random

import pytest
from bson import Decimal128
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Held
from enricher.catalogue import Window
from enricher.lead import Document
from enricher.limits.bucket import COLLECTION, HORIZON, MOST_SLOTS, SLACK, Bucket, paces
from enricher.limits.limiter import Limiter, Slot
from enricher.mongo import server
from enricher.mongo.server import ServerOffset
from tests.support.cable import cable_to
from tests.support.callers import call, most_within, processes
from tests.support.queueing import Commands
from tests.support.waiting import business, eventually, patience

pytestmark = pytest.mark.slow

WINDOW_SETS = [
    pytest.param((Window(20, 0.5),), id="one"),
    pytest.param((Window(1, 0.2),), id="one call"),
    pytest.param((Window(10, 0.2), Window(30, 1.0)), id="two"),
    pytest.param((Window(400, 0.5), Window(1000, 2.0), Window(5000, 60)), id="fast"),
]
SLOW = (Window(1, 60),)
QUICK = (Window(1000, 1),)
OFTEN = (Window(10, 0.5),)


@pytest.fixture
async def fleet(mongodb_uri: str, shared_database: str) -> AsyncIterator[AsyncDatabase[Document]]:
    async with server.connect(mongodb_uri, pool=8) as client:
        yield client[shared_database]


@pytest.fixture
def name() -> str:
    return f"acme-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def documents(fleet: AsyncDatabase[Document]) -> AsyncCollection[Document]:
    return fleet[COLLECTION]


def shifted(shift: Callable[[], float]) -> Callable[[], float]:
    """A local clock that the server's seems to run away from."""
    return lambda: time.monotonic() + shift()


@asynccontextmanager
async def limiters(
    fleet: AsyncDatabase[Document], name: str, windows: tuple[Window, ...], number: int = 1
) -> AsyncIterator[list[Limiter]]:
    several = [Limiter(windows, Bucket(fleet, name, windows)) for _ in range(number)]
    try:
        yield several
    finally:
        for limiter in several:
            await limiter.close()


# -- the arithmetic on the server ------------------------------------------------------------


@pytest.mark.parametrize("windows", WINDOW_SETS)
async def test_slots_keep_every_window_in_any_sequence_of_reservations(
    fleet: AsyncDatabase[Document], name: str, windows: tuple[Window, ...]
) -> None:
    random, given = Random(3), list[float]()
    buckets = [Bucket(fleet, name, windows) for _ in range(3)]
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        numbers = [random.choice([0, 1, 1, 5, 200]) for _ in buckets]
        asked = [
            bucket._exchange(number, afresh=False)
            for bucket, number in zip(buckets, numbers, strict=True)
        ]
        for (document, _), number in zip(await asyncio.gather(*asked), numbers, strict=True):
            assert len(document["slots"]) <= number
            given += document["slots"]
        await asyncio.sleep(random.choice([0, 0.01, 0.1, 0.4]))
    given.sort()
    assert given
    for window in windows:
        assert most_within(1000 * (window.seconds + SLACK), given) <= window.calls


GARBAGE: list[object] = [
    None,
    "soon",
    -1,
    0,
    float("nan"),
    float("inf"),
    Decimal128("1E+6000"),
    2**62,
    [],
    {},
]


async def test_a_bucket_that_holds_garbage_counts_as_full_and_works(
    fleet: AsyncDatabase[Document], documents: AsyncCollection[Document], name: str
) -> None:
    async def one(name: str, tat: object) -> None:
        await documents.insert_one({"_id": name, "tats": {"w1": tat}, "paused_until": "never"})
        bucket, now = Bucket(fleet, name, (Window(200, 1),)), time.monotonic()
        first = await bucket.reserve(1)
        assert first.slots == (), tat
        assert 0 < first.next_at - now < 10, tat
        await asyncio.sleep(max(0.0, first.next_at - time.monotonic()))
        assert len((await bucket.reserve(3)).slots) == 3, tat

    await asyncio.gather(*(one(f"{name}-{number}", tat) for number, tat in enumerate(GARBAGE)))


@pytest.mark.parametrize("tats", ["text", 7, None, [{"w1": 5}]], ids=repr)
async def test_whatever_stands_in_the_document_is_replaced(
    fleet: AsyncDatabase[Document], documents: AsyncCollection[Document], name: str, tats: object
) -> None:
    hold = {"reason": 5, "until": "x"}
    await documents.insert_one({"_id": name, "tats": tats, "hold": hold, "slots": 5, "given": []})
    assert (await Bucket(fleet, name, (Window(200, 1),)).reserve(1)).held is None
    document = await documents.find_one({"_id": name})
    assert document is not None
    assert isinstance(document["tats"]["w1"], float)


async def test_a_new_bucket_gives_one_slot_at_once_and_no_burst(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    windows = (Window(1000, 60),)
    ((pace,), began) = (paces(windows), time.monotonic())
    reserved = await Bucket(fleet, name, windows).reserve(5)
    assert pace.burst > 5
    assert reserved.slots[0] <= time.monotonic()
    steps = [late - early for early, late in zip(reserved.slots, reserved.slots[1:], strict=False)]
    assert all(step == pytest.approx(pace.gap, rel=0.01) for step in steps)
    assert reserved.slots[-1] < began + 5


async def test_a_bucket_that_somebody_dropped_leaves_time_for_the_slots_given_before(
    fleet: AsyncDatabase[Document], documents: AsyncCollection[Document], name: str
) -> None:
    bucket = Bucket(fleet, name, QUICK)
    before = await bucket.reserve(MOST_SLOTS)
    await documents.delete_one({"_id": name})
    after = await bucket.reserve(1)
    assert after.slots == ()
    assert after.next_at > before.slots[-1]


async def test_slots_lie_within_the_horizon_and_else_it_is_said_when_the_next_one_is(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    bucket = Bucket(fleet, name, SLOW)
    assert len((await bucket.reserve(50)).slots) == 1
    later = await bucket.reserve(50)
    assert later.slots == ()
    assert 55 < later.next_at - time.monotonic() < 62
    quick = await Bucket(fleet, name + "-quick", (Window(200, 10),)).reserve(50)
    assert quick.slots[-1] <= time.monotonic() + HORIZON


async def test_first_reservations_of_many_processes_at_once_all_succeed(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    buckets = [Bucket(fleet, name, SLOW) for _ in range(8)]
    replies = await asyncio.gather(*(bucket.reserve(1) for bucket in buckets))
    assert sum(len(reply.slots) for reply in replies) == 1


async def test_daemons_with_other_windows_each_keep_their_own(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    strict, loose = Bucket(fleet, name, SLOW), Bucket(fleet, name, QUICK)
    assert (await strict.reserve(1)).slots
    assert (await loose.reserve(1)).slots
    assert not (await strict.reserve(1)).slots


# -- the server's clock ----------------------------------------------------------------------


async def test_a_clock_that_is_set_back_stops_nobody_for_long(
    fleet: AsyncDatabase[Document], documents: AsyncCollection[Document], name: str
) -> None:
    bucket = Bucket(fleet, name, QUICK)
    await bucket.reserve(1)
    hour = 3_600_000.0
    await documents.update_one({"_id": name}, {"$inc": {"tats.w1": hour, "now": hour}})
    assert (await bucket.reserve(1)).next_at - time.monotonic() < 5


async def test_a_clock_that_jumps_ahead_leaves_no_room_that_is_not_there(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    shift = 0.0
    bucket = Bucket(fleet, name, (Window(1000, 60),), clock=shifted(lambda: shift))
    await bucket.reserve(1)
    shift = -30.0
    reserved = await bucket.reserve(10)
    assert reserved.slots == ()
    assert reserved.next_at - (time.monotonic() + shift) > HORIZON


def test_a_slow_exchange_is_no_jump_and_does_not_spoil_what_is_known() -> None:
    clock = ServerOffset()
    assert not clock.note(10.0, 10.002, 1000.0)
    assert not clock.note(11.0, 16.0, 1001.0)  # the server was quick, the way back was not
    assert not clock.note(20.0, 25.0, 1014.9)  # the other way round
    assert clock.local(1010.0) == pytest.approx(20.0, abs=0.01)
    assert clock.note(30.0, 30.002, 1020.1)
    assert not clock.note(31.0, 31.002, 1021.1)
    assert not clock.note(32.0, 32.002, 1000.0)  # back: nothing looks emptier than it is


# -- limiters of several processes -----------------------------------------------------------


@pytest.mark.timeout(90)
async def test_three_processes_use_their_common_limit_and_never_exceed_it(mongodb_uri: str) -> None:
    windows, database = (Window(8, 1), Window(18, 3)), f"test_{uuid.uuid4().hex}"
    async with server.connect(mongodb_uri, pool=2) as client:
        try:
            each = await processes(3, mongodb_uri, database, windows, 6, callers=10)
        finally:
            await client.drop_database(database)
    assert all(each), "every process had its share"
    random, times = Random(1), sorted(at for calls in each for at in calls)
    arrivals = sorted(at + (SLACK / 2) * random.random() for at in times)
    for window in windows:
        assert most_within(window.seconds, times) <= window.calls
        assert most_within(window.seconds, arrivals) <= window.calls
    possible = (times[-1] - times[0]) / max(1.001 * pace.gap for pace in paces(windows))
    assert len(times) >= 0.85 * possible / business()  # 0.99 when the machine is not busy


@pytest.mark.timeout(60)
@pytest.mark.parametrize("harm", ["deleted", "put back"])
async def test_no_window_is_exceeded_while_the_document_is_lost_under_load(
    fleet: AsyncDatabase[Document], documents: AsyncCollection[Document], name: str, harm: str
) -> None:
    """`put back`: as it was before the load, as a restore from a backup does."""
    window, times = Window(30, 1), list[float]()
    async with limiters(fleet, name, (window,), 3) as three:
        for limiter in three:
            await limiter.acquire()
        old = await documents.find_one({"_id": name})
        assert old is not None
        calling = [asyncio.create_task(call(each, times)) for each in three for _ in range(20)]
        for enough in (20, 60, 100):
            await eventually(partial(has_reached, times, enough), within=20)
            if harm == "deleted":
                await documents.delete_one({"_id": name})
            else:
                await documents.replace_one({"_id": name}, old)
        await eventually(partial(has_reached, times, 140), within=20)
        await ended(calling)
    random = Random(1)
    arrivals = sorted(at + (SLACK / 2) * random.random() for at in times)
    assert most_within(window.seconds, times) <= window.calls
    assert most_within(window.seconds, arrivals) <= window.calls


def has_reached(times: list[float], enough: int) -> bool:
    return len(times) >= enough


async def ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_bucket_that_another_process_began_anew_is_as_full_as_it_was(
    fleet: AsyncDatabase[Document], documents: AsyncCollection[Document], name: str
) -> None:
    windows = (Window(20, 60),)
    bucket = Bucket(fleet, name, windows)
    await bucket.reserve(1)
    before = await bucket.reserve(1)
    assert before.slots == ()
    await documents.delete_one({"_id": name})
    assert len((await Bucket(fleet, name, windows).reserve(1)).slots) == 1
    after = await bucket.reserve(1)
    assert after.slots == ()
    assert after.next_at >= before.next_at - 0.01


async def test_a_bucket_that_is_put_back_keeps_the_slots_that_others_took_meanwhile(
    fleet: AsyncDatabase[Document], documents: AsyncCollection[Document], name: str
) -> None:
    """Whoever sees it emptier than it was cannot know how full the others made it since."""
    windows = (Window(10, 1),)
    one, other = Bucket(fleet, name, windows), Bucket(fleet, name, windows)
    await one.reserve(1)
    old = await documents.find_one({"_id": name})
    assert old is not None
    await one.reserve(1)
    taken = await other.reserve(20)
    assert taken.slots
    await documents.replace_one({"_id": name}, old)
    after = await one.reserve(20)
    assert min((*after.slots, after.next_at)) > max(taken.slots)


async def test_cancelled_all_at_once_the_waiters_do_not_stall_the_loop(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    async with limiters(fleet, name, QUICK) as (limiter,):
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(50)]
        await eventually(lambda: any(each.done() for each in waiting))
        for each in waiting:
            each.cancel()
        began = time.process_time()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert time.process_time() - began < 0.2


async def test_a_lone_call_on_an_idle_system_costs_one_reservation(
    fleet: AsyncDatabase[Document], documents: AsyncCollection[Document], name: str
) -> None:
    async with limiters(fleet, name, QUICK) as (limiter,):
        for _ in range(3):
            await limiter.acquire()
        document = await documents.find_one({"_id": name})
        assert document is not None
        assert len(document["slots"]) == 1
        assert limiter.expected_wait < 1


async def test_while_a_limit_has_room_fast_callers_share_reservations(
    mongodb_uri: str, fleet: AsyncDatabase[Document], name: str
) -> None:
    """One after another: without slots ahead each would make a reservation of its own."""
    windows, commands, calls = (Window(60_000, 60),), Commands(), 600
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        mongodb_uri, tz_aware=True, event_listeners=[commands]
    )
    async with client:
        limiter = Limiter(windows, Bucket(client[fleet.name], name, windows))
        began = time.monotonic()
        for _ in range(calls):
            await limiter.acquire()
        rate = calls / (time.monotonic() - began)
        await limiter.close()
    reservations = commands.names().count("findAndModify")
    assert rate < 40 or reservations < calls / 4


async def test_the_most_urgent_caller_gets_the_next_slot_whoever_came_first(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    order = list[float]()

    async def one(limiter: Limiter, urgency: float) -> None:
        await limiter.acquire(urgency)
        order.append(urgency)

    async with limiters(fleet, name, OFTEN) as (limiter,):
        waiting = [asyncio.create_task(one(limiter, 0)) for _ in range(5)]
        await eventually(lambda: order)
        hot = asyncio.create_task(one(limiter, 1))
        await asyncio.gather(hot, *waiting)
    assert order == [0, 1, 0, 0, 0, 0]


async def test_a_slot_that_is_given_back_goes_to_the_next(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    async with limiters(fleet, name, SLOW) as (limiter,), patience(10):
        slot = await acquired(limiter)
        slot.until += 60  # so that a busy machine is quick enough
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0)
        limiter.give_back(slot)
        assert await waiting is slot
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(limiter.acquire(), 0.5)
        assert 50 < limiter.expected_wait < 70


async def test_a_caller_cancelled_with_a_slot_just_given_to_it_passes_it_on(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    async with limiters(fleet, name, SLOW) as (limiter,), patience(10):
        await limiter.acquire()
        first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
        await eventually(lambda: limiter.waiting == 2)
        limiter._turns.give(Slot.reserved(time.monotonic(), life=60))
        first.cancel()  # before it could run
        await second
        assert first.cancelled()


async def test_after_a_stall_the_slots_that_were_missed_are_no_burst(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    windows, times = (Window(20, 1),), list[float]()
    async with limiters(fleet, name, windows) as (limiter,):
        callers = [asyncio.create_task(call(limiter, times)) for _ in range(20)]
        await eventually(lambda: len(times) > 5)
        time.sleep(1.0)  # noqa: ASYNC251 - the whole process stands still
        before = len(times)
        await eventually(lambda: len(times) > before + 10)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    assert most_within(1.0, times) <= 20
    late = most_within(0.02, times[before:])
    assert late <= 6, "what lies within the slack, and no more"


async def test_a_caller_that_was_stalled_learns_that_its_slot_has_lapsed(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    async with limiters(fleet, name, QUICK) as (limiter,):
        slot = await acquired(limiter)
        await asyncio.sleep(0.5)
        assert slot.has_lapsed
        assert not (await acquired(limiter)).has_lapsed


# -- pauses, holds, outages ------------------------------------------------------------------


async def test_a_pause_that_one_process_learnt_holds_for_the_others(
    fleet: AsyncDatabase[Document], documents: AsyncCollection[Document], name: str
) -> None:
    async with limiters(fleet, name, QUICK, 2) as (one, other):
        await other.acquire()
        one.pause(1.5)
        over_at = time.monotonic() + 1.5
        assert one.pause_left > 0
        await eventually(lambda: is_paused(documents, name))
        await other.acquire()
        assert time.monotonic() >= over_at - 0.05
        assert other.pause_left == 0


async def is_paused(documents: AsyncCollection[Document], name: str) -> bool:
    document = await documents.find_one({"_id": name})
    return document is not None and document.get("paused_until", 0) > 0


async def test_a_pause_is_written_although_the_limiter_is_closed_at_once(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    async with limiters(fleet, name, QUICK) as (limiter,):
        limiter.pause(60)
    reserved = await Bucket(fleet, name, QUICK).reserve(1)
    assert reserved.slots == ()
    assert 50 < reserved.paused_until - time.monotonic() < 61


async def test_a_hold_ends_the_wait_of_everybody_and_its_release_is_seen(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    async with limiters(fleet, name, OFTEN, 2) as (one, other):
        one.hold(Held("$quota", 60))
        await eventually(lambda: told(other, "$quota"))
        assert isinstance(await one.acquire(), Held)
        one.release()
        await acquired(one)
        await eventually(lambda: told(other, None), within=15)


async def told(limiter: Limiter, reason: str | None) -> bool:
    given = await limiter.acquire()
    return (given.reason if isinstance(given, Held) else None) == reason


async def acquired(limiter: Limiter) -> Slot:
    slot = await limiter.acquire()
    assert isinstance(slot, Slot)
    return slot


async def test_a_stop_by_hand_outlasts_a_start_and_a_daemons_own_shorter_stop(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    bucket = Bucket(fleet, name, QUICK)
    await bucket.stop("acme", "paused", 3600, by_hand=True)
    await bucket.stop("other", "useless", 3600)
    await bucket.stop("acme", "useless", 60)
    await bucket.release()

    stopped = (await bucket.reserve(1)).stopped
    assert stopped.keys() == {"acme"}
    assert stopped["acme"].reason == "paused"
    assert stopped["acme"].seconds > 3000

    await bucket.stop("acme", "", 0, by_hand=True)
    assert (await bucket.reserve(1)).stopped == {}


async def test_of_two_holds_the_longer_counts(fleet: AsyncDatabase[Document], name: str) -> None:
    bucket = Bucket(fleet, name, QUICK)
    await bucket.hold("long", 600)
    await bucket.hold("short", 5)
    held = (await bucket.reserve(1)).held
    assert held is not None
    assert held.reason == "long"
    assert 590 < held.seconds <= 600


async def test_while_mongodb_is_away_nobody_calls_and_afterwards_they_do(
    mongodb_uri: str, shared_database: str, name: str
) -> None:
    async with (
        cable_to(mongodb_uri) as cable,
        server.connect(cable.uri, pool=2) as client,
        limiters(client[shared_database], name, QUICK) as (limiter,),
    ):
        await limiter.acquire()
        cable.cut()
        waiting = asyncio.create_task(limiter.acquire())
        _, pending = await asyncio.wait({waiting}, timeout=1)
        assert pending
        cable.mend()
        async with patience(30):
            await waiting


async def test_a_limiter_that_breaks_tells_those_who_wait(fleet: AsyncDatabase[Document]) -> None:
    broken = Limiter(QUICK, Bucket(fleet, "acme", QUICK, clock=lambda: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        async with patience(5):
            await broken.acquire()
    await broken.close()


async def test_cancelled_callers_take_nothing_from_the_others(
    fleet: AsyncDatabase[Document], name: str
) -> None:
    random, served = Random(7), count()
    number = 0

    async def one(limiter: Limiter) -> None:
        nonlocal number
        await limiter.acquire()
        number = next(served) + 1

    async with limiters(fleet, name, (Window(200, 1),)) as (limiter,), patience(20):
        waiting = [asyncio.create_task(one(limiter)) for _ in range(300)]
        gone = random.sample(waiting, 200)
        for caller in gone:
            caller.cancel()
            await asyncio.sleep(0.001)
        await asyncio.gather(*waiting, return_exceptions=True)
        assert limiter.waiting == 0
    assert number == sum(not caller.cancelled() for caller in waiting) >= 100
