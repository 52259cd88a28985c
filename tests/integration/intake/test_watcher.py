"""The watcher as a whole: whatever happens, every new lead is admitted, and no old one is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Timestamp
from pymongo import InsertOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from enricher.fields import NAMES
from enricher.intake.changes import Changes, fingerprint
from enricher.intake.checkpoints import COLLECTION, Checkpoints
from enricher.intake.history import History, collection_name
from enricher.intake.watcher import Waits, Watcher
from enricher.lead import Document, LeadId
from enricher.mongo import server
from enricher.queue import book
from enricher.queue.indexes import Building, Indexes
from enricher.queue.worker import Bell
from enricher.settings.load import WorkSettings
from tests.support.faults import Faults
from tests.support.observing import counted, events, logged
from tests.support.queueing import PAST, insert, queue, read
from tests.support.waiting import business, eventually, patience

pytestmark = pytest.mark.slow

INTERRUPTED, HISTORY_LOST = 11601, 286
LIMIT = 10_000


class Watching(Watcher):
    """With the event that tells it to stop."""

    stop: asyncio.Event


class SlowHistory(History):
    """Its search begins when the door is open."""

    def __init__(self, leads: AsyncCollection[Document]) -> None:
        super().__init__(leads)
        self.is_asked = asyncio.Event()
        self.door = asyncio.Event()

    async def newest(self) -> AsyncGenerator[list[LeadId], None]:
        await self._until_open()
        async for batch in super().newest():
            yield batch

    async def unadmitted(self) -> AsyncGenerator[list[LeadId], None]:
        await self._until_open()
        async for batch in super().unadmitted():
            yield batch

    async def _until_open(self) -> None:
        self.is_asked.set()
        await self.door.wait()


class LongHistory(SlowHistory):
    """To read all of it takes until the door is open."""

    newest = History.newest


class SlowRecord(SlowHistory):
    """Nothing is written down until the door is open."""

    async def record(self, *how: Any) -> int:
        self.is_asked.set()
        await self.door.wait()
        return await super().record(*how)


@asynccontextmanager
async def watching(
    leads: AsyncCollection[Document],
    history: History | None = None,
    stalled_seconds: float = 5.0,
    origin: Timestamp | None = None,
    **settings: Any,
) -> AsyncIterator[Watching]:
    """A watcher at work, told to stop at the end of the block, where it must obey soon."""
    watcher = Watching(
        Building(Indexes(leads), queue(leads), Bell()),
        changes=Changes(leads, wait_ms=100),
        checkpoints=Checkpoints(leads.database, leads.name, fingerprint(NAMES), origin),
        history=history or History(leads),
        settings=WorkSettings(**{"poll_seconds": 0.1} | settings),
        waits=Waits(start_search=0.1, stalled=stalled_seconds),
    )
    watcher.stop = asyncio.Event()
    task = asyncio.create_task(watcher.run(watcher.stop), name="watcher")
    try:
        yield watcher
    finally:
        watcher.stop.set()
        async with patience(5):
            await task


@asynccontextmanager
async def streaming(
    leads: AsyncCollection[Document], stalled_seconds: float = 5.0
) -> AsyncIterator[Watching]:
    """The same, once its stream is open and the history is known."""
    async with watching(leads, stalled_seconds=stalled_seconds) as watcher:
        await eventually(lambda: _is_reading(watcher))
        yield watcher


async def _is_reading(watcher: Watcher) -> bool:
    return watcher.changes.is_alive and (await watcher.checkpoints.begin()).history_known


async def checkpoint(leads: AsyncCollection[Document]) -> Document:
    return await leads.database[COLLECTION].find_one({"_id": leads.name}) or {}


async def admitted(leads: AsyncCollection[Document], *ids: LeadId) -> None:
    """Wait until all of these are pending with a priority."""
    ranked = {
        "_id": {"$in": ids},
        "enrichment_status": "pending",
        "enrichment.priority": {"$type": "number"},
    }

    async def are_all_there() -> bool:
        return await leads.count_documents(ranked) == len(ids)

    await eventually(are_all_there)


# -- what it sees ------------------------------------------------------------------------------


async def _insert_one(leads: AsyncCollection[Document]) -> None:
    await insert(leads)


async def _insert_with_a_null_status(leads: AsyncCollection[Document]) -> None:
    await insert(leads, enrichment_status=None)


async def _insert_as_pending(leads: AsyncCollection[Document]) -> None:
    await insert(leads, enrichment_status="pending")


async def _insert_many(leads: AsyncCollection[Document]) -> None:
    await leads.insert_many([{"_id": 1}, {"_id": 2}])


async def _bulk_write(leads: AsyncCollection[Document]) -> None:
    await leads.bulk_write([InsertOne({"_id": 1}), UpdateOne({"_id": 1}, {"$set": {"a": 1}})])


async def _upsert(leads: AsyncCollection[Document]) -> None:
    await leads.update_one({"_id": 1}, {"$set": {"email": "a@b.com"}}, upsert=True)


async def _replace_upsert(leads: AsyncCollection[Document]) -> None:
    await leads.replace_one({"_id": 1}, {"email": "a@b.com"}, upsert=True)


async def _transaction(leads: AsyncCollection[Document]) -> None:
    client = leads.database.client
    async with client.start_session() as session, await session.start_transaction():
        await leads.insert_one({"_id": 1}, session=session)


async def _replace(leads: AsyncCollection[Document]) -> None:
    await insert(leads, enrichment_status="completed")
    await leads.replace_one({"_id": 1}, {"email": "a@b.com"})


async def _ask_again(leads: AsyncCollection[Document]) -> None:
    await insert(leads, enrichment_status="completed", enrichment={"token": 1})
    await leads.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})


async def _merge(leads: AsyncCollection[Document]) -> None:
    source = leads.database[f"{leads.name}_source"]
    await source.insert_one({"_id": 1})
    await (await source.aggregate([{"$merge": {"into": leads.name}}])).to_list()
    await source.drop()


WRITERS = [
    _insert_one,
    _insert_with_a_null_status,
    _insert_as_pending,
    _insert_many,
    _bulk_write,
    _upsert,
    _replace_upsert,
    _transaction,
    _replace,
    _ask_again,
    _merge,
]


async def test_a_lead_is_admitted_within_a_second_however_it_was_written(
    fresh: AsyncCollection[Document],
) -> None:
    async with streaming(fresh) as watcher:
        for write in WRITERS:
            await fresh.delete_many({})
            await watcher.bell.wait(0)
            await write(fresh)
            async with patience(4):
                await watcher.bell.wait(600)
            await admitted(fresh, 1)


@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_lone_lead_is_announced_to_who_waits_and_admitted_when_it_is_not_taken(
    fresh: AsyncCollection[Document], *, is_taken: bool
) -> None:
    async with watching(fresh) as watcher:
        await eventually(lambda: watcher.admitter.known.searched)
        before = counted("enricher_leads_admitted_total", source="stream")
        await watcher.bell.wait(0)
        waiting = asyncio.create_task(watcher.bell.wait(60, lambda: True))
        await asyncio.sleep(0)
        await insert(fresh)
        assert not await waiting
        newcomer = watcher.bell.newcomer()
        assert newcomer
        assert newcomer.id == 1
        assert "enrichment_status" not in await read(fresh)
        newcomer.answer(is_taken=is_taken)
        await eventually(
            lambda: counted("enricher_leads_admitted_total", source="stream") == before + 1
        )
        assert watcher.bell.is_rung is not is_taken
        assert ("enrichment_status" in await read(fresh)) is not is_taken


async def test_ids_of_all_types_are_admitted(fresh: AsyncCollection[Document]) -> None:
    ids: list[LeadId] = ["text", 1, True, 1.5, None, {"a": 1}, b"bytes"]
    async with streaming(fresh):
        await fresh.insert_many([{"_id": id_} for id_ in ids])
        await admitted(fresh, *ids)


async def test_a_burst_is_admitted_and_the_inbox_stays_bounded(
    fresh: AsyncCollection[Document],
) -> None:
    longest = 0
    async with streaming(fresh) as watcher:
        for first in range(0, 20_000, 2_000):
            await fresh.insert_many([{"_id": id_} for id_ in range(first, first + 2_000)])
            longest = max(longest, len(watcher.admitter.inbox))

        async def are_all_there() -> bool:
            nonlocal longest
            longest = max(longest, len(watcher.admitter.inbox))
            return await fresh.count_documents({"enrichment_status": "pending"}) == 20_000

        await eventually(are_all_there, within=20)
    assert longest <= LIMIT


# -- the position ------------------------------------------------------------------------------


async def test_the_position_is_saved_soon_after_a_lead_was_admitted(
    fresh: AsyncCollection[Document],
) -> None:
    async with streaming(fresh):
        for lead in (1, 2):  # the other one comes right after the first one's position was saved
            before = (await checkpoint(fresh))["token"]
            await insert(fresh, lead)

            async def is_saved(before: object = before) -> bool:
                return bool((await checkpoint(fresh))["token"] != before)

            await eventually(is_saved, within=3)
        assert (await read(fresh))["enrichment_status"] == "pending"


async def test_the_position_is_saved_at_the_end(fresh: AsyncCollection[Document]) -> None:
    async with streaming(fresh) as watcher:
        await insert(fresh)
        await admitted(fresh, 1)
        await fresh.database["another"].insert_one({})
    assert (await checkpoint(fresh))["token"] == watcher.changes.token


async def test_what_was_inserted_while_it_was_down_is_admitted_by_the_next(
    fresh: AsyncCollection[Document],
) -> None:
    async with streaming(fresh):
        pass
    await fresh.insert_many([{"_id": id_} for id_ in range(50)])
    async with watching(fresh):
        await admitted(fresh, *range(50))


async def test_what_was_read_before_a_crash_is_read_again(faults: Faults) -> None:
    """The process dies between reading and admitting."""
    async with streaming(faults.leads):
        pass
    dying = asyncio.create_task(_watch_for_ever(faults.leads))
    async with faults.fail("update", errorCode=INTERRUPTED):
        await insert(faults.plain)
        await asyncio.sleep(0.5)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)

    async with watching(faults.leads):
        await admitted(faults.plain, 1)


async def _watch_for_ever(leads: AsyncCollection[Document]) -> None:
    async with watching(leads):
        await asyncio.Event().wait()


# -- history -----------------------------------------------------------------------------------


async def test_leads_that_stood_there_are_nobodys_work_until_a_user_asks(
    fresh: AsyncCollection[Document],
) -> None:
    await fresh.insert_many([{"_id": id_} for id_ in range(3)])
    async with streaming(fresh):
        await fresh.replace_one({"_id": 0}, {"email": "replaced@quokka-freight.com"})
        await fresh.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
        await insert(fresh, "new")
        await admitted(fresh, 1, "new")
    assert await fresh.count_documents({"_id": {"$in": [0, 2]}, "enrichment_status": None}) == 2


async def test_a_lead_inserted_in_the_middle_of_the_first_start_is_admitted(
    faults: Faults,
) -> None:
    """It may get on record with the history; its insert event tells the truth."""
    await insert(faults.plain, "old")
    block = faults.fail("aggregate", blockConnection=True, blockTimeMS=300)
    async with block, watching(faults.leads) as watcher:
        await eventually(lambda: watcher.changes.is_alive)
        await insert(faults.plain, "new")
        await admitted(faults.plain, "new")
    assert "enrichment_status" not in await read(faults.plain, "old")


# -- gaps --------------------------------------------------------------------------------------


async def test_leads_inserted_in_a_gap_are_found_and_the_history_is_left_alone(
    faults: Faults,
) -> None:
    await insert(faults.plain, "old")
    async with streaming(faults.leads):
        pass
    await insert(faults.plain, "missed")
    await insert(faults.plain, "asked for", enrichment_status="pending")
    await faults.plain.replace_one({"_id": "old"}, {"email": "replaced@quokka-freight.com"})

    async with losing_the_position(faults), watching(faults.leads):
        await admitted(faults.plain, "missed", "asked for")
        await insert(faults.plain, "new")
        await admitted(faults.plain, "new")

    assert "enrichment_status" not in await read(faults.plain, "old")


async def test_a_search_that_an_outage_interrupts_is_made_again(faults: Faults) -> None:
    """The stream is open by then, and going on from its position would miss the gap."""
    async with streaming(faults.leads):
        pass
    await insert(faults.plain, "missed")
    history = SlowHistory(faults.leads)

    async with losing_the_position(faults), watching(faults.leads, history) as watcher:
        await history.is_asked.wait()
        async with faults.fail("update", errorCode=INTERRUPTED):
            history.door.set()
            await eventually(lambda: watcher.search.outage.failures > 0)
        await admitted(faults.plain, "missed")


async def test_a_search_that_a_stop_interrupts_is_made_by_the_next(faults: Faults) -> None:
    async with streaming(faults.leads):
        pass
    token = (await checkpoint(faults.plain))["token"]
    await faults.plain.insert_many([{"_id": id_} for id_ in range(2500)])
    history = SlowHistory(faults.leads)

    async with losing_the_position(faults), watching(faults.leads, history) as watcher:
        await history.is_asked.wait()
        watcher.stop.set()
        history.door.set()

    assert (await checkpoint(faults.plain))["token"] == token
    assert await faults.plain.count_documents({"enrichment_status": None}) >= 1500
    async with losing_the_position(faults), watching(faults.leads):
        await admitted(faults.plain, *range(2500))


def losing_the_position(faults: Faults) -> AbstractAsyncContextManager[Any]:
    """The oplog no longer reaches back to the token, nor to the time."""
    return faults.fail("aggregate", times=2, errorCode=HISTORY_LOST)


async def test_an_event_that_is_too_large_holds_up_nothing(
    fresh: AsyncCollection[Document],
) -> None:
    huge = "x" * 8_000_000
    async with streaming(fresh):
        await insert(fresh, "before")
        await insert(fresh, huge)
        await insert(fresh, "after")
        await admitted(fresh, "before", "after")
        await insert(fresh, "later")
        await admitted(fresh, "later")
        await eventually(lambda: _has_moved_on(fresh), within=3)
    async with watching(fresh) as watcher:
        await eventually(lambda: watcher.changes.is_alive)
        await insert(fresh, "after a restart")
        await admitted(fresh, "after a restart")


async def _has_moved_on(leads: AsyncCollection[Document]) -> bool:
    return len((await checkpoint(leads))["token"]["_data"]) < 1000


# -- the collection comes and goes -------------------------------------------------------------


async def test_a_dropped_collection_is_watched_again_and_gets_its_indexes(
    fresh: AsyncCollection[Document],
) -> None:
    with logged() as lines:
        async with streaming(fresh):
            await insert(fresh)
            await admitted(fresh, 1)
            await fresh.drop()
            await eventually(lambda: bool(events(lines, "stream.ended")))
            assert fresh.name not in await fresh.database.list_collection_names()
            await insert(fresh, "new")
            await admitted(fresh, "new")
            await eventually(lambda: _has_indexes(fresh))
            await asyncio.sleep(0.5)
    assert len(events(lines, "stream.ended")) == 1


async def test_a_collection_that_takes_the_place_of_a_renamed_one_is_watched(
    fresh: AsyncCollection[Document],
) -> None:
    old = fresh.database[f"{fresh.name}_old"]
    async with streaming(fresh):
        await fresh.rename(old.name)
        await insert(fresh, "new")
        await admitted(fresh, "new")
        await eventually(lambda: _has_indexes(fresh))
    await old.drop()


async def _has_indexes(leads: AsyncCollection[Document]) -> bool:
    return await Indexes(leads).missing() == []


# -- outages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["$out", "a rename"])
async def test_leads_that_take_the_place_of_the_collection_are_found(
    fresh: AsyncCollection[Document], how: str
) -> None:
    """Of an insert of theirs the stream tells nothing."""
    staging = fresh.database[f"{fresh.name}_staging"]
    await staging.insert_many([{"_id": number} for number in range(20)])
    async with streaming(fresh) as watcher:
        await eventually(lambda: watcher.admitter.known.searched)
        if how == "$out":
            await (await staging.aggregate([{"$out": fresh.name}])).to_list()
        else:
            await staging.rename(fresh.name, dropTarget=True)
        await admitted(fresh, *range(20))
        await insert(fresh, "afterwards")
        await admitted(fresh, "afterwards")
    await staging.drop()


async def test_what_a_search_finds_by_the_thousands_waits_behind_new_leads(
    fresh: AsyncCollection[Document],
) -> None:
    """The first of them in their turn, or a gap of a few would wait behind every day's work."""
    many = fresh.database["many"]
    await many.insert_many([{"_id": number} for number in range(2500)])
    async with streaming(fresh):
        await many.rename(fresh.name, dropTarget=True)
        await eventually(lambda: _all_pending(fresh))
        await insert(fresh, "new")
        await admitted(fresh, "new")
    behind = {"enrichment.priority": {"$lte": book.BEHIND}}
    assert await fresh.count_documents(behind) == 1500
    assert (await read(fresh, "new"))["enrichment"]["priority"] > book.BEHIND


