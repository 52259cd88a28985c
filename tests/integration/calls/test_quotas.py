"""Plan quotas: so many leads of an account a month, each counted once, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from enricher.calls import quotas
from enricher.calls.ledger import COLLECTION, INDEX, Usage
from enricher.lead import Document, Subject
from enricher.mongo import server
from tests.support.faults import Faults
from tests.support.queueing import Commands
from tests.support.waiting import eventually

Database = AsyncDatabase[Document]
NEVER = datetime.max.replace(tzinfo=UTC)
QUOTAS = {"free": 10, "team": 15, "none": 0}


@pytest.fixture
async def book(database: Database) -> AsyncCollection[Document]:
    return database[COLLECTION]


@pytest.fixture
async def fleet(mongodb_uri: str, database: Database) -> AsyncIterator[list[Usage]]:
    """Three processes with clients of their own."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(server.connect(mongodb_uri, pool=8)) for _ in range(3)
        ]
        yield [usage(client[database.name]) for client in clients]


def usage(database: Database) -> Usage:
    return Usage(database, {}, QUOTAS)


async def admitted(usage: Usage, account: object, leads: range, plan: str = "free") -> list[int]:
    """All at once; the leads that are."""
    verdicts = await asyncio.gather(*(usage.admit(account, plan, lead) for lead in leads))
    return [lead for lead, is_admitted in zip(leads, verdicts, strict=True) if is_admitted]


async def test_an_account_has_so_many_leads_a_month(database: Database) -> None:
    ours = usage(database)
    assert [await ours.admit("acme", "free", lead) for lead in range(12)] == [
        *[True] * 10,
        *[False] * 2,
    ]
    assert await ours.admit("other", "free", 1)


ADA, BOB = Subject("ada", "acme"), Subject("bob", "acme")


async def test_each_subject_of_a_lead_counts_and_counts_once(database: Database) -> None:
    ours = usage(database)
    subjects = [Subject(str(number), "acme") for number in range(30)]
    for _ in range(2):
        verdicts = [await ours.admit("acme", "free", 1, subject) for subject in subjects]
        assert verdicts == [True] * 10 + [False] * 20


@pytest.mark.parametrize(
    ("other", "left"),
    [
        ((1, Subject("ada", "acme")), 9),
        ((1, Subject("ada", "other")), 8),
        ((1, Subject("ada", None)), 8),
        ((1, Subject(None, "acme")), 8),
        ((1, Subject()), 8),
        ((2, Subject("ada", "acme")), 8),
        (("1", Subject("ada", "acme")), 8),
        (([1, "ada", "acme"], Subject()), 8),
    ],
    ids=str,
)
async def test_a_count_is_of_a_lead_and_a_subject(
    database: Database, other: tuple[object, Subject], left: int
) -> None:
    ours = usage(database)
    assert await ours.admit("acme", "free", 1, ADA)
    assert await ours.admit("acme", "free", *other)
    assert len(await admitted(ours, "acme", range(100, 120))) == left


async def test_what_an_older_version_counted_keeps_its_place_and_no_more(
    database: Database, book: AsyncCollection[Document]
) -> None:
    ours = usage(database)
    await ours.admit("acme", "free", 0)  # makes the document
    counted = [quotas._hash(number) for number in range(10)]
    await book.update_one({}, {"$set": {"leads": counted}})
    again = usage(database)
    assert not await again.admit("acme", "free", 10, ADA), "the month's leads are used up"
    verdicts = await asyncio.gather(*(again.admit("acme", "free", 1, each) for each in (ADA, BOB)))
    assert sorted(verdicts) == [False, True]
    assert [await again.admit("acme", "free", number, ADA) for number in range(2, 10)] == [True] * 8
    assert not await again.admit("acme", "free", 5, BOB)
    stored = await book.find_one({})
    assert stored is not None
    assert len(stored["leads"]) == 10
    assert set(stored) == {"_id", "month", "leads", "expires_at"}


async def test_three_processes_at_once_admit_exactly_the_quota(fleet: list[Usage]) -> None:
    found = await asyncio.gather(
        *(
            admitted(process, "acme", range(100 * number, 100 * number + 20))
            for number, process in enumerate(fleet)
        )
    )
    assert sum(map(len, found)) == 10


