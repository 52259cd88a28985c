"""Leads that a writer's save left lying: they are moved again, once, and nobody else's are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.intake.checkpoints import Checkpoints
from enricher.intake.history import History, collection_name
from enricher.intake.sweep import Sweep
from enricher.lead import Document
from enricher.queue import backlog, unmoved
from enricher.queue.unmoved import UnmovedReason
from enricher.queue.worker import Bell
from tests.support.observing import counted
from tests.support.queueing import FUTURE, HOUR, PAST, insert, queue, read
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

Leads = AsyncCollection[Document]
PERIOD = timedelta(days=90)
LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)
OURS = {"token": 3, "claim_id": "a claim", "holder": "a daemon", "due_at": FUTURE}
HELD = {**OURS, "due_at": FUTURE.replace(year=FUTURE.year + 1)}


def sweep(leads: Leads, period: timedelta = PERIOD, *, is_known: bool = True) -> Sweep:
    return Sweep(
        queue(leads),
        History(leads),
        Checkpoints(leads.database, leads.name, "a pipeline"),
        Bell(),
        lambda: is_known,
        period,
    )


async def swept(leads: Leads, **options: Any) -> None:
    await sweep(leads, **options)._sweep(asyncio.Event())


@pytest.fixture(autouse=True)
async def _started(fresh: Leads) -> None:
    await Checkpoints(fresh.database, fresh.name, "a pipeline").begin()


def soon(**fields: Any) -> Document:
    """In work, and the lease runs."""
    lease_ends = datetime.now(UTC) + timedelta(seconds=30)
    return {**OURS, "due_at": lease_ends, **fields}


STRAYS: list[Document] = [
    {},
    {"enrichment": None},
    {"enrichment": "[object Object]"},
    {"enrichment": []},
    {"enrichment": [OURS]},
    {"enrichment": 5},
    {"enrichment": {**OURS, "due_at": None}},
    {"enrichment": {**OURS, "due_at": "2026-11-29T19:00:00.000Z"}},
    {"enrichment": {**OURS, "due_at": 1_764_442_800_000}},
    {"enrichment": {**OURS, "due_at": {"date": "2026-11-29"}}},
    {"enrichment": {**OURS, "due_at": LONG_AGO}},
    {"enrichment": {**OURS, "due_at": True}},
]


@pytest.mark.parametrize("status", ["processing", "retrying"])
@pytest.mark.parametrize("fields", STRAYS)
async def test_who_is_in_work_and_never_due_is_work_again(
    fresh: Leads, status: str, fields: Document
) -> None:
    await insert(fresh, enrichment_status=status, **fields)
    before = counted("enricher_leads_taken_up_total", reason="stray")
    assert await unmoved.count(fresh) == _only(UnmovedReason.STRAY)
    await swept(fresh)
    assert (await read(fresh))["enrichment_status"] == "pending"
    assert (await backlog.look(fresh)).pending == 1
    assert counted("enricher_leads_taken_up_total", reason="stray") == before + 1
    assert len((await queue(fresh).claim(5)).leases) == 1


@pytest.mark.parametrize(
    "book",
    [soon(holder=None), soon(claim_id=None), {"due_at": FUTURE}, HELD],
    ids=["no holder", "no claim", "a date alone", "due in a year"],
)
async def test_who_is_in_work_and_held_by_nobody_is_work_again(
    fresh: Leads, book: Document
) -> None:
    await insert(fresh, enrichment_status="processing", enrichment=book)
    await swept(fresh)
    assert (await read(fresh))["enrichment_status"] == "pending"


AN_HOUR_LATE = datetime.now(UTC) + timedelta(minutes=59)


async def test_a_lease_that_ends_late_and_is_not_renewed_is_over(fresh: Leads) -> None:
    """Its daemon died, and the server's clock was set back an hour."""
    await insert(fresh, enrichment_status="processing", enrichment=soon(due_at=AN_HOUR_LATE))
    watcher = Sweep(
        queue(fresh, timedelta(seconds=0.5)),
        History(fresh),
        Checkpoints(fresh.database, fresh.name, "a pipeline"),
        Bell(),
        lambda: True,
        PERIOD,
        every_seconds=0.2,
    )
    stop = asyncio.Event()
    sweeping = asyncio.create_task(watcher.run(stop))

    async def is_work() -> bool:
        return bool((await read(fresh))["enrichment_status"] == "pending")

    await eventually(is_work, within=15)
    stop.set()
    await sweeping