async def test_new_leads_go_on_while_the_collection_is_searched(faults: Faults) -> None:
    async with streaming(faults.leads):
        pass
    history = SlowHistory(faults.leads)
    async with watching(faults.leads, history) as watcher:
        await history.is_asked.wait()
        await insert(faults.plain, "new")
        await admitted(faults.plain, "new")
        assert not watcher.admitter.known.searched
        history.door.set()
        await eventually(lambda: watcher.admitter.known.searched)


async def test_what_a_gap_left_is_admitted_before_the_whole_collection_is_searched(
    faults: Faults,
) -> None:
    async with streaming(faults.leads):
        pass
    await insert(faults.plain, "missed")
    history = LongHistory(faults.leads)
    async with losing_the_position(faults), watching(faults.leads, history) as watcher:
        await history.is_asked.wait()
        await admitted(faults.plain, "missed")
        assert not watcher.admitter.known.searched
        history.door.set()
        await eventually(lambda: watcher.admitter.known.searched)


async def test_a_start_searches_unless_a_search_ended_within_the_hour(
    fresh: AsyncCollection[Document],
) -> None:
    async with watching(fresh) as watcher:
        await eventually(lambda: watcher.admitter.known.searched)
    assert "searched_at" not in await checkpoint(fresh), "of a first start the stream tells all"
    async with watching(fresh) as watcher:
        await eventually(lambda: watcher.admitter.known.searched)
    history = SlowHistory(fresh)
    async with watching(fresh, history) as watcher:
        await eventually(lambda: watcher.admitter.known.searched)
    assert not history.is_asked.is_set()
    old = {"$set": {"searched_at": datetime.now(UTC) - timedelta(hours=2)}}
    await fresh.database[COLLECTION].update_one({"_id": fresh.name}, old)
    async with watching(fresh, history):
        await history.is_asked.wait()
        history.door.set()


