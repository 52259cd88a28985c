"""One daemon at a time asks a question, and a question whose holder died is asked by another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Reply
from enricher.calls.flights import COLLECTION, Beat, Cache, Flight, Vigil
from enricher.lead import Document
from enricher.mongo import DatabaseTrouble, server
from tests.integration.calls.test_cache import DAY, INTERRUPTED, KEY, OTHER, REPLY, stored, taken
from tests.support.cable import Cable, cable_to, client_over
from tests.support.faults import Faults
from tests.support.queueing import Commands, server_time
from tests.support.waiting import business, eventually, patience

pytestmark = pytest.mark.slow

Database = AsyncDatabase[Document]

LEASE = 1.0
PATIENCE = 10.0
"""Of the driver, as in use: longer than any outage here."""


@pytest.fixture
async def ours(database: Database) -> Cache:
    return Cache(database, "ours", LEASE)


@pytest.fixture
async def theirs(database: Database) -> Cache:
    """Another process, as far as the database can tell."""
    return Cache(database, "theirs", LEASE)


@asynccontextmanager
async def running(cache: Cache) -> AsyncIterator[asyncio.Task[None]]:
    """Its flights beat, until the block ends or the task is cancelled: then it is dead."""
    stop = asyncio.Event()
    task = asyncio.create_task(cache.run(stop))
    try:
        yield task
    finally:
        stop.set()
        async with patience(10):
            await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled() or task.exception() is None


async def beats(database: Database) -> int:
    number: int = (await stored(database))["flight"]["beat"]
    return number


async def has_beaten(database: Database, more_than: int = 0) -> bool:
    return await beats(database) > more_than


async def is_free(database: Database) -> bool:
    return "flight" not in (await stored(database) or {})


async def is_held(database: Database) -> bool:
    return not await is_free(database)


@asynccontextmanager
async def waiting(cache: Cache, **how: Any) -> AsyncIterator[asyncio.Task[Reply | None]]:
    task = asyncio.create_task(cache.wait(KEY, **how))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# -- one at a time ---------------------------------------------------------------------------


async def test_of_500_who_ask_the_same_at_once_one_asks_and_all_have_the_answer(
    mongodb_uri: str, database: Database
) -> None:
    async with (
        server.connect(mongodb_uri, pool=8) as first,
        server.connect(mongodb_uri, pool=8) as second,
        server.connect(mongodb_uri, pool=8) as third,
    ):
        lease = 5.0 * business()
        caches = [Cache(each[database.name], "x", lease) for each in (first, second, third)]
        calls: list[str] = []

        async def ask(cache: Cache, newcomer: float) -> Reply:
            await asyncio.sleep(newcomer)
            while True:
                taken = await cache.take(KEY, "acme")
                if isinstance(taken, Flight):
                    calls.append(taken.id)
                    await asyncio.sleep(0.2)
                    await cache.keep(taken, REPLY, DAY)
                    return REPLY
                if reply := taken or await cache.wait(KEY):
                    return reply

        random = Random(4)
        replies = await asyncio.gather(
            *(ask(caches[number % 3], 0.3 * random.random()) for number in range(500))
        )

    assert len(calls) == 1
    assert replies == [REPLY] * 500


async def test_different_questions_do_not_wait_for_each_other(ours: Cache, theirs: Cache) -> None:
    await taken(ours, "one")
    assert isinstance(await theirs.take("two", "acme"), Flight)


async def test_the_same_process_does_not_take_a_question_twice(ours: Cache) -> None:
    await taken(ours)
    assert await ours.take(KEY, "acme") is None


async def test_an_answer_reaches_those_who_wait(ours: Cache, theirs: Cache) -> None:
    flight = await taken(ours)
    async with waiting(theirs) as first, waiting(theirs) as second:
        await asyncio.sleep(0)
        await ours.keep(flight, REPLY, DAY)
        async with patience(5):
            assert [await first, await second] == [REPLY, REPLY]


async def test_what_is_let_go_is_free_at_once_for_those_who_wait(
    database: Database, ours: Cache, theirs: Cache
) -> None:
    flight = await taken(ours)
    async with waiting(theirs) as wait:
        await asyncio.sleep(0)
        await ours.let_go(flight)
        await ours.let_go(flight)
        assert await wait is None
    assert not (await taken(theirs)).took_over


async def test_letting_go_ends_no_flight_but_ones_own(
    database: Database, ours: Cache, theirs: Cache
) -> None:
    old = await taken(ours)
    await ours.let_go(old)
    await taken(theirs)
    await ours.let_go(old)
    assert await is_held(database)


async def test_a_question_without_an_answer_stays_a_day_and_no_longer(
    database: Database, ours: Cache
) -> None:
    await ours.let_go(await taken(ours))
    document = await stored(database)
    assert document.keys() == {"_id", "provider", "expires_at"}


# -- life and death --------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_flight_begins_by_the_servers_clock_however_wrong_ours_is(
    database: Database, ours: Cache, hours: int
) -> None:
    ours._flights._clock.heard(datetime.now(UTC) + timedelta(hours=hours))
    await taken(ours)
    at = (await stored(database))["flight"]["at"]
    assert abs(at - await server_time(database[COLLECTION])) < timedelta(minutes=1)


async def test_a_call_may_last_longer_than_the_lease(
    database: Database, ours: Cache, theirs: Cache
) -> None:
    async with running(ours), waiting(theirs) as wait:
        flight = await taken(ours)
        await eventually(lambda: has_beaten(database, 8))
        assert not wait.done() or await wait is None  # it began before there was a flight
        assert await theirs.take(KEY, "acme") is None
        await ours.keep(flight, REPLY, DAY)
    assert await theirs.wait(KEY) == REPLY


async def test_short_calls_never_beat_however_many_follow_each_other(
    mongodb_uri: str, database: Database
) -> None:
    commands = Commands()
    client: AsyncMongoClient[Document] = AsyncMongoClient(mongodb_uri, event_listeners=[commands])
    async with client:
        cache = Cache(client[database.name], "ours", 5.0 * business())
        async with running(cache):
            flight = await taken(cache)
            for number in range(30):
                await asyncio.sleep(0.05)
                following = await taken(cache, f"key-{number}")
                await cache.let_go(flight)
                flight = following
    assert not [command for command in commands.sent if "$inc" in str(command)]


async def test_a_dead_holder_is_replaced_after_its_lease_and_its_late_answer_is_kept(
    database: Database, ours: Cache, theirs: Cache
) -> None:
    async with running(ours) as life:
        late = await taken(ours)
        await eventually(lambda: has_beaten(database))
        life.cancel()
        began = time.monotonic()
        assert await theirs.wait(KEY) is None
        waited = time.monotonic() - began

    flight = await taken(theirs)

    assert waited >= LEASE / 2, "it had beaten a moment before"
    assert flight.took_over
    assert not late.took_over
    assert await ours.take(KEY, "acme") is None

    stays_until = (await stored(database))["expires_at"]
    await ours.keep(late, OTHER, DAY / 2)
    assert await theirs.look(KEY) == OTHER
    assert await is_held(database), "the one who took over still asks"
    assert (await stored(database))["expires_at"] == stays_until
    await theirs.keep(flight, REPLY, DAY)
    assert await ours.look(KEY) == REPLY
    assert await is_free(database)


async def test_a_late_answer_is_kept_also_when_the_one_who_took_over_gave_up(
    ours: Cache, theirs: Cache
) -> None:
    late = await taken(ours)
    assert await theirs.wait(KEY) is None
    await theirs.let_go(await taken(theirs))
    await ours.keep(late, REPLY, DAY)
    assert await theirs.look(KEY) == REPLY


async def test_of_many_who_saw_a_holder_die_one_takes_over(database: Database) -> None:
    await taken(Cache(database, "dead", LEASE))
    caches = [Cache(database, f"{number}", LEASE) for number in range(5)]
    assert await asyncio.gather(*(cache.wait(KEY) for cache in caches)) == [None] * 5
    results = await asyncio.gather(*(cache.take(KEY, "acme") for cache in caches))
    assert sorted(str(type(result).__name__) for result in results) == ["Flight"] + 4 * ["NoneType"]


async def test_a_holder_that_beats_again_is_not_replaced(
    database: Database, ours: Cache, theirs: Cache
) -> None:
    """It was slow, and whoever took it for dead finds out in the very write that would replace it."""
    await taken(ours)
    assert await theirs.wait(KEY) is None
    async with running(ours):
        await eventually(lambda: has_beaten(database))
        assert await theirs.take(KEY, "acme") is None


async def test_what_was_seen_of_one_flight_does_not_count_against_the_next(
    ours: Cache, theirs: Cache
) -> None:
    flight = await taken(ours)
    assert await theirs.wait(KEY) is None
    await ours.let_go(flight)
    await taken(ours)
    assert await theirs.take(KEY, "acme") is None


async def test_a_flight_that_was_free_again_when_it_was_taken_was_not_taken_over(
    ours: Cache, theirs: Cache
) -> None:
    flight = await taken(ours)
    assert await theirs.wait(KEY) is None
    await ours.let_go(flight)
    assert not (await taken(theirs)).took_over


# -- judging ---------------------------------------------------------------------------------

BEAT, NEXT = Beat("x", 1), Beat("x", 2)


def _judged(*seen: tuple[float, Beat | None]) -> list[bool]:
    vigil = Vigil(lease=6.0)
    return [vigil.saw(beat, at) for at, beat in seen]


def _every(step: float, beat: Beat | None, first: float, last: float) -> list[Any]:
    return [(first + step * n, beat) for n in range(round((last - first) / step) + 1)]


def test_a_flight_that_is_silent_and_stays_so_while_somebody_watches_is_abandoned() -> None:
    assert _judged(*_every(0.5, BEAT, 100.0, 101.5)) == [False] * 3 + [True]


def test_what_has_been_silent_for_less_than_a_lease_is_not_abandoned() -> None:
    fresh = Beat("x", 1, silent=5.9)
    assert not any(_judged(*_every(0.5, fresh, 100.0, 110.0)))


def test_a_beat_that_lies_ahead_is_judged_by_the_watch_alone() -> None:
    """The server's clock went back an hour: by it the beat is still to come."""
    ahead = Beat("x", 1, silent=-3600)
    assert _judged(*_every(0.5, ahead, 100.0, 106.0)) == [False] * 12 + [True]
    beating = [(100.0 + n, Beat("x", n, silent=-3600)) for n in range(20)]
    assert not any(_judged(*beating))