async def test_a_lead_counts_once_however_often_and_wherever_it_is_asked_for(
    fleet: list[Usage], database: Database
) -> None:
    for _ in range(3):
        found = await asyncio.gather(*(admitted(process, "acme", range(10)) for process in fleet))
        assert found == [list(range(10))] * 3
    again = usage(database)  # a process that was started after a crash
    assert await admitted(again, "acme", range(5, 15)) == list(range(5, 10))


async def test_a_month_begins_with_a_full_quota(
    database: Database, book: AsyncCollection[Document]
) -> None:
    ours = usage(database)
    assert len(await admitted(ours, "acme", range(12))) == 10
    await book.update_one({}, {"$set": {"month": "2026-01"}})
    assert len(await admitted(ours, "acme", range(20, 32))) == 10
    assert await book.count_documents({}) == 1, "last month's leads are not kept"


async def test_a_month_that_has_begun_stays_when_the_next_primarys_clock_is_behind(
    database: Database, book: AsyncCollection[Document]
) -> None:
    """But a date of no sense is not kept: nobody would ever get a new month."""
    ours = usage(database)
    assert len(await admitted(ours, "acme", range(10))) == 10
    await book.update_one({}, {"$set": {"month": "2999-01"}})
    assert await ours.admit("acme", "free", 11)


async def test_an_accounts_document_goes_a_month_after_its_own(
    database: Database, book: AsyncCollection[Document]
) -> None:
    """Not sooner: an older version that takes it over for the next month knows no end of it."""
    ours = usage(database)
    await ours.ensure()
    await ours.ensure()
    index = (await book.index_information())[INDEX]
    assert (index["key"], index["expireAfterSeconds"]) == ([("expires_at", 1)], 0)
    await admitted(ours, "acme", range(3))
    document = await book.find_one({"_id": {"$regex": "^quota/"}})
    assert document is not None
    assert document["expires_at"] == months_after(document["month"], 2)


