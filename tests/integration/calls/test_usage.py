"""The ledger and the budgets: never one call too many, whoever dies, and nothing forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from enricher.answer import Held
from enricher.calls.ledger import (
    COLLECTION,
    Begun,
    Budget,
    DayOfProvider,
    Posting,
    Usage,
    document_id,
    pipeline,
)
from enricher.lead import Document
from enricher.mongo import server
from enricher.mongo.server import ServerClock
from tests.support.faults import Faults
from tests.support.observing import events, logged
from tests.support.queueing import CancelsTheFirst, Commands, server_time
from tests.support.waiting import business, eventually, patience

Database = AsyncDatabase[Document]
Ended = bool | None


@pytest.fixture
async def book(database: Database) -> AsyncCollection[Document]:
    return database[COLLECTION]


def usage(database: Database, daily: int | None = None, monthly: int | None = None) -> Usage:
    """Of one process; both providers of the vendor share its budget."""
    return Usage(database, {"hunter": Budget(daily, monthly)}, {})


@pytest.fixture
async def fleet(mongodb_uri: str, database: Database) -> AsyncIterator[list[Database]]:
    """Three clients of the daemon's own kind."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(server.connect(mongodb_uri, pool=8)) for _ in range(3)
        ]
        yield [client[database.name] for client in clients]


async def begin(usage: Usage, calls: int, provider: str = "hunter") -> list[Begun]:
    """All at once; those that are granted."""
    answers = await asyncio.gather(*(usage.begin(provider, "hunter") for _ in range(calls)))
    return [answer for answer in answers if isinstance(answer, Begun)]


async def held(usage: Usage) -> Held:
    answer = await usage.begin("hunter", "hunter")
    assert isinstance(answer, Held)
    return answer


def end(usage: Usage, calls: Iterable[Begun], charged: Ended = True) -> None:
    for call in calls:
        usage.end(call, charged=charged)