async def test_a_dead_holder_is_replaced_also_when_the_servers_clock_goes_back_an_hour(
    database: Database, ours: Cache, theirs: Cache
) -> None:
    async with running(ours) as life:
        await taken(ours)
        life.cancel()
    await clock_goes_back(database)
    assert await theirs.wait(KEY) is None
    assert (await taken(theirs)).took_over


async def test_a_living_holder_is_not_when_the_servers_clock_goes_back(
    database: Database, ours: Cache, theirs: Cache
) -> None:
    async with running(ours):
        await taken(ours)
        await clock_goes_back(database)
        async with waiting(theirs) as wait:
            await eventually(lambda: has_beaten(database, more_than=10), within=15)
            assert not wait.done()


async def clock_goes_back(database: Database) -> None:
    """To the database it is the same: all that is stored moves ahead by an hour."""
    later = {"$add": ["$flight.at", 3_600_000]}
    await database[COLLECTION].update_many({}, [{"$set": {"flight.at": later}}])


def test_a_beat_begins_the_watch_anew() -> None:
    seen = [*_every(0.5, BEAT, 100.0, 101.0), *_every(0.5, NEXT, 101.5, 103.0)]
    assert _judged(*seen) == [False] * 6 + [True]


def test_another_flight_begins_the_watch_anew() -> None:
    seen = [*_every(0.5, BEAT, 100.0, 101.0), (101.5, Beat("y", 1))]
    assert not any(_judged(*seen))