def months_after(month: str, months: int) -> datetime:
    year, number = map(int, month.split("-"))
    total = year * 12 + number - 1 + months
    return datetime(total // 12, total % 12 + 1, 1, tzinfo=UTC)


async def test_documents_of_an_older_version_get_an_end_and_what_is_counted_stays(
    database: Database, book: AsyncCollection[Document]
) -> None:
    """Ledgers are kept for good, and what is none of ours is left alone."""
    ours = usage(database)
    assert len(await admitted(ours, "acme", range(10))) == 10
    await book.update_many({}, {"$unset": {"expires_at": 1}})
    this_month = (await book.find_one({}) or {})["month"]
    old: list[Document] = [
        {"_id": "quota/one", "month": "2020-01", "leads": [b"x"]},
        {"_id": "quota/two", "month": "no month", "leads": []},
        {"_id": "quota/three"},
        {"_id": "quota/four", "month": 7, "leads": "x"},
    ]
    await book.insert_many([*old, {"_id": "ledger/2020-01/hunter", "spent": 3}])
    stop = asyncio.Event()
    running = asyncio.create_task(ours.run(stop))

    async def all_have_an_end() -> bool:
        lacking = {"_id": {"$regex": "^quota/"}, "expires_at": None}
        return await book.count_documents(lacking) == 0

    await eventually(all_have_an_end)
    stop.set()
    await running
    ends = {each["_id"]: each.get("expires_at") async for each in book.find({})}
    assert ends["quota/one"] == datetime(2020, 3, 1, tzinfo=UTC)
    assert ends["ledger/2020-01/hunter"] is None
    for name in ("quota/two", "quota/three", "quota/four"):
        assert datetime.now(UTC) < (ends[name] or NEVER) < NEVER, "it is not known to be old"
    again = usage(database)
    assert not await again.admit("acme", "free", 11), "the month's leads are used up"
    document = await book.find_one({"month": this_month})
    assert document is not None
    assert len(document["leads"]) == 10


async def test_a_plan_without_a_quota_and_a_lead_without_a_plan_are_not_limited(
    database: Database, book: AsyncCollection[Document]
) -> None:
    ours = usage(database)
    assert len(await admitted(ours, "acme", range(30), plan="enterprise")) == 30
    assert all([await ours.admit("acme", None, lead) for lead in range(30)])
    assert await book.count_documents({}) == 0, "and cost no round trip"


async def test_a_quota_of_none_admits_nobody(database: Database) -> None:
    assert await admitted(usage(database), "acme", range(3), plan="none") == []


async def test_the_spelling_of_a_plan_is_no_way_around_its_quota(database: Database) -> None:
    ours = usage(database)
    assert len(await admitted(ours, "acme", range(10))) == 10
    assert not await ours.admit("acme", " FREE ", 11)


async def test_plans_of_one_account_count_the_same_leads(database: Database) -> None:
    """An account that changes to a larger plan has what is left of that."""
    ours = usage(database)
    assert len(await admitted(ours, "acme", range(12))) == 10
    verdicts = await asyncio.gather(
        *(ours.admit("acme", "team", lead) for lead in range(20, 30)),
        *(ours.admit("acme", "free", lead) for lead in range(30, 40)),
    )
    assert sum(verdicts) == 5
    assert await admitted(ours, "acme", range(10)) == list(range(10))


async def test_leads_without_an_account_count_together(database: Database) -> None:
    """To leave it out must be no way around the quota."""
    ours = usage(database)
    assert len(await admitted(ours, None, range(12))) == 10
    assert await ours.admit("acme", "free", 11)


@pytest.mark.parametrize(
    "account",
    [
        *("", "a" * 100_000, "ada@quokka-freight.com", 7, True, 1.5, float("nan"), -(2**63)),
        *(ObjectId(), Decimal128("7"), b"\0", {"a": {"$b.c": 1}}, [1, [2]], bson.MaxKey()),
        *("$account", bson.Regex("a"), bson.Code("x")),
    ],
    ids=lambda account: type(account).__name__,
)
async def test_an_account_may_be_of_any_type(database: Database, account: Any) -> None:
    ours = usage(database)
    assert len(await admitted(ours, account, range(12))) == 10
    assert not await ours.admit(account, "free", 11)
    assert await ours.admit("another", "free", 11)


async def test_a_number_is_the_same_account_whichever_driver_wrote_it(database: Database) -> None:
    ours = usage(database)
    assert len(await admitted(ours, 7, range(10))) == 10
    for account in (Int64(7), 7.0):
        assert not await ours.admit(account, "free", 11)
    assert await ours.admit("7", "free", 11)
    assert await ours.admit(True, "free", 11)


async def test_the_id_of_a_lead_may_be_of_any_type(database: Database) -> None:
    ours = usage(database)
    ids: list[Any] = ["$lead", None, 1, True, {"a": 1}, b"x", ObjectId(), 1.5, "", [1]]
    for _ in range(2):
        assert all([await ours.admit("acme", "free", id_) for id_ in ids])
    assert not await ours.admit("acme", "free", 2)


async def test_nothing_readable_is_stored(
    database: Database, book: AsyncCollection[Document]
) -> None:
    await usage(database).admit("owner@quokka-freight.com", "free", "ada@quokka-freight.com")
    stored = repr(await book.find().to_list())
    assert "quokka" not in stored
    assert "free" not in stored


async def test_many_accounts_at_once_share_two_round_trips(
    mongodb_uri: str, database: Database
) -> None:
    commands = Commands()
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        ours = usage(client[database.name])
        verdicts = await asyncio.gather(*(ours.admit(n % 32, "free", n) for n in range(64)))
        names = commands.names()
    assert verdicts == [True] * 64
    assert names == ["update", "find"]


async def test_a_connection_lost_while_leads_are_counted_counts_none_twice(faults: Faults) -> None:
    plain = faults.plain.database
    await plain.drop_collection(COLLECTION)
    ours = usage(faults.leads.database)
    try:
        unconfirmed = {"code": 64, "errmsg": "waiting for replication timed out"}
        for command, how in (
            ("update", {"errorCode": 50}),
            ("update", {"writeConcernError": unconfirmed}),
            ("find", {"errorCode": 50}),
        ):
            async with faults.fail(command, times=1, **how):
                with pytest.raises(PyMongoError):
                    await ours.admit("acme", "free", 1)
            assert await ours.admit("acme", "free", 1)
        assert len(await admitted(ours, "acme", range(2, 20))) == 9
    finally:
        await plain.drop_collection(COLLECTION)