async def test_a_lease_that_is_renewed_is_not_over_however_late_it_ends(fresh: Leads) -> None:
    await insert(fresh, enrichment_status="processing", enrichment=soon(due_at=AN_HOUR_LATE))
    watcher = sweep(fresh)
    watcher.leads.lease = timedelta(0)
    for minute in range(5):
        await watcher._sweep(asyncio.Event())
        renewed = {"enrichment.due_at": AN_HOUR_LATE - timedelta(minutes=minute + 1)}
        await fresh.update_one({}, {"$set": renewed})
    assert (await read(fresh))["enrichment_status"] == "processing"


@pytest.mark.parametrize(
    "fields",
    [
        {"enrichment_status": "processing", "enrichment": soon()},
        {"enrichment_status": "processing", "enrichment": soon(due_at=AN_HOUR_LATE)},
        {"enrichment_status": "processing", "enrichment": {**OURS, "due_at": PAST}},
        {"enrichment_status": "retrying", "enrichment": {**OURS, "holder": None}},
        {"enrichment_status": "retrying", "enrichment": {"due_at": PAST + 30 * 24 * HOUR}},
        {"enrichment_status": "completed", "enrichment": OURS},
        {"enrichment_status": "completed"},
        {"enrichment_status": "failed"},
        {"enrichment_status": "skipped", "enriched_at": FUTURE},
        {"enrichment_status": "PROCESSING"},
        {},
    ],
)
async def test_every_other_lead_is_left_as_it_is(fresh: Leads, fields: Document) -> None:
    await insert(fresh, **fields)
    before = await read(fresh)
    await swept(fresh)
    assert await read(fresh) == before


async def test_what_others_left_half_way_before_the_first_start_is_history(fresh: Leads) -> None:
    await insert(fresh, "of another pipeline", enrichment_status="processing")
    await History(fresh).record()
    await insert(fresh, "later", enrichment_status="processing")
    await swept(fresh)
    assert (await read(fresh, "of another pipeline"))["enrichment_status"] == "processing"
    assert (await read(fresh, "later"))["enrichment_status"] == "pending"
    await fresh.database.drop_collection(collection_name(fresh.name))


async def test_nothing_is_taken_up_before_history_is_known(fresh: Leads) -> None:
    await insert(fresh, enrichment_status="processing")
    await swept(fresh, is_known=False)
    assert (await read(fresh))["enrichment_status"] == "processing"


async def test_of_two_daemons_that_sweep_at_once_one_takes_a_lead_up(fresh: Leads) -> None:
    await fresh.insert_many([{"_id": id_, "enrichment_status": "retrying"} for id_ in range(50)])
    before = counted("enricher_leads_taken_up_total", reason="stray")
    await asyncio.gather(swept(fresh), swept(fresh), swept(fresh))
    assert counted("enricher_leads_taken_up_total", reason="stray") == before + 50


# -- the refresh -------------------------------------------------------------------------------


def _days(lead: Document) -> float:
    due_at: datetime = lead["enrichment"]["due_at"]
    return (due_at - datetime.now(UTC)) / timedelta(days=1)


NOW = datetime.now(UTC).replace(microsecond=0)
COMPLETED: Document = {"enrichment_status": "completed"}
METADATA = {"enrichment_metadata": {"enriched_at": (NOW + HOUR).isoformat()}}