@pytest.mark.parametrize("trouble", [[(101.0, None)], []], ids=["failed", "late"])
def test_after_a_failed_or_a_late_reading_the_observation_begins_anew(trouble: list[Any]) -> None:
    before, after = _every(0.5, BEAT, 98.5, 99.5), _every(0.5, BEAT, 102.0, 103.5)
    judged = _judged(*before, *trouble, *after)
    assert judged == [False] * (len(judged) - 1) + [True]


# -- the database is away --------------------------------------------------------------------


@asynccontextmanager
async def over_a_cable(uri: str, database: Database) -> AsyncIterator[tuple[Cache, Cable]]:
    async with cable_to(uri) as cable, client_over(cable, PATIENCE) as client:
        yield Cache(client[database.name], "over a cable", LEASE), cable


@pytest.mark.parametrize("trouble", ["cut", "freeze"])
async def test_an_outage_longer_than_the_lease_makes_no_living_holder_look_dead(
    mongodb_uri: str, database: Database, trouble: str
) -> None:
    async with (
        cable_to(mongodb_uri) as cable,
        client_over(cable, PATIENCE) as holders,
        client_over(cable, PATIENCE) as observers,
    ):
        # A driver takes half a second to find a server again: that is little for the lease of 5 s
        # in use, and would be too much for the short one of the other tests.
        holder = Cache(holders[database.name], "holder", LEASE)
        observer = Cache(observers[database.name], "observer", 3 * LEASE)
        async with running(holder):
            flight = await taken(holder)
            await eventually(lambda: has_beaten(database))
            async with waiting(observer) as wait:
                getattr(cable, trouble)()
                await eventually(lambda: not holder.outage.is_over)
                await asyncio.sleep(3.5 * LEASE)
                seen = await beats(database)
                cable.mend()
                await eventually(lambda: has_beaten(database, seen))
                await asyncio.sleep(0.5 * LEASE)
                assert not wait.done()
                assert await observer.take(KEY, "acme") is None
                await holder.keep(flight, REPLY, DAY)
                async with patience(10):
                    assert await wait == REPLY