async def test_what_was_inserted_since_the_process_began_is_never_history(
    mongodb_uri: str, fresh: AsyncCollection[Document]
) -> None:
    """To prepare a large collection takes a while, and the stream is opened after that."""
    await insert(fresh, "old")
    async with server.connect(mongodb_uri, pool=1) as client:
        found = await server.inspect(client, fresh.database.name, fresh.name)
    await insert(fresh, "new")
    async with watching(fresh, origin=found.after):
        await admitted(fresh, "new")
        await eventually(lambda: _is_known(fresh))
    assert "enrichment_status" not in await read(fresh, "old")


async def _is_known(leads: AsyncCollection[Document]) -> bool:
    return "history_known" in await checkpoint(leads)


async def test_what_a_first_process_did_not_live_to_admit_is_not_history(
    mongodb_uri: str, fresh: AsyncCollection[Document]
) -> None:
    """It was killed when the history was on record, and before any position was saved."""
    await insert(fresh, "old")
    async with server.connect(mongodb_uri, pool=1) as client:
        found = await server.inspect(client, fresh.database.name, fresh.name)
    await insert(fresh, "new")
    killed = Checkpoints(fresh.database, fresh.name, fingerprint(NAMES), found.after)
    await killed.begin()
    await killed.history_is_known(await History(fresh).record())
    async with watching(fresh):
        await admitted(fresh, "new")
    assert "enrichment_status" not in await read(fresh, "old")


