"""What daemons tell of themselves, as MongoDB keeps it and others read it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.calls.breaker import Breaker, Circuit
from enricher.lead import Document, Inputs, Lead, Lease
from enricher.status.daemons import (
    COLLECTION,
    KEPT,
    Calls,
    Daemons,
    GateState,
    Presence,
    Report,
    SourceState,
    Teller,
)
from enricher.status.throughput import Activity, Ended, Minute, Times
from tests.support.faults import Faults
from tests.support.observing import logged
from tests.support.waiting import eventually

REPORT = Report(
    version="1.0",
    uptime_seconds=90.0,
    presence=Presence.WORKING,
    in_work=3,
    concurrency=64,
    is_stream_open=True,
    stream_lag_seconds=0.25,
    gates=(GateState("clearbit", Circuit.HALF_OPEN, True, 5, 40),),
)


@pytest.fixture
async def stored(
    ours: AsyncCollection[Document],
) -> AsyncIterator[AsyncCollection[Document]]:
    collection = ours.database[COLLECTION]
    yield collection
    await collection.drop()


@pytest.fixture
def daemons(ours: AsyncCollection[Document], stored: AsyncCollection[Document]) -> Daemons:
    return Daemons(ours.database, ours.name)


def _minute(**outcomes: int) -> Minute:
    return Minute(Counter(outcomes), Times(2, 3.0, 2.5), Times(1, 4.0, 4.0))


def _lease(id_: Any = 1) -> Lease:
    return Lease(Lead(id=id_, inputs=Inputs(), waited_seconds=0.5), 1, "c", 0.0)


async def test_what_a_daemon_tells_is_what_others_read(daemons: Daemons) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    ended = Ended(at, "42", "failed", 2, 1.5, None, "Nobody answered.")
    minutes = {29_000_000: _minute(completed=2), 29_000_001: _minute(failed=1)}
    assert not await daemons.tell("host:1:a", REPORT, minutes, last=[ended])
    [seen] = await daemons.seen()
    assert (seen.holder, seen.report, seen.last) == ("host:1:a", REPORT_AS_READ, [ended])
    assert seen.minutes == minutes
    assert seen.seen_at - seen.started_at == timedelta(seconds=90)
    assert abs(seen.seen_at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_daemon_of_an_earlier_version_finds_the_fields_that_it_knows_and_no_other(
    daemons: Daemons, stored: AsyncCollection[Document]
) -> None:
    await daemons.tell("host:1:a", REPORT, {})
    document = await stored.find_one({})
    assert document
    assert document["report"].keys() == {
        *("version", "uptime_seconds", "presence", "in_work", "concurrency", "is_stream_open"),
        *("stream_lag_seconds", "gates", "set_aside"),
        *("building_seconds", "are_indexes_coming", "on_record"),
    }


REPORT_AS_READ = Report(
    **{name: getattr(REPORT, name) for name in REPORT.__slots__ if name != "gates"},
    gates=list(REPORT.gates),
)


async def test_a_write_carries_what_has_changed_and_leaves_the_rest(daemons: Daemons) -> None:
    await daemons.tell("host:1:a", REPORT, {1: _minute(completed=1), 2: _minute(completed=2)})
    assert await daemons.tell("host:1:a", REPORT, {2: _minute(completed=5)}, dropped=[1])
    [seen] = await daemons.seen()
    assert seen.minutes == {2: _minute(completed=5)}


async def test_it_is_told_when_the_document_had_to_be_made_anew(
    daemons: Daemons, stored: AsyncCollection[Document]
) -> None:
    await daemons.tell("host:1:a", REPORT, {})
    assert await daemons.tell("host:1:a", REPORT, {})
    await stored.delete_many({})
    assert not await daemons.tell("host:1:a", REPORT, {})


async def test_only_daemons_of_this_collection_and_of_the_last_hour_are_seen(
    daemons: Daemons, ours: AsyncCollection[Document], stored: AsyncCollection[Document]
) -> None:
    await Daemons(ours.database, "others").tell("host:2:b", REPORT, {})
    await daemons.tell("host:1:a", REPORT, {})
    await daemons.tell("host:3:c", REPORT, {})
    long_ago = datetime.now(UTC) - KEPT - timedelta(minutes=1)
    await stored.update_one({"_id": "host:3:c"}, {"$set": {"seen_at": long_ago}})
    assert [each.holder for each in await daemons.seen()] == ["host:1:a"]


@pytest.mark.parametrize(
    "garbage",
    [
        {"report": {"version": "9.0", "mood": "good"}},
        {"report": None},
        {"minutes": {"x": 1}},
        {"last": [{"lead": 1}]},
        {"last": 5},
        {"minutes": {"1": {"outcomes": 1, "waited": [], "took": []}}},
    ],
)
async def test_a_daemon_that_writes_in_another_way_hides_nobody(
    daemons: Daemons, stored: AsyncCollection[Document], garbage: Document
) -> None:
    await daemons.tell("host:1:a", REPORT, {})
    await daemons.tell("host:2:b", REPORT, {})
    await stored.update_one({"_id": "host:2:b"}, {"$set": garbage})
    assert [each.holder for each in await daemons.seen()] == ["host:1:a"]


async def test_the_dead_are_removed_by_an_index(
    daemons: Daemons, stored: AsyncCollection[Document]
) -> None:
    await daemons.ensure()
    await daemons.ensure()
    index = (await stored.index_information())["dead"]
    assert (index["key"], index["expireAfterSeconds"]) == ([("seen_at", 1)], KEPT.total_seconds())


# -- the loop ------------------------------------------------------------------------------


class _Gate:
    """As much of a gate as is told of."""

    name = "clearbit"

    def __init__(self) -> None:
        self.breaker = Breaker(self.name)

    @property
    def circuit(self) -> Circuit:
        return self.breaker.circuit


def _teller(daemons: Daemons, activity: Activity | None = None, every: float = 0.02) -> Teller:
    gates: Any = [_Gate()]
    return Teller(
        daemons,
        "host:1:a",
        activity or Activity(daemons.clock.now),
        gates,
        lambda: [SourceState("leads", 0, is_stream_open=True, stream_lag_seconds=0.5)],
        every_seconds=every,
    )


async def test_a_daemon_tells_what_it_does_until_it_takes_its_leave(daemons: Daemons) -> None:
    teller, drained, stopping = _teller(daemons), asyncio.Event(), asyncio.Event()
    telling = asyncio.create_task(teller.run(drained, stopping))

    async def presence() -> Presence | None:
        seen = await daemons.seen()
        return seen[0].report.presence if seen else None

    async def is_told(number: int) -> bool:
        [seen] = await daemons.seen()
        return sum(each.outcomes.total() for each in seen.minutes.values()) == number

    async def is_now(wanted: Presence) -> bool:
        return await presence() is wanted

    await eventually(lambda: is_now(Presence.WORKING))
    teller.activity.note(_lease(), "completed", 1.0, {"score": 80})
    await eventually(lambda: is_told(1))
    stopping.set()
    await eventually(lambda: is_now(Presence.STOPPING))
    teller.activity.note(_lease(), "completed", 1.0, {"score": 80})
    drained.set()
    await telling
    assert await presence() is Presence.STOPPED
    assert await is_told(2), "the last word has it all"
    [seen] = await daemons.seen()
    assert [each.lead for each in seen.last] == ["1", "1"]


async def test_a_dropped_collection_is_filled_again_with_the_whole_hour(
    daemons: Daemons, stored: AsyncCollection[Document]
) -> None:
    activity = Activity(daemons.clock.now)
    teller, drained = _teller(daemons, activity), asyncio.Event()
    activity.note(_lease(), "completed", 1.0, {"score": 80})
    telling = asyncio.create_task(teller.run(drained, asyncio.Event()))
    try:
        await eventually(lambda: stored.find_one({"writes": {"$gt": 1}}))
        await stored.delete_many({})
        await eventually(lambda: stored.find_one({"minutes": {"$ne": {}}, "last.lead": "1"}))
    finally:
        drained.set()
        await telling


async def test_an_idle_daemon_tells_nothing_twice(
    daemons: Daemons, stored: AsyncCollection[Document]
) -> None:
    """Minutes and claims travel once, so that what is written of an idle daemon is small."""
    activity = Activity(daemons.clock.now)
    activity.note(_lease(), "completed", 1.0, {"score": 80})
    teller, drained = _teller(daemons, activity), asyncio.Event()
    telling = asyncio.create_task(teller.run(drained, asyncio.Event()))
    try:
        await eventually(lambda: stored.find_one({"writes": {"$gt": 3}}))
        await stored.update_one({}, {"$set": {"last": [], "minutes": {}}})
        found = await stored.find_one({})
        assert found is not None
        await eventually(lambda: stored.find_one({"writes": {"$gt": found["writes"] + 2}}))
        assert await stored.find_one({"last": [], "minutes": {}}) is not None
    finally:
        drained.set()
        await telling


async def test_an_outage_is_waited_out_and_nothing_of_it_is_lost(faults: Faults) -> None:
    daemons = Daemons(faults.leads.database, faults.leads.name)
    activity = Activity(daemons.clock.now)
    teller, drained = _teller(daemons, activity), asyncio.Event()
    async with faults.fail("findAndModify", errorCode=50):
        telling = asyncio.create_task(teller.run(drained, asyncio.Event()))
        activity.note(_lease(), "completed", 1.0, {"score": 80})
        await eventually(lambda: teller.outage.failures > 1)
    try:
        await eventually(lambda: _told(daemons, "completed"))
        await eventually(lambda: teller.outage.is_over)
    finally:
        drained.set()
        await telling
        await faults.plain.database.drop_collection(COLLECTION)


async def _told(daemons: Daemons, outcome: str) -> bool:
    return any(m.outcomes[outcome] for each in await daemons.seen() for m in each.minutes.values())


async def test_a_refused_privilege_is_said_once_and_is_no_outage(faults: Faults) -> None:
    teller = _teller(Daemons(faults.leads.database, faults.leads.name))
    with logged() as lines:
        async with faults.fail("findAndModify", errorCode=13):
            first, second = (
                await teller._tell(Presence.WORKING),
                await teller._tell(Presence.WORKING),
            )
    assert [line.event for line in lines] == ["presence.refused"]
    assert teller.outage.is_over
    assert min(first, second) >= 60
    await faults.plain.database.drop_collection(COLLECTION)


def test_calls_are_those_of_the_last_minute() -> None:
    now = 0.0
    calls = Calls(clock=lambda: now)
    assert calls.within_a_minute({"clearbit": 100.0}) == {"clearbit": 0}
    told = []
    for at, total in ((5.0, 110), (30.0, 130), (61.0, 140), (66.0, 140), (131.0, 140)):
        now = at
        told.append(calls.within_a_minute({"clearbit": total, "hunter": 1.0})["clearbit"])
    assert told == [10, 30, 40, 30, 0]