@asynccontextmanager
async def running(usage: Usage) -> AsyncIterator[None]:
    """Its loop; stopped as the daemon does."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(usage.run(stop))
        yield
        stop.set()


async def flush(usage: Usage) -> None:
    async with running(usage):
        pass


async def today_of(database: Database) -> date:
    return (await server_time(database["any"])).astimezone(UTC).date()


async def row(database: Database, provider: str = "hunter") -> DayOfProvider:
    """Of today, as anybody sees it."""
    [found] = [row for row in await usage(database).days(1) if row.provider == provider]
    return found


# -- budgets ---------------------------------------------------------------------------------


async def test_of_200_concurrent_calls_of_three_processes_a_budget_of_100_grants_100(
    fleet: list[Database],
) -> None:
    processes = [usage(database, daily=100) for database in fleet]

    granted = await asyncio.gather(
        *(begin(process, 67 if number else 66) for number, process in enumerate(processes))
    )

    assert sum(map(len, granted)) == 100
    assert (await row(fleet[0])).begun == 100


async def test_what_was_not_charged_is_granted_to_others_and_never_more_than_the_budget(
    fleet: list[Database],
) -> None:
    """Each process asks again and again, and every third call postings out to be free."""
    processes = [usage(database, monthly=100) for database in fleet]
    charged = free = under_way = 0

    async def work(process: Usage) -> None:
        nonlocal charged, free, under_way
        while calls := await begin(process, 7):
            under_way += len(calls)
            assert charged + under_way <= 100
            for call in calls:
                await asyncio.sleep(0)
                under_way -= 1
                is_free = (charged + free) % 3 == 0
                free, charged = free + is_free, charged + (not is_free)
                process.end(call, charged=not is_free)

    for _ in range(40):  # somebody's last calls give back what another found used up
        await asyncio.gather(*map(work, processes))
        await asyncio.gather(*map(flush, processes))
        if charged == 100:
            break

    found = await row(fleet[0])
    assert (charged, found.charged, found.spent, found.ambiguous) == (100, 100, 100, 0)
    assert found.begun == found.settled == charged + free
    await held(processes[0])


async def test_a_budget_is_shared_by_all_providers_of_a_vendor(database: Database) -> None:
    ours = usage(database, daily=10)
    answers = await asyncio.gather(
        *(begin(ours, 6, "hunter"), begin(ours, 6, "hunter_company")),
    )
    assert [len(answer) for answer in answers] == [6, 4], "first come, first served"
    found = {row.provider: row.begun for row in await ours.days(1)}
    assert found == {"hunter": 6, "hunter_company": 4}


async def test_vendors_have_budgets_of_their_own(database: Database) -> None:
    ours = Usage(database, {"hunter": Budget(daily=0), "clearbit": Budget(daily=1)}, {})
    assert isinstance(await ours.begin("hunter", "hunter"), Held)
    assert isinstance(await ours.begin("clearbit", "clearbit"), Begun)
    assert isinstance(await ours.begin("pdl_person", "pdl"), Begun), "no budget: no limit"


async def test_a_used_up_day_lasts_until_midnight_utc(database: Database) -> None:
    answer = await held(usage(database, daily=0, monthly=5))
    now = await server_time(database["any"])
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    assert answer.reason == "the daily budget is used up"
    assert now + timedelta(seconds=answer.seconds) == pytest.approx(
        midnight, abs=timedelta(seconds=10)
    )


async def test_a_used_up_month_lasts_until_the_next_and_is_named_before_the_day(
    database: Database,
) -> None:
    answer = await held(usage(database, daily=0, monthly=0))
    now = await server_time(database["any"])
    last = now + timedelta(seconds=answer.seconds - 10)
    first = now + timedelta(seconds=answer.seconds + 10)
    assert answer.reason == "the monthly budget is used up"
    assert (last.year, last.month) == (now.year, now.month)
    assert first.day == 1


async def test_a_budget_that_is_set_later_counts_what_was_spent_before(database: Database) -> None:
    assert len(await begin(usage(database), 5)) == 5
    assert len(await begin(usage(database, monthly=7), 5)) == 2


async def test_time_outs_stay_charged_against_the_budget(database: Database) -> None:
    ours = usage(database, daily=3)
    end(ours, await begin(ours, 3), charged=None)
    await held(ours)
    found = await row(database)
    assert (found.settled, found.unknown, found.spent, found.ambiguous) == (3, 3, 3, 3)


async def test_a_call_that_was_not_made_leaves_no_trace(database: Database) -> None:
    ours = usage(database, daily=1)
    [call] = await begin(ours, 1)
    ours.give_back(call)
    assert len(await begin(ours, 1)) == 1
    assert (await row(database)).begun == 1


# -- days and months -------------------------------------------------------------------------


async def _set_back(book: AsyncCollection[Document], days: int) -> date:
    """As if all of today had been so many days ago. Returns that day."""
    [document] = await book.find().to_list()
    today = date.fromisoformat(document["_id"].split("/")[1] + "-" + next(iter(document["days"])))
    earlier = today - timedelta(days=days)
    await book.delete_one({"_id": document["_id"]})
    moved = {f"{earlier:%d}": counts for counts in document["days"].values()}
    await book.insert_one(
        {**document, "_id": document_id("hunter", earlier), "days": moved},
    )
    return earlier


async def _some_time_after(book: AsyncCollection[Document]) -> None:
    """As if the calls that were granted last had had the time to end."""
    earlier = {"$subtract": ["$granted_at", 60_000]}
    await book.update_many({}, [{"$set": {"granted_at": earlier}}])


async def test_while_calls_are_under_way_a_budget_is_used_up_for_a_moment_only(
    database: Database, book: AsyncCollection[Document]
) -> None:
    ours = usage(database, daily=2)
    free, _ = await begin(ours, 2)
    assert (await held(ours)).seconds < 10
    ours.end(free, charged=False)
    assert len(await begin(ours, 2)) == 1
    await _some_time_after(book)
    assert (await held(ours)).reason == "the daily budget is used up"


async def test_a_day_begins_with_a_full_budget_and_the_month_goes_on(
    database: Database, book: AsyncCollection[Document]
) -> None:
    today = await today_of(database)
    other_day_of_month = -1 if today.day == 1 else 1
    ours = usage(database, daily=4, monthly=6)
    assert len(await begin(ours, 5)) == 4
    await _set_back(book, other_day_of_month)

    assert len(await begin(ours, 5)) == 2
    await _some_time_after(book)
    assert (await held(ours)).reason == "the monthly budget is used up"


async def test_a_month_begins_with_a_full_budget(
    database: Database, book: AsyncCollection[Document]
) -> None:
    ours = usage(database, monthly=4)
    assert len(await begin(ours, 5)) == 4
    earlier = await _set_back(book, 31)

    assert len(await begin(ours, 5)) == 4

    rows = await ours.days(32)
    assert [(row.day, row.begun) for row in rows] == [
        (await today_of(database), 4),
        (earlier, 4),
    ]


async def test_a_call_counts_in_the_day_it_was_begun_in(
    database: Database, book: AsyncCollection[Document]
) -> None:
    """It ends after midnight, and what it gives back is nothing to the new day."""
    ours = usage(database, monthly=2)
    [free, paid] = await begin(ours, 2)
    earlier = await _set_back(book, 31)
    assert len(await begin(ours, 3)) == 2

    ours.end(Begun(free.provider, free.vendor, earlier), charged=False)
    ours.end(Begun(paid.provider, paid.vendor, earlier), charged=True)
    await flush(ours)

    assert await begin(ours, 1) == []
    new, old = await ours.days(32)
    assert (new.begun, new.settled, new.spent) == (2, 0, 2)
    assert (old.begun, old.settled, old.charged, old.spent, old.ambiguous) == (2, 2, 1, 1, 0)


async def test_the_day_is_the_servers_however_wrong_ours_is(
    database: Database, book: AsyncCollection[Document]
) -> None:
    ours = usage(database, daily=2)
    ours._clock.heard(await server_time(book) - timedelta(days=1))

    assert len(await begin(ours, 3)) == 2

    assert [row.day for row in await usage(database).days(3)] == [await today_of(database)]


async def test_the_time_is_the_servers_from_the_first_word(database: Database) -> None:
    clock = ServerClock(database.client)
    assert await clock.today() == await today_of(database)
    clock.heard(datetime(2031, 5, 31, 23, 59, 59, 999_999, UTC))
    await asyncio.sleep(0.01)
    assert await clock.today() == date(2031, 6, 1)


async def test_the_servers_time_is_asked_for_again_when_some_has_passed(
    database: Database, book: AsyncCollection[Document]
) -> None:
    wall = 0.0
    clock = ServerClock(database.client, wall=lambda: wall)
    await clock.fresh()
    clock.heard(await server_time(book) - timedelta(hours=1))  # another primary's, say
    assert await clock.fresh() < await server_time(book) - timedelta(minutes=59)
    for moved in (60.0, -60.0):  # asleep, or set back
        wall += moved
        assert abs(await clock.fresh() - await server_time(book)) < timedelta(minutes=1)
        clock.heard(await server_time(book) - timedelta(hours=1))


# -- deaths and outages ----------------------------------------------------------------------


async def test_a_process_that_dies_leaves_its_calls_spent_and_ambiguous(database: Database) -> None:
    dead, other = usage(database, daily=10), usage(database, daily=10)
    calls = await begin(dead, 6)
    end(dead, calls[:2])
    await flush(dead)
    end(dead, calls[2:4], charged=False)  # never written: it dies here

    assert len(await begin(other, 10)) == 4
    end(other, [])
    found = await row(database)
    assert (found.begun, found.settled, found.charged) == (10, 2, 2)
    assert found.ambiguous == 8, "four of the dead and four under way"


async def test_a_connection_lost_while_calls_begin_never_grants_more_and_loses_nothing(
    faults: Faults,
) -> None:
    """Each way to fail: not done; done, and the driver says so; done, and nobody knows."""
    database, plain = faults.leads.database, faults.plain.database
    await plain.drop_collection(COLLECTION)
    ours, other = usage(database, daily=100), usage(plain, daily=100)
    unconfirmed = {"code": 64, "errmsg": "waiting for replication timed out"}
    try:
        for how in (
            {"errorCode": 50},
            {"writeConcernError": unconfirmed},
            {"closeConnection": True},
        ):
            async with faults.fail("findAndModify", times=3, **how):
                answers = await asyncio.gather(
                    *(ours.begin("hunter", "hunter") for _ in range(30)), return_exceptions=True
                )
            for answer in answers:
                assert isinstance(answer, Begun | PyMongoError)
                if isinstance(answer, Begun):
                    ours.give_back(answer)
        granted = sum(map(len, await asyncio.gather(begin(ours, 70), begin(other, 70))))
        await asyncio.gather(flush(ours), flush(other))

        assert granted <= 100
        assert granted + len(await begin(ours, 70)) == 100, "nothing of the failures is left"
        assert (await row(plain)).begun == 100
    finally:
        await plain.drop_collection(COLLECTION)


async def test_a_begin_that_failed_after_it_was_done_is_given_back(faults: Faults) -> None:
    plain = faults.plain.database
    await plain.drop_collection(COLLECTION)
    ours = usage(faults.leads.database, daily=5)
    unconfirmed = {"code": 64, "errmsg": "waiting for replication timed out"}
    try:
        async with faults.fail("findAndModify", times=1, writeConcernError=unconfirmed):
            with pytest.raises(PyMongoError):
                await ours.begin("hunter", "hunter")
        assert (await row(plain)).spent == 1
        assert len(await begin(ours, 5)) == 5
        assert (await row(plain)).begun == 5
    finally:
        await plain.drop_collection(COLLECTION)


async def test_a_posting_that_is_carried_out_again_adds_and_grants_nothing(
    book: AsyncCollection[Document],
) -> None:
    """A write that a broken network delivered late, after others."""
    today = await today_of(book.database)
    postings = [Posting(number, today, {}, ("hunter",) * 3) for number in (1, 2)]
    budget = Budget(daily=10)

    async def carry_out(posting: Posting, writer: str = "ours") -> Document:
        await book.update_one({"_id": 1}, pipeline(posting, writer, budget), upsert=True)
        document = await book.find_one({"_id": 1})
        assert document is not None
        return document

    for posting in postings:
        await carry_out(posting)
    before = await carry_out(postings[0], "theirs")
    assert before["spent"] == 9
    for posting in postings:
        after = await carry_out(posting)
        assert (after["spent"], after["days"]) == (before["spent"], before["days"])
        assert after["writers"][-1]["number"] == 2
    assert (await carry_out(postings[1], "theirs"))["spent"] == 10
    assert (await carry_out(postings[1], "theirs"))["writers"][-1]["granted"] == 1


async def test_only_so_many_processes_are_remembered(book: AsyncCollection[Document]) -> None:
    today = await today_of(book.database)
    for number in range(105):
        posting = Posting(1, today, {})
        await book.update_one({"_id": 1}, pipeline(posting, f"{number}", Budget()), upsert=True)
    document = await book.find_one({"_id": 1})
    assert document is not None
    assert [writer["id"] for writer in document["writers"]] == [str(n) for n in range(5, 105)]


async def test_who_is_cancelled_while_it_begins_has_spent_nothing(faults: Faults) -> None:
    plain = faults.plain.database
    await plain.drop_collection(COLLECTION)
    ours = usage(faults.leads.database, daily=2)
    late = {"blockConnection": True, "blockTimeMS": int(300 * business())}
    try:
        async with (
            faults.fail("findAndModify", times=1, **late) as has_come,
            asyncio.TaskGroup() as group,
        ):
            lost = [group.create_task(ours.begin("hunter", "hunter")) for _ in range(2)]
            await has_come()
            for task in lost:
                task.cancel()
        async with running(ours):
            await eventually(lambda: begin(ours, 2), within=20)
        assert (await row(plain)).begun == 2
    finally:
        await plain.drop_collection(COLLECTION)


async def test_an_outage_is_waited_out_and_nothing_is_lost_or_counted_twice(
    faults: Faults,
) -> None:
    plain = faults.plain.database
    await plain.drop_collection(COLLECTION)
    ours = usage(faults.leads.database, daily=20)
    try:
        calls = await begin(ours, 20)
        with logged() as lines:
            async with running(ours):
                async with faults.fail("findAndModify", errorCode=50):
                    end(ours, calls[:5], charged=False)
                    end(ours, calls[5:])
                    ours.saved("hunter", "hunter", by="cache", calls=3)
                    await eventually(lambda: ours.outage.failures >= 3)
                    assert not ours.outage.is_over
                await eventually(lambda: ours.outage.is_over, within=20)
        assert [line.fields["loop"] for line in events(lines, "database.unavailable")][:1] == [
            "ledger"
        ]
        found = await row(plain)
        assert (found.settled, found.charged, found.spent) == (20, 15, 15)
        assert found.saved_by_cache == 3
    finally:
        await plain.drop_collection(COLLECTION)


# -- the loop --------------------------------------------------------------------------------


async def test_what_has_ended_is_written_within_moments(database: Database) -> None:
    ours = usage(database)
    async with running(ours):
        end(ours, await begin(ours, 3))
        await eventually(lambda: _has_settled(database, 3))


async def _has_settled(database: Database, calls: int) -> bool:
    return (await row(database)).settled == calls


async def test_a_stop_writes_what_is_left(database: Database) -> None:
    ours = usage(database)
    async with running(ours):
        end(ours, await begin(ours, 3))
        ours.saved("hunter", "hunter", by="cache")
        ours.saved("hunter", "hunter", by="coalescing")
    found = await row(database)
    assert (found.settled, found.charged, found.ambiguous) == (3, 3, 0)
    assert (found.saved_by_cache, found.saved_by_coalescing) == (1, 1)


async def test_a_stop_does_not_wait_for_ever_for_a_database_that_is_away(faults: Faults) -> None:
    ours = usage(faults.leads.database)
    try:
        calls = await begin(ours, 1)
        with logged() as lines:
            async with faults.fail("findAndModify", closeConnection=True):
                end(ours, calls)
                await flush(ours)
        assert len(events(lines, "ledger.not_written")) == 1
    finally:
        await faults.plain.database.drop_collection(COLLECTION)


@pytest.mark.parametrize("is_away", [True, False], ids=["database away", "database there"])
async def test_it_ends_when_it_is_cancelled_though_the_driver_swallows_that(
    faults: Faults, faulty_uri: str, is_away: bool
) -> None:
    commands = CancelsTheFirst("findAndModify")
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        faulty_uri, appname="enricher", timeoutMS=2_000, event_listeners=[commands]
    )
    async with client, AsyncExitStack() as stack:
        ours = usage(client[faults.leads.database.name])
        ours.lost("hunter", "hunter")
        if is_away:
            await stack.enter_async_context(faults.fail("findAndModify", closeConnection=True))
        work = asyncio.create_task(ours.run(asyncio.Event()))
        try:
            async with patience(10):
                await asyncio.wait([work])
        finally:
            work.cancel()
            await asyncio.wait([work])
    await faults.plain.database.drop_collection(COLLECTION)
    assert work.cancelled()


async def test_an_idle_ledger_asks_the_database_nothing(
    mongodb_uri: str, database: Database
) -> None:
    async with _watched(mongodb_uri, database) as (ours, commands):
        end(ours, await begin(ours, 1))
        await flush(ours)
        before = len(commands.sent)
        await flush(ours)
        assert len(commands.sent) == before


# -- blocks ----------------------------------------------------------------------------------


async def a_second_of(ours: Usage, calls: int) -> None:
    """As many calls as are made in a second, and what its loop then does."""
    end(ours, await begin(ours, calls))
    assert await ours._flush() == 0


async def in_blocks(book: AsyncCollection[Document]) -> int:
    [document] = await book.find().to_list()
    (of_day,) = document["days"].values()
    spent = sum(counts.get("spent", 0) for counts in of_day["providers"].values())
    assert spent == of_day["spent"] == document["spent"], "one sum, however it is added up"
    return int(of_day["providers"].get("in blocks", {}).get("spent", 0))


async def test_who_makes_many_calls_asks_the_database_once_a_second(
    mongodb_uri: str, database: Database, book: AsyncCollection[Document]
) -> None:
    async with _watched(mongodb_uri, database) as (ours, commands):
        for _ in range(3):
            await a_second_of(ours, 20)
        assert commands.names()[:2] == ["hello", "findAndModify"]
        before = len(commands.sent)
        for _ in range(20):
            end(ours, await begin(ours, 1))
        assert len(commands.sent) == before
        await ours._flush()
        assert commands.names()[before:] == ["findAndModify"]
    found = await row(database)
    assert (found.begun, found.settled, found.charged, found.ambiguous) == (80, 80, 80, 0)
    assert await in_blocks(book) == 30, "1.5 times what was called in the last second"
    (left, *_) = await usage(database, daily=1000).budgets()
    spent = sum(day.spent for day in await usage(database).days(1))
    assert left.left == 1000 - spent == 1000 - 110, "one sum for everybody who looks"


async def test_who_makes_few_calls_takes_none_ahead(
    database: Database, book: AsyncCollection[Document]
) -> None:
    ours = usage(database, daily=1000)
    for _ in range(3):
        await a_second_of(ours, 3)
    assert await in_blocks(book) == 0


@pytest.mark.parametrize("how", ["idle", "slower", "stopped"])
async def test_calls_taken_ahead_are_given_back_when_they_are_not_needed(
    database: Database, book: AsyncCollection[Document], how: str
) -> None:
    ours = usage(database, daily=1000)
    for _ in range(2):
        await a_second_of(ours, 40)
    assert await in_blocks(book) == 60
    if how == "stopped":
        await flush(ours)
    for _ in range(2):
        await a_second_of(ours, 0 if how == "idle" else 4)
    assert await in_blocks(book) == (6 if how == "slower" else 0)


async def test_near_the_end_of_a_budget_each_call_is_asked_for_and_the_last_can_be_had(
    fleet: list[Database],
) -> None:
    processes = [usage(database, daily=300) for database in fleet]
    made = 0
    for _ in range(60):
        for ours in processes:
            calls = await begin(ours, 7)
            end(ours, calls)
            made += len(calls)
            assert made <= 300
            await ours._flush()
    assert made == 300
    assert (await row(fleet[0])).spent == 300


async def test_a_process_that_dies_takes_at_most_its_block_with_it(database: Database) -> None:
    dead, other = usage(database, daily=400), usage(database, daily=400)
    for _ in range(2):
        await a_second_of(dead, 10)
    await begin(dead, 5)  # of its block, and it dies before they are written

    assert len(await begin(other, 400)) == 400 - 20 - 15


@pytest.mark.parametrize("late", [timedelta(), timedelta(days=1)], ids=["near its end", "later"])
async def test_a_block_is_for_its_own_day(
    database: Database, book: AsyncCollection[Document], late: timedelta
) -> None:
    ours = usage(database, daily=1000)
    await a_second_of(ours, 20)
    clock, today = ours._clock, await today_of(database)
    clock.heard(datetime.combine(today, datetime.max.time(), UTC) + late - timedelta(seconds=1))

    assert ours._account("hunter").ledger.take("hunter") is None
    assert len(await begin(ours, 2)) == 2, "the server knows better"


async def test_a_block_is_not_used_when_the_server_has_not_been_heard_for_long(
    database: Database,
) -> None:
    wall = 0.0
    ours = usage(database, daily=1000)
    ours._clock = clock = ServerClock(database.client, wall=lambda: wall)
    await a_second_of(ours, 20)
    assert ours._account("hunter").ledger.take("hunter") is not None
    wall += 3600  # the machine slept
    assert not clock.was_heard_lately
    assert ours._account("hunter").ledger.take("hunter") is None


async def test_a_block_whose_reply_was_lost_is_neither_lost_nor_had_twice(faults: Faults) -> None:
    plain = faults.plain.database
    await plain.drop_collection(COLLECTION)
    ours = usage(faults.leads.database, daily=1000)
    unconfirmed = {"code": 64, "errmsg": "waiting for replication timed out"}
    try:
        end(ours, await begin(ours, 20))
        async with faults.fail("findAndModify", times=1, writeConcernError=unconfirmed):
            assert await ours._flush() > 0
        assert await in_blocks(plain[COLLECTION]) == 30
        assert ours._account("hunter").ledger.take("hunter") is None, "not known yet"
        end(ours, await begin(ours, 1))
        assert (
            sum(ours._account("hunter").ledger.take("hunter") is not None for _ in range(40)) == 30
        )
    finally:
        await plain.drop_collection(COLLECTION)


async def test_without_a_budget_no_call_waits_for_the_ledger(
    mongodb_uri: str, database: Database
) -> None:
    async with _watched(mongodb_uri, database, daily=None) as (ours, commands):
        end(ours, await begin(ours, 1))
        before = len(commands.sent)
        for _ in range(50):
            end(ours, await begin(ours, 1))
        assert len(commands.sent) == before
        await flush(ours)
    found = await row(database)
    assert (found.begun, found.settled, found.spent) == (51, 51, 51)


async def test_a_call_that_a_dead_process_may_have_made_is_ambiguous(database: Database) -> None:
    ours = usage(database)
    end(ours, await begin(ours, 1))
    ours.lost("hunter", "hunter")
    await flush(ours)
    assert (await row(database)).ambiguous == 1


# -- raised budgets --------------------------------------------------------------------------


async def test_which_budgets_have_room_is_known_at_the_start(database: Database) -> None:
    before = usage(database, daily=2)
    assert len(await begin(before, 3)) == 2

    assert await before.with_room() == []
    assert await usage(database, daily=2).with_room() == []
    assert await usage(database, daily=1).with_room() == []
    assert await usage(database, daily=2, monthly=9).with_room() == []
    assert await usage(database, daily=3, monthly=2).with_room() == []
    assert await usage(database, daily=3).with_room() == ["hunter"]
    assert await usage(database).with_room() == ["hunter"]
    assert await Usage(database, {}, {}).with_room() == ["hunter"]

    after = usage(database, daily=3)
    assert len(await begin(after, 1)) == 1
    assert await usage(database, daily=3).with_room() == []


async def test_it_does_not_matter_who_wrote_last_with_which_budget(database: Database) -> None:
    """In a rolling restart a daemon with the old budget, and one with the new, write in turn."""
    old, new = usage(database, daily=2), usage(database, daily=5)
    await begin(old, 2)
    await begin(new, 1)
    assert await usage(database, daily=5).with_room() == ["hunter"]


async def test_a_month_that_was_used_up_can_be_raised_on_another_day(
    database: Database, book: AsyncCollection[Document]
) -> None:
    today = await today_of(database)
    assert len(await begin(usage(database, monthly=2), 3)) == 2
    await _set_back(book, -1 if today.day == 1 else 1)
    assert await usage(database, monthly=3).with_room() == ["hunter"]


# -- reading ---------------------------------------------------------------------------------


async def test_days_are_listed_latest_first_across_months(
    database: Database, book: AsyncCollection[Document]
) -> None:
    ours = usage(database)
    await begin(ours, 1)
    earlier = await _set_back(book, 40)
    await asyncio.gather(begin(ours, 2), begin(ours, 3, "hunter_company"))
    await ours.begin("clearbit", "clearbit")
    await flush(ours)

    today = await today_of(database)
    assert [(row.day, row.vendor, row.provider, row.begun) for row in await ours.days(41)] == [
        (today, "clearbit", "clearbit", 1),
        (today, "hunter", "hunter", 2),
        (today, "hunter", "hunter_company", 3),
        (earlier, "hunter", "hunter", 1),
    ]
    assert len(await ours.days(40)) == 3


async def test_a_provider_of_somebodys_may_have_any_name(database: Database) -> None:
    ours = usage(database)
    for provider in ("acme.com", "$acme"):
        assert isinstance(await ours.begin(provider, "hunter"), Begun)
    await flush(ours)
    assert [row.provider for row in await ours.days(1)] == ["_acme", "acme_com"]


# -- round trips -----------------------------------------------------------------------------


@asynccontextmanager
async def _watched(
    uri: str, database: Database, daily: int | None = 1000
) -> AsyncIterator[tuple[Usage, Commands]]:
    commands = Commands()
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        uri, tz_aware=True, event_listeners=[commands]
    )
    async with client:
        yield usage(client[database.name], daily), commands


async def test_many_at_once_share_one_round_trip_with_what_has_ended(
    mongodb_uri: str, database: Database
) -> None:
    async with _watched(mongodb_uri, database) as (ours, commands):
        calls = await begin(ours, 64)
        assert commands.names() == ["hello", "findAndModify"]
        end(ours, calls)
        assert len(await begin(ours, 64)) == 64
        assert commands.names()[2:] == ["findAndModify"]
    found = await row(database)
    assert (found.begun, found.settled) == (128, 64)


async def test_a_busy_month_stays_a_small_document(
    book: AsyncCollection[Document], database: Database
) -> None:
    """It is written for every batch of calls."""
    providers = [f"provider_{number}" for number in range(6)]
    today = (await today_of(database)).replace(day=1)
    ours = usage(database)
    note = partial(ours._account("hunter").ledger.note)
    for day in range(28):
        for provider in providers:
            note(
                provider,
                today + timedelta(days=day),
                begun=1000,
                settled=1000,
                charged=999,
                spent=999,
            )
    await flush(ours)
    [document] = await book.find().to_list()
    assert len(document["days"]) == 28
    sizes = await book.aggregate([{"$project": {"size": {"$bsonSize": "$$ROOT"}}}])
    assert (await sizes.to_list())[0]["size"] < 32_000


# -- what is left ----------------------------------------------------------------------------


async def test_what_is_left_of_a_budget_is_the_fleets(fleet: list[Database]) -> None:
    mine, others = usage(fleet[0], daily=10, monthly=50), usage(fleet[1], daily=10, monthly=50)
    assert [(each.period, each.limit, each.left) for each in await mine.budgets()] == [
        ("day", 10, 10),
        ("month", 50, 50),
    ]
    await begin(others, 4)
    assert [(each.vendor, each.left) for each in await mine.budgets()] == [
        ("hunter", 6),
        ("hunter", 46),
    ]


async def test_a_budget_that_was_lowered_below_what_is_spent_has_nothing_left(
    database: Database,
) -> None:
    await begin(usage(database, daily=5), 4)
    (left,) = await usage(database, daily=3).budgets()
    assert (left.limit, left.left) == (3, 0)


async def test_without_a_budget_nothing_is_left_to_tell(database: Database) -> None:
    assert await usage(database).budgets() == []