async def test_a_holder_that_died_during_an_outage_is_replaced_after_it(
    mongodb_uri: str, database: Database, ours: Cache
) -> None:
    await taken(ours)
    async with over_a_cable(mongodb_uri, database) as (observer, cable):
        async with waiting(observer) as wait:
            cable.cut()
            await asyncio.sleep(1.5 * LEASE)
            assert not wait.done()
            cable.mend()
            async with patience(20):
                assert await wait is None
        assert (await taken(observer)).took_over


async def test_what_is_let_go_while_the_database_is_away_is_free_as_soon_as_it_is_back(
    mongodb_uri: str, database: Database
) -> None:
    async with over_a_cable(mongodb_uri, database) as (cache, cable), running(cache):
        flight = await taken(cache)
        cable.cut()
        await cache.let_go(flight)
        assert await is_held(database)
        cable.mend()
        await eventually(lambda: is_free(database))
        await eventually(lambda: cache.outage.is_over)


# -- a take that fails half-way --------------------------------------------------------------


@pytest.fixture
async def faulty(faults: Faults) -> AsyncIterator[Cache]:
    yield Cache(faults.leads.database, "faulty", LEASE)
    await faults.plain.database.drop_collection(COLLECTION)


@pytest.mark.parametrize(
    ("commands", "how"),
    [
        (["update"], {"closeConnection": True}),
        (["update"], {"writeConcernError": {"code": 91, "errmsg": "x"}}),
        (["update"], {"writeConcernError": {"code": 64, "errmsg": "x"}}),
        (["update"], {"errorCode": INTERRUPTED}),
        (["find"], {"errorCode": INTERRUPTED}),
        (["find"], {"closeConnection": True}),
    ],
    ids=str,
)
async def test_a_take_whose_outcome_was_lost_once_is_ours_all_the_same(
    faults: Faults, faulty: Cache, commands: list[str], how: dict[str, Any]
) -> None:
    async with faults.fail(*commands, times=1, **how):
        flight = await taken(faulty)
    assert (await stored(faults.plain.database))["flight"]["id"] == flight.id


