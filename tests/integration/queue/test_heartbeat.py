"""Leases are kept while the work takes its time, and the work ends when its lease is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document, Lease
from enricher.queue.leads import Leads
from enricher.queue.worker import Heartbeat
from tests.support.cable import Cable, cable_to, client_over
from tests.support.observing import counted, events, logged
from tests.support.scripted import Door, company, provider
from tests.support.waiting import eventually, patience
from tests.support.working import queue, working

Collection = AsyncCollection[Document]

SHORT = timedelta(seconds=0.9)
ACME = company(name="Acme")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def lead_id(leads: Collection) -> int:
    await leads.insert_one({"_id": 1, "email": "x@acme-tools.com", "enrichment_status": "pending"})
    return 1


def lost(found_by: str) -> float:
    return counted("enricher_leases_lost_total", found_by=found_by)


async def stored(leads: Collection) -> Any:
    return await leads.find_one({"_id": 1})


async def due_at(leads: Collection) -> datetime:
    at: datetime = (await stored(leads))["enrichment"]["due_at"]
    return at


async def taken(leads: Collection, other: Leads) -> Lease | None:
    """The lease runs out, and another is quick to claim; unless a renewal is quicker."""
    await leads.update_one({"_id": 1}, {"$set": {"enrichment.due_at": LONG_AGO}})
    leases = (await other.claim(10)).leases
    return leases[0] if leases else None


@asynccontextmanager
async def beating(heartbeat: Heartbeat) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    running = asyncio.create_task(heartbeat.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        async with patience(5):
            await running


async def claimed(leads: Collection, heartbeat: Heartbeat) -> tuple[Lease, asyncio.Task[None]]:
    """A lead in work, whose work never ends by itself. A claim that takes longer than its short lease, on a
    busy machine, is none."""

    async def leases() -> Sequence[Lease]:
        return (await heartbeat.leads.claim(1)).leases

    (lease,) = await eventually(leases)
    work = asyncio.create_task(_for_ever())
    heartbeat.hold(lease, work)
    return lease, work


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def cancelled(work: asyncio.Task[None], within: float = 5) -> None:
    async with patience(within):
        await asyncio.gather(work, return_exceptions=True)
    assert work.cancelled()


async def end(work: asyncio.Task[None]) -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


# -- kept ------------------------------------------------------------------------------------


async def test_a_lead_whose_work_outlasts_its_lease_stays_with_its_worker(
    leads: Collection, lead_id: int
) -> None:
    door, other = Door(ACME), queue(leads)
    asked = provider("acme", door)
    async with working(leads, asked, lease=SHORT):
        await door.entered.wait()
        first = await due_at(leads)
        await eventually(lambda: _has_moved(leads, first + 2 * SHORT))
        assert (await other.claim(10)).leases == []
        door.opened.set()
        await eventually(lambda: _has_status(leads, "completed"))
    assert len(asked.asked) == 1


async def _has_moved(leads: Collection, beyond: datetime) -> bool:
    return await due_at(leads) > beyond


async def _has_status(leads: Collection, status: str) -> bool:
    return bool((await stored(leads))["enrichment_status"] == status)


async def test_a_renewal_moves_the_local_deadline_as_well(leads: Collection, lead_id: int) -> None:
    heartbeat = Heartbeat(queue(leads, SHORT))
    lease, work = await claimed(leads, heartbeat)
    deadline = lease.deadline
    async with beating(heartbeat):
        await eventually(lambda: lease.deadline > deadline + 2 * SHORT.total_seconds())
    assert not work.done()
    await end(work)


async def test_a_lead_that_was_let_go_is_not_renewed_and_its_settle_not_stopped(
    leads: Collection, lead_id: int
) -> None:
    heartbeat = Heartbeat(queue(leads, SHORT))
    lease, work = await claimed(leads, heartbeat)
    heartbeat.let_go(lease)
    before = await due_at(leads)
    async with beating(heartbeat):
        await eventually(lambda: _is_past(lease))
    assert await due_at(leads) == before
    assert not work.done()
    await end(work)


def _is_past(lease: Lease) -> bool:
    return asyncio.get_running_loop().time() > lease.deadline + 0.1


async def test_a_heartbeat_ends_at_once_when_told_to(leads: Collection) -> None:
    async with patience(2), beating(Heartbeat(queue(leads))):
        await asyncio.sleep(0)


# -- lost ------------------------------------------------------------------------------------


async def test_the_work_on_a_lead_that_another_has_claimed_ends_and_writes_nothing(
    leads: Collection, lead_id: int
) -> None:
    door, other, before = Door(ACME), queue(leads), lost("heartbeat")
    with logged() as lines:
        async with working(leads, provider("acme", door), lease=SHORT, poll_seconds=60) as process:
            await door.entered.wait()
            theirs = await eventually(lambda: taken(leads, other))
            assert theirs is not None
            await eventually(lambda: lost("heartbeat") == before + 1)
            door.opened.set()
            await process.drained()
    now = await stored(leads)
    assert now["enrichment_status"] == "processing"
    assert now["enrichment"]["claim_id"] == theirs.claim_id
    assert "enriched_data" not in now
    (line,) = events(lines, "lease.lost")
    assert line.fields["found_by"] == "heartbeat"
    assert counted("enricher_leads_in_work") == 0


async def test_a_users_pending_ends_the_work_at_the_next_beat(
    leads: Collection, lead_id: int
) -> None:
    heartbeat, before = Heartbeat(queue(leads, SHORT)), lost("heartbeat")
    _, work = await claimed(leads, heartbeat)
    async with beating(heartbeat):
        await leads.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
        await cancelled(work)
    assert lost("heartbeat") == before + 1


async def test_one_lost_lead_does_not_end_the_work_on_the_others(
    leads: Collection, lead_id: int
) -> None:
    heartbeat = Heartbeat(queue(leads, SHORT))
    _, work = await claimed(leads, heartbeat)
    await leads.insert_one({"_id": 2, "enrichment_status": "pending"})
    other_lease, other_work = await claimed(leads, heartbeat)
    async with beating(heartbeat):
        await leads.delete_one({"_id": 1})
        await cancelled(work)
        deadline = other_lease.deadline
        await eventually(lambda: other_lease.deadline > deadline)
    assert not other_work.done()
    await end(other_work)


# -- the database is away --------------------------------------------------------------------


@asynccontextmanager
async def heartbeat_over_a_cable(
    uri: str, leads: Collection, lease: timedelta, patience_seconds: float
) -> AsyncIterator[tuple[Heartbeat, Cable]]:
    async with cable_to(uri) as cable, client_over(cable, patience_seconds) as client:
        yield Heartbeat(queue(client[leads.database.name][leads.name], lease)), cable


async def test_a_failed_beat_alone_does_not_end_the_work(
    mongodb_uri: str, leads: Collection, lead_id: int
) -> None:
    lease_time = timedelta(seconds=3)
    async with heartbeat_over_a_cable(mongodb_uri, leads, lease_time, 0.2) as (heartbeat, cable):
        lease, work = await claimed(leads, heartbeat)
        async with beating(heartbeat):
            cable.cut()
            await eventually(lambda: heartbeat.outage.failures >= 1)
            cable.mend()
            deadline = lease.deadline
            await eventually(lambda: heartbeat.outage.is_over and lease.deadline > deadline)
        assert not work.done()
        await end(work)


async def test_an_outage_ends_with_the_last_lead_in_work(
    mongodb_uri: str, leads: Collection, lead_id: int
) -> None:
    """Or a daemon without work would never be ready again."""
    lease_time = timedelta(seconds=3)
    async with heartbeat_over_a_cable(mongodb_uri, leads, lease_time, 0.2) as (heartbeat, cable):
        lease, work = await claimed(leads, heartbeat)
        async with beating(heartbeat):
            cable.cut()
            await eventually(lambda: heartbeat.outage.failures >= 1)
            heartbeat.let_go(lease)
            await eventually(lambda: heartbeat.outage.is_over)
            cable.mend()
        await end(work)


@pytest.mark.parametrize("trouble", ["cut", "freeze"])
async def test_the_work_ends_at_the_deadline_when_no_renewal_gets_through(
    mongodb_uri: str, leads: Collection, lead_id: int, trouble: str
) -> None:
    """Also while a beat hangs: the driver is more patient than the lease is long."""
    async with heartbeat_over_a_cable(mongodb_uri, leads, SHORT, 5) as (heartbeat, cable):
        before = lost("deadline")
        _, work = await claimed(leads, heartbeat)
        getattr(cable, trouble)()
        async with beating(heartbeat):
            await cancelled(work, within=2)
            cable.mend()
        assert lost("deadline") == before + 1
