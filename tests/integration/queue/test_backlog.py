"""What stands in the queue, counted without reading the leads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.datetime_ms import DatetimeMS
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.errors import ExitCode
from enricher.fields import NAMES
from enricher.lead import Document, Status
from enricher.queue import backlog, book
from enricher.queue.backlog import Lane, Queue
from tests.support.faults import Faults
from tests.support.processes import Daemon
from tests.support.queueing import FUTURE, HOUR, PAST
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

PROVIDERS = ("clearbit", "hunter")
BEHIND = book.BEHIND - 1


def pending(since: object = PAST, priority: object = 0) -> Document:
    return {
        "enrichment_status": "pending",
        "enrichment": {"queued_at": since, "priority": priority},
    }


def due(status: str, at: object, **book_keeping: Any) -> Document:
    return {"enrichment_status": status, "enrichment": {"due_at": at, **book_keeping}}


async def test_an_empty_collection_has_no_backlog(ours: AsyncCollection[Document]) -> None:
    found = await backlog.look(ours, PROVIDERS)
    assert dict(found.lanes) == dict.fromkeys(Lane, Queue())
    assert (found.work, found.pending, found.processing, found.retrying) == (0, 0, 0, 0)
    assert found.parked == {"clearbit": 0, "hunter": 0}
    assert abs(found.at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_each_lead_that_is_work_counts_in_its_lane_with_the_oldest_date(
    ours: AsyncCollection[Document],
) -> None:
    await ours.insert_many(
        [
            pending(PAST),
            pending(PAST - HOUR, priority=3),
            pending(PAST - 9 * HOUR, priority=BEHIND),
            pending(PAST - 5 * HOUR, priority=BEHIND),
            due("retrying", PAST - 2 * HOUR),
            due("retrying", FUTURE),
            due("processing", PAST - 3 * HOUR),
            due("processing", FUTURE),
            due("completed", PAST - 4 * HOUR),
            due("completed", FUTURE),
            {"enrichment_status": "skipped"},
            {},
        ]
    )
    found = await backlog.look(ours)
    assert dict(found.lanes) == {
        Lane.FRESH: Queue(2, PAST - HOUR),
        Lane.BACKFILL: Queue(2, PAST - 9 * HOUR),
        Lane.RETRY: Queue(1, PAST - 2 * HOUR),
        Lane.INTERRUPTED: Queue(1, PAST - 3 * HOUR),
        Lane.REFRESH: Queue(1, PAST - 4 * HOUR),
    }
    assert (found.work, found.pending, found.processing, found.retrying) == (7, 4, 2, 2)
    assert found.age_seconds(Lane.FRESH) == (found.at - PAST + HOUR).total_seconds()


async def test_a_lead_that_waits_for_two_providers_counts_for_both(
    ours: AsyncCollection[Document],
) -> None:
    await ours.insert_many(
        [
            due("retrying", FUTURE, held_by=["hunter"]),
            due("retrying", FUTURE, held_by=["hunter", "clearbit"]),
            due("retrying", FUTURE),
            due("completed", FUTURE, held_by=["clearbit"]),
        ]
    )
    found = await backlog.look(ours, PROVIDERS)
    assert found.parked == {"clearbit": 1, "hunter": 2}
    assert found.retrying == 3


@pytest.mark.parametrize("garbage", [None, "soon", float("nan"), ["x"], {"x": 1}, 5, True])
async def test_garbage_in_the_book_keeping_is_counted_and_breaks_nothing(
    ours: AsyncCollection[Document], garbage: object
) -> None:
    await ours.insert_many(
        [
            pending(since=garbage),
            pending(priority=garbage, since=None),
            {"enrichment_status": "pending", "enrichment": garbage},
            {"enrichment_status": "retrying", "enrichment": {"due_at": garbage}},
            {"enrichment_status": "retrying", "enrichment": {"held_by": garbage}},
        ]
    )
    found = await backlog.look(ours, PROVIDERS)
    assert found.pending == 3
    assert all(queue.since is None for queue in found.lanes.values())


@pytest.mark.parametrize(
    "forged",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 2, tzinfo=UTC),
        PAST - timedelta(days=400),
        datetime(9999, 12, 31, tzinfo=UTC),
        DatetimeMS(-(2**63)),
        DatetimeMS(2**63 - 1),
        "yesterday",
    ],
    ids=str,
)
async def test_no_lead_has_waited_since_a_date_that_is_invented(
    ours: AsyncCollection[Document], forged: object
) -> None:
    """It counts, and the age of the oldest is that of an honest one."""
    honest = [pending(PAST), pending(PAST - HOUR, priority=BEHIND)]
    honest += [due(status, PAST) for status in ("retrying", "processing", "completed")]
    forgeries = [pending(since=forged), pending(since=forged, priority=BEHIND)]
    forgeries += [due(status, forged) for status in ("retrying", "processing", "completed")]
    await ours.insert_many([*honest, *forgeries])
    found = await backlog.look(ours)
    assert found.pending == 4
    since = {lane: queue.since for lane, queue in found.lanes.items()}
    assert since == dict.fromkeys(Lane, PAST) | {Lane.BACKFILL: PAST - HOUR}


async def test_leads_that_ended_are_counted_by_status(ours: AsyncCollection[Document]) -> None:
    ends = {"failed": 1, "skipped": 2, "completed": 3, None: 4, "pending": 1}
    await ours.insert_many(
        [{"enrichment_status": status} for status, leads in ends.items() for _ in range(leads)]
    )
    await ours.insert_one({})
    found, open_ = await backlog.ended(ours), await backlog.look(ours)
    assert found is not None
    assert (found.total, found.failed, found.skipped, found.without_status) == (12, 1, 2, 5)
    assert found.completed(open_) == 3


async def test_a_look_reads_no_lead_and_no_key_of_a_lead_that_is_not_work(
    fresh: AsyncCollection[Document],
) -> None:
    await _settle_many(fresh, 100)
    await fresh.insert_many([pending(), due("retrying", PAST, held_by=["hunter"])])
    few = await _examined(fresh, backlog._questions(NAMES, datetime.now(UTC), PROVIDERS).values())
    await _settle_many(fresh, 2_000)
    many = await _examined(fresh, backlog._questions(NAMES, datetime.now(UTC), PROVIDERS).values())
    assert many == few
    assert few["docs"] <= 6, "the oldest of each lane, and the leads of a backfill"
    assert few["keys"] <= 30


async def test_counting_what_ended_reads_keys_of_neither_work_nor_completed_leads(
    fresh: AsyncCollection[Document],
) -> None:
    await fresh.insert_many([due("completed", FUTURE) for _ in range(1_000)])
    await fresh.insert_many([pending() for _ in range(50)])
    await fresh.insert_many([{"enrichment_status": "failed"}, {"enrichment_status": "skipped"}])
    ended: list[list[Document]] = [
        backlog._count("", {"enrichment_status": status})
        for status in (Status.FAILED, Status.SKIPPED, None)
    ]
    examined = await _examined(fresh, ended)
    assert examined["docs"] == 0
    assert examined["keys"] <= 10


async def test_a_look_that_takes_too_long_is_given_up(faults: Faults) -> None:
    await faults.plain.insert_one(pending())
    async with faults.fail("aggregate", blockConnection=True, blockTimeMS=2_500):
        with pytest.raises(PyMongoError) as caught:
            await backlog.look(faults.leads)
    assert caught.value.timeout


async def test_nothing_is_counted_beyond_a_limit_and_that_is_told(
    ours: AsyncCollection[Document],
) -> None:
    await ours.insert_many(
        [pending() for _ in range(7)] + [pending(priority=BEHIND) for _ in range(6)]
    )
    await ours.insert_many([due("retrying", PAST, held_by=["hunter"]) for _ in range(5)])
    await ours.insert_many([due("processing", FUTURE) for _ in range(4)])
    found = await backlog.look(ours, PROVIDERS, most=3)
    leads = {lane: queue.leads for lane, queue in found.lanes.items() if queue.leads}
    assert leads == {Lane.FRESH: 4, Lane.BACKFILL: 4, Lane.RETRY: 4}
    assert (found.most, found.processing, found.retrying) == (3, 4, 4)
    assert found.parked == {"clearbit": 0, "hunter": 4}
    assert found.age_seconds(Lane.FRESH) > 0
    ended = await backlog.ended(ours)
    assert ended is not None
    assert ended.completed(found) is None
    assert ended.completed(await backlog.look(ours, PROVIDERS, most=7)) == 0


async def test_where_counting_takes_too_long_less_is_counted(faults: Faults) -> None:
    await faults.plain.insert_one(pending())
    async with faults.fail("aggregate", times=1, blockConnection=True, blockTimeMS=2_500):
        found = await backlog.look(faults.leads)
    assert (found.most, found.pending) == (backlog.FEWER, 1)


async def test_failed_leads_are_counted_where_the_history_takes_too_long(faults: Faults) -> None:
    ends = ("failed", "skipped", "skipped", None)
    await faults.plain.insert_many([{"enrichment_status": status} for status in ends])
    async with faults.fail("aggregate", times=1, blockConnection=True, blockTimeMS=5_500):
        found = await backlog.ended(faults.leads)
    assert found == backlog.EndedCounts(total=4, failed=1, skipped=2, without_status=None)
    assert found.completed(await backlog.look(faults.leads)) is None


async def test_a_backlog_that_takes_too_long_to_count_is_unknown_to_who_looks(
    faults: Faults, faulty_uri: str
) -> None:
    """The real command, with the server's own fail point in place of many million leads."""
    env = {"MONGODB_URI": faulty_uri, "LEADS_COLLECTION": faults.plain.name}
    await faults.plain.insert_one(pending())
    slow = faults.fail("aggregate", blockConnection=True, blockTimeMS=2_500)
    async with slow, Daemon("status", env=env) as status:
        assert await status.wait() == ExitCode.OK
    [due_now] = [line for line in status.stdout.splitlines() if line.startswith("due now")]
    assert due_now.split() == ["due", "now", "unknown"]
    assert "backlog could not be read" in status.stdout
    assert "IDLE" not in status.stdout