async def test_who_stood_there_in_work_is_history_to_a_version_that_takes_up_strays(
    fresh: AsyncCollection[Document],
) -> None:
    """The record is an earlier version's, which wrote down only leads without a status."""
    await insert(fresh, "foreign", enrichment_status="processing")
    await insert(fresh, "ours", enrichment_status="processing", enriched_at=PAST)
    await Checkpoints(fresh.database, fresh.name, fingerprint(NAMES)).begin()
    known = {"$set": {"history_known": True, "history_leads": 0}}
    await fresh.database[COLLECTION].update_one({"_id": fresh.name}, known)
    async with watching(fresh):
        await admitted(fresh, "ours")
    assert (await read(fresh, "foreign"))["enrichment_status"] == "processing"
    assert await History(fresh).without(["foreign", "ours"]) == ["ours"]


async def test_a_stream_that_begins_anew_keeps_no_lead_waiting_for_the_search(
    faults: Faults,
) -> None:
    async with streaming(faults.leads):
        pass
    history = SlowHistory(faults.leads)
    async with losing_the_position(faults), watching(faults.leads, history) as watcher:
        await history.is_asked.wait()
        opened = counted("enricher_stream_opens_total", start="token")
        async with faults.fail("getMore", times=1, errorCode=INTERRUPTED):
            await eventually(lambda: counted("enricher_stream_opens_total", start="token") > opened)
        await insert(faults.plain, "replaced", enrichment_status="completed")
        await faults.plain.replace_one({"_id": "replaced"}, {"email": "ada@quokka-freight.com"})
        await admitted(faults.plain, "replaced")
        assert watcher.admitter.known.searched < watcher.admitter.known.gap
        history.door.set()