@pytest.mark.parametrize("command", ["insert", "update", "find"])
async def test_a_take_that_failed_leaves_no_flight_behind(
    faults: Faults, faulty: Cache, command: str
) -> None:
    """The first write got through, or may have; nobody will ever end that flight."""
    trouble: dict[str, Any] = {"errorCode": INTERRUPTED}
    if command != "find":
        trouble = {"writeConcernError": {"code": 64, "errmsg": "x"}}
    if command != "insert":  # the question stands there already, so a take has to be read back
        await faulty.let_go(await taken(faulty))
    async with faults.fail(command, **trouble):
        with pytest.raises(DatabaseTrouble):
            await faulty.take(KEY, "acme")
    assert await is_held(faults.plain.database)
    async with running(faulty):
        await eventually(lambda: is_free(faults.plain.database))


@pytest.mark.parametrize("turns", range(8))
async def test_a_take_that_nobody_waits_for_any_more_leaves_no_flight_behind(
    database: Database, ours: Cache, theirs: Cache, turns: int
) -> None:
    """Wherever it is cancelled: queued, on its way, or done and not yet handed over."""
    async with running(ours):
        taking = asyncio.create_task(ours.take(KEY, "acme"))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        taking.cancel()
        (result,) = await asyncio.gather(taking, return_exceptions=True)
        if isinstance(result, Flight):
            await ours.let_go(result)
        flight = await eventually(lambda: _flight(theirs))
        assert flight is not None
        assert not flight.took_over, "it was free"


async def _flight(cache: Cache) -> Flight | None:
    taken = await cache.take(KEY, "acme")
    return taken if isinstance(taken, Flight) else None


async def test_a_take_that_is_cancelled_in_the_queue_writes_nothing(
    faults: Faults, faulty: Cache
) -> None:
    late = {"blockConnection": True, "blockTimeMS": int(300 * business())}
    async with faults.fail("insert", **late, times=1) as has_come:
        first = asyncio.create_task(faulty.take("first", "acme"))
        await has_come()
        second = asyncio.create_task(faulty.take(KEY, "acme"))
        await asyncio.sleep(0.05)
        second.cancel()
        assert isinstance(await first, Flight)
    assert await stored(faults.plain.database) is None


async def test_a_write_that_lost_a_race_is_no_outage_and_takes_nothing_from_the_others(
    database: Database, ours: Cache
) -> None:
    """The server settles nearly all races itself; a unique index makes one that it does not."""
    await database[COLLECTION].create_index("provider", unique=True)
    await ours.take("first", "acme")
    raced = [ours.take(KEY, "acme"), ours.take("second", "another")]
    lost, won = await asyncio.gather(*raced)
    assert lost is None
    assert isinstance(won, Flight)


async def test_a_heartbeat_of_flights_ends_at_once_when_told_to(ours: Cache) -> None:
    async with patience(2), running(ours):
        await asyncio.sleep(0)


async def test_a_flight_nobody_holds_is_forgotten_by_the_beats(
    database: Database, ours: Cache
) -> None:
    async with running(ours):
        flight = await taken(ours)
        await ours.keep(flight, REPLY, timedelta(0))
        await taken(Cache(database, "theirs", LEASE))
        await asyncio.sleep(LEASE / 2)
        assert await beats(database) == 0