@pytest.mark.timeout(180)
async def test_a_backlog_that_takes_too_long_to_count_is_no_number_for_prometheus(
    faults: Faults, faulty_uri: str
) -> None:
    env = {"MONGODB_URI": faulty_uri, "LEADS_COLLECTION": faults.plain.name}
    async with Daemon("run", env=env | {"ENRICHER_STREAM": "false"}) as daemon:
        await eventually(
            lambda: _has_counted(daemon), within=40
        )  # a count that takes long is followed by a rest
        async with faults.fail("aggregate", blockConnection=True, blockTimeMS=2_500):
            await eventually(lambda: _pending_is_no_number(daemon), within=60)


async def _has_counted(daemon: Daemon) -> bool:
    """Everything once: this is asked last."""
    return await daemon.metric("enricher_oplog_window_seconds") > 0


async def _pending_is_no_number(daemon: Daemon) -> bool:
    return math.isnan(await daemon.metric("enricher_pending_leads", lane="fresh"))


async def _settle_many(leads: AsyncCollection[Document], count: int) -> None:
    await leads.insert_many(
        [due(status, FUTURE) for status in ("completed", "skipped", "failed") for _ in range(count)]
        + [{"enrichment_status": "failed"} for _ in range(count)]
        + [{} for _ in range(count)]
    )


async def _examined(leads: AsyncCollection[Document], questions: Any) -> dict[str, int]:
    examined = {"keys": 0, "docs": 0}
    for stages in questions:
        command = {"aggregate": leads.name, "pipeline": stages, "cursor": {}}
        said = await leads.database.command(
            "explain", command, verbosity="executionStats", codec_options=leads.codec_options
        )
        for stats in _stats(said):
            examined["keys"] += stats["totalKeysExamined"]
            examined["docs"] += stats["totalDocsExamined"]
    return examined


def _stats(said: Document) -> Iterator[Document]:
    if "executionStats" in said:
        yield said["executionStats"]
    for stage in said.get("stages", ()):
        if "$cursor" in stage:
            yield stage["$cursor"]["executionStats"]