async def test_a_lead_that_is_replaced_before_the_history_is_known_waits_for_it(
    faults: Faults,
) -> None:
    asking = {"email": "ada@quokka-freight.com", "enrichment_status": "pending"}
    await faults.plain.insert_many([{"_id": "old"}, {"_id": "asking"}])
    history = SlowRecord(faults.leads)
    async with watching(faults.leads, history) as watcher:
        await history.is_asked.wait()
        await faults.plain.replace_one({"_id": "old"}, {"email": "ada@quokka-freight.com"})
        await faults.plain.replace_one({"_id": "asking"}, asking)
        await insert(faults.plain, "new")
        await admitted(faults.plain, "new")
        assert len(watcher.admitter.replaced) == 2
        history.door.set()
        await admitted(faults.plain, "new", "asking")
    assert "enrichment_status" not in await read(faults.plain, "old")


async def test_leads_inserted_while_they_cannot_be_admitted_are_admitted_later(
    faults: Faults,
) -> None:
    async with streaming(faults.leads) as watcher:
        async with faults.fail("update", errorCode=INTERRUPTED):
            await faults.plain.insert_many([{"_id": id_} for id_ in range(20)])
            await eventually(lambda: watcher.admitter.outage.failures > 1)
        await admitted(faults.plain, *range(20))
        await eventually(lambda: watcher.admitter.outage.is_over)