@pytest.mark.parametrize(
    "fields",
    [
        {"enriched_at": NOW + HOUR, "enriched_data": METADATA},
        {"enriched_at": NOW + HOUR, "enriched_data": METADATA, "enrichment": None},
        {"enriched_at": NOW + HOUR, "enrichment": {**OURS, "due_at": None}},
        {"enriched_at": NOW + HOUR, "enrichment": {**OURS, "due_at": "2027-02-27T00:00:00Z"}},
        {"enriched_at": (NOW + HOUR).isoformat(), "enriched_data": METADATA},
        {"enriched_data": METADATA},
        {"enriched_at": None, "enriched_data": METADATA},
    ],
)
async def test_a_completed_lead_without_a_date_is_refreshed_like_the_others(
    fresh: Leads, fields: Document
) -> None:
    await insert(fresh, **COMPLETED, **fields)
    await swept(fresh)
    lead = await read(fresh)
    assert 80 < _days(lead) < 100
    assert lead["enrichment_status"] == "completed"
    assert "updated_at" not in lead


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"enriched_at": PAST},
        {"enriched_at": None},
        {"enriched_at": "never"[:0]},
        {"enriched_data": {"enrichment_metadata": {"enriched_at": PAST.isoformat()}}},
        {"enriched_data": {"company_data": {"name": "Acme"}}},
    ],
)
async def test_what_was_completed_before_the_first_start_is_nobodys_work(
    fresh: Leads, fields: Document
) -> None:
    await insert(fresh, **COMPLETED, **fields)
    before = await read(fresh)
    await swept(fresh)
    assert await read(fresh) == before


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"enrichment": {}},
        {"enrichment": {"token": 0, "claim_id": ""}},
        {"enrichment": {"priority": 5}},
        {"enriched_data": {"company_data": {"name": "Acme"}}},
        {"enriched_data": {"enrichment_metadata": "by hand"}},
        {"enriched_data": None},
    ],
)
@pytest.mark.parametrize("date", [NOW + HOUR, (NOW + HOUR).isoformat()], ids=["date", "text"])
async def test_what_another_program_completes_is_its_own_business(
    fresh: Leads, fields: Document, date: object
) -> None:
    """A refresh of it would be a bill that nobody asked for."""
    await insert(fresh, **COMPLETED, enriched_at=date, **fields)
    before = await read(fresh)
    await swept(fresh)
    assert await read(fresh) == before


async def test_without_a_refresh_no_lead_gets_a_date(fresh: Leads) -> None:
    await insert(fresh, **COMPLETED, enriched_at=NOW + HOUR, enriched_data=METADATA)
    await swept(fresh, period=timedelta())
    assert "enrichment" not in await read(fresh)


async def test_a_date_that_has_come_is_taken_away_without_a_refresh_and_given_back_with_one(
    fresh: Leads,
) -> None:
    ours = {**COMPLETED, "enriched_at": NOW + HOUR, "enriched_data": METADATA}
    await insert(fresh, 1, **ours, enrichment={**OURS, "due_at": PAST})
    await insert(fresh, 2, **ours, enrichment={**OURS, "due_at": PAST, "recheck_since": PAST})
    await insert(fresh, 3, **ours, enrichment=OURS)
    others = await read(fresh, 2), await read(fresh, 3)
    await swept(fresh, period=timedelta())
    assert "due_at" not in (await read(fresh, 1))["enrichment"]
    assert (await backlog.look(fresh)).work == 1, "the recheck"
    assert (await read(fresh, 2), await read(fresh, 3)) == others
    await swept(fresh)
    assert 80 < _days(await read(fresh, 1)) < 100


async def test_many_leads_that_are_overdue_are_spread_in_time(fresh: Leads) -> None:
    collection = fresh.database["enricher_checkpoints"]
    long_ago = NOW - timedelta(days=500)
    await collection.update_one({"_id": fresh.name}, {"$set": {"started_at": long_ago}})
    enriched_at = NOW - timedelta(days=400)
    ours = {**COMPLETED, "enriched_at": enriched_at, "enriched_data": METADATA}
    await fresh.insert_many([dict(ours) for _ in range(2500)])
    await swept(fresh)
    days = sorted([_days(lead) async for lead in fresh.find()])
    assert len(days) == 2500
    assert 0 <= days[0] < 0.5
    assert 8.5 < days[-1] < 9
    assert 3.5 < days[1250] < 5.5
    assert (await backlog.look(fresh)).work < 50


def _only(reason: UnmovedReason) -> dict[UnmovedReason, int]:
    return {each: int(each is reason) for each in UnmovedReason}