async def test_an_outage_of_the_stream_loses_nothing(faults: Faults) -> None:
    async with streaming(faults.leads) as watcher:
        async with faults.fail("getMore", "aggregate", errorCode=INTERRUPTED):
            await faults.plain.insert_many([{"_id": id_} for id_ in range(20)])
            await eventually(lambda: watcher.reading.failures > 2)
        await admitted(faults.plain, *range(20))
        await eventually(lambda: watcher.reading.is_over)


async def test_leads_are_found_while_the_stream_alone_hangs(faults: Faults) -> None:
    await insert(faults.plain, "old")
    before = counted("enricher_leads_admitted_total", source="polling")
    async with streaming(faults.leads, stalled_seconds=0.5) as watcher:
        async with faults.fail("getMore", blockConnection=True, blockTimeMS=2000):
            await eventually(lambda: watcher._is_stalled)
            await insert(faults.plain, "new")
            await admitted(faults.plain, "new")
        assert counted("enricher_leads_admitted_total", source="polling") == before + 1
        await eventually(lambda: not watcher._is_stalled)
    assert "enrichment_status" not in await read(faults.plain, "old")


async def test_a_first_start_whose_stream_hangs_leaves_the_history_alone(faults: Faults) -> None:
    await insert(faults.plain, "old")
    block = faults.fail("aggregate", times=1, blockConnection=True, blockTimeMS=1500)
    async with block, watching(faults.leads, stalled_seconds=0.1) as watcher:
        await eventually(lambda: _knows_history(watcher))
        await insert(faults.plain, "new")
        await admitted(faults.plain, "new")
    assert "enrichment_status" not in await read(faults.plain, "old")


async def test_it_waits_for_a_database_that_is_not_there_at_the_start(faults: Faults) -> None:
    commands = ("findAndModify", "aggregate", "find", "update")
    async with watching(faults.leads) as watcher:
        async with faults.fail(*commands, errorCode=INTERRUPTED):
            await eventually(lambda: watcher.reading.failures > 2)
        await eventually(lambda: _is_reading(watcher))
        await insert(faults.plain)
        await admitted(faults.plain, 1)


async def test_a_full_inbox_stops_the_reader_and_a_stop_is_obeyed_all_the_same(
    faults: Faults,
) -> None:
    async with AsyncExitStack() as outage, streaming(faults.leads) as watcher:
        await outage.enter_async_context(faults.fail("update", errorCode=INTERRUPTED))
        for _ in range(3):
            await faults.plain.insert_many([{} for _ in range(5000)])
        await eventually(lambda: len(watcher.admitter.inbox) >= LIMIT)
        assert len(watcher.admitter.inbox) == LIMIT
    async with watching(faults.leads):
        await eventually(lambda: _all_pending(faults.plain), within=15)


async def _all_pending(leads: AsyncCollection[Document]) -> bool:
    return await leads.find_one({"enrichment_status": None}) is None


# -- without a stream --------------------------------------------------------------------------


@asynccontextmanager
async def _standalone(uri: str) -> AsyncIterator[AsyncCollection[Document]]:
    async with server.connect(uri, pool=8) as client:
        leads = client["crm"][f"leads_{time.monotonic_ns()}"]
        yield leads
        await leads.drop()


async def test_a_standalone_server_is_polled(standalone_uri: str) -> None:
    async with _standalone(standalone_uri) as leads:
        await insert(leads, "old")
        with logged() as lines:
            async with watching(leads) as watcher:
                await eventually(lambda: _knows_history(watcher))
                await insert(leads, "new", temperature="hot")
                await insert(leads, "asked for", enrichment_status="pending")
                await admitted(leads, "new", "asked for")
                await insert(leads, "later")
                await admitted(leads, "later")
        assert "enrichment_status" not in await read(leads, "old")
        assert (await read(leads, "new"))["enrichment"]["priority"] == 3
        assert len(events(lines, "stream.unavailable")) == 1
        assert "token" not in await checkpoint(leads)


async def test_what_was_inserted_on_a_standalone_server_while_it_was_down_is_found(
    standalone_uri: str,
) -> None:
    async with _standalone(standalone_uri) as leads:
        async with watching(leads) as watcher:
            await eventually(lambda: _knows_history(watcher))
        await insert(leads)
        async with watching(leads):
            await admitted(leads, 1)


async def test_a_stream_can_be_turned_off(fresh: AsyncCollection[Document]) -> None:
    before = counted("enricher_stream_events_total")
    async with watching(fresh, stream=False) as watcher:
        await eventually(lambda: _knows_history(watcher))
        await insert(fresh)
        await admitted(fresh, 1)
    assert counted("enricher_stream_events_total") == before


async def test_leads_that_polling_left_behind_are_found_when_the_stream_is_turned_on(
    faults: Faults,
) -> None:
    async with watching(faults.leads, stream=False) as watcher:
        await eventually(lambda: _knows_history(watcher))
    await insert(faults.plain, "missed")
    async with watching(faults.leads):
        await admitted(faults.plain, "missed")


async def test_history_whose_record_was_dropped_stays_history(
    fresh: AsyncCollection[Document],
) -> None:
    await insert(fresh, "old")
    async with watching(fresh, stream=False) as watcher:
        await eventually(lambda: _knows_history(watcher))
    await fresh.database.drop_collection(collection_name(fresh.name))
    with logged() as lines:
        async with watching(fresh, stream=False) as watcher:
            await eventually(lambda: events(lines, "history.recorded"))
            await insert(fresh, "new")
            await admitted(fresh, "new")
    assert len(events(lines, "history.lost")) == 1
    assert "enrichment_status" not in await read(fresh, "old")


async def test_a_start_whose_checkpoint_was_dropped_is_a_first_one_and_costs_nothing(
    fresh: AsyncCollection[Document],
) -> None:
    """Whether the record of the history was ever finished, only the checkpoint tells."""
    await insert(fresh, "old")
    async with streaming(fresh):
        pass
    await insert(fresh, "meanwhile")
    await fresh.database.drop_collection(COLLECTION)
    async with streaming(fresh):
        await insert(fresh, "new")
        await admitted(fresh, "new")
    assert "enrichment_status" not in await read(fresh, "old")
    assert "enrichment_status" not in await read(fresh, "meanwhile")


async def _knows_history(watcher: Watcher) -> bool:
    return (await watcher.checkpoints.begin()).history_known


# -- stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "polling"])
async def test_it_stops_while_the_history_is_written_down(
    fresh: AsyncCollection[Document], *, stream: bool
) -> None:
    history = SlowRecord(fresh)
    async with watching(fresh, history, stream=stream):
        await history.is_asked.wait()
    assert not await _is_known(fresh)


@pytest.mark.parametrize("after", [0.0, 0.05, 0.3])
async def test_it_stops_whenever_it_is_told_to(
    fresh: AsyncCollection[Document], after: float
) -> None:
    began = time.monotonic()
    async with watching(fresh):
        await asyncio.sleep(after)
    assert time.monotonic() - began < after + 10 * business()
