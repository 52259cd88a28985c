"""A lone new lead that meets a daemon with nothing else to do: claimed without a search."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document, Pressure
from enricher.queue import book
from tests.support.cable import cable_to, client_over
from tests.support.faults import Faults
from tests.support.queueing import FUTURE, PAST, claim_new, claim_one, insert, queue, read
from tests.support.scripted import Door, company, provider
from tests.support.waiting import business, eventually
from tests.support.working import Working, working

ACME = company(name="Acme")
OF_ITS_OWN = ("queued_at", "due_at", "claim_id", "waited_ms")
"""Parts of the book-keeping that no two claims have in common."""


def comparable(lead: Document) -> Document:
    book = {name: each for name, each in lead["enrichment"].items() if name not in OF_ITS_OWN}
    return {**lead, "enrichment": book}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"enrichment_status": None, "enrichment": None},
        {"enrichment": "a writer's own"},
        {"enrichment_status": "pending"},
        {"temperature": "hot"},
    ],
)
async def test_the_lead_stands_there_as_if_it_had_been_searched_for(
    ours: AsyncCollection[Document], fields: Document
) -> None:
    usual = await claim_new(ours, **fields)
    expected = await read(ours)
    await ours.delete_many({})

    await insert(ours, **fields)
    lease = await queue(ours).admit_and_claim(1)

    assert lease is not None
    assert comparable(await read(ours)) == comparable(expected)
    assert (lease.token, lease.lead.attempt, lease.lead.inputs) == (1, 1, usual.lead.inputs)
    assert lease.lead.priority == usual.lead.priority
    assert lease.lead.waited_seconds is not None


async def test_a_lead_with_much_data_goes_the_usual_way_which_bounds_what_is_in_work(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, "much", enriched_data={"notes": "x" * book.MUCH_DATA_BYTES})
    await insert(ours, "little", enriched_data={"notes": "x"})
    assert await queue(ours).admit_and_claim("much") is None
    assert "enrichment_status" not in await read(ours, "much")
    assert await queue(ours).admit_and_claim("little") is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"enrichment_status": "completed"},
        {"enrichment_status": "processing", "enrichment": {"due_at": FUTURE}},
        {"enrichment_status": "pending", "enrichment": {"claim_id": "of an earlier run"}},
        {"enrichment_status": "pending", "enrichment": {"backfill": True}},
        {"enrichment": {"backfill": True}},
        {"enrichment": ["a writer's own"]},
        {"enrichment": {"queued_at": PAST, "priority": 1.0}},
        {"enrichment_status": "pending", "enrichment": {"queued_at": PAST, "priority": 1.0}},
        {"enrichment_status": "a writer's own"},
        {"enrichment_status": "retrying"},
    ],
)
async def test_a_lead_that_is_not_new_goes_the_usual_way(
    ours: AsyncCollection[Document], fields: Document
) -> None:
    await insert(ours, **fields)
    before = await read(ours)
    assert await queue(ours).admit_and_claim(1) is None
    assert await read(ours) == before


async def test_only_one_daemon_gets_it(ours: AsyncCollection[Document]) -> None:
    await insert(ours, enrichment_status="pending")
    assert await queue(ours, holder="one").admit_and_claim(1)
    assert await queue(ours, holder="another").admit_and_claim(1) is None
    assert (await read(ours))["enrichment"]["holder"] == "one"


async def test_what_another_daemon_admitted_is_not_admitted_a_second_time(
    ours: AsyncCollection[Document],
) -> None:
    """Each counts what it admitted, and both are told of every insert."""
    await insert(ours)
    assert await queue(ours, holder="busy").admit([1]) == 1
    idle = queue(ours, holder="idle")
    assert await idle.admit_and_claim(1) is None
    assert await idle.admit([1]) == 0
    assert (await claim_one(idle)).lead_id == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"writeConcernError": {"code": 64, "errmsg": "timed out"}},
        {"closeConnection": True},
    ],
)
async def test_what_was_written_though_the_answer_was_lost_is_ours(
    faults: Faults, fault: dict[str, Any]
) -> None:
    await insert(faults.plain, enrichment_status="pending")
    async with faults.fail("findAndModify", times=1, **fault):
        lease = await queue(faults.leads).admit_and_claim(1)
    assert lease is not None
    assert (await read(faults.plain))["enrichment"]["claim_id"] == lease.claim_id


async def test_a_lead_that_the_validator_refuses_goes_the_usual_way(
    ours: AsyncCollection[Document],
) -> None:
    await insert(ours, enrichment_status="pending")
    await ours.database.command(
        "collMod", ours.name, validator={"enrichment_status": {"$ne": "processing"}}
    )
    leads = queue(ours)
    assert await leads.admit_and_claim(1) is None
    assert (await leads.claim(1)).leases == []
    assert len(leads.aside) == 1


async def test_a_lease_that_ran_out_before_the_answer_came_is_nobodys(faults: Faults) -> None:
    await insert(faults.plain, enrichment_status="pending")
    leads = queue(faults.leads, lease=timedelta(seconds=0.3))
    async with faults.fail("findAndModify", times=1, blockConnection=True, blockTimeMS=400):
        assert await leads.admit_and_claim(1) is None


async def test_a_claim_whose_outcome_is_open_is_not_made_again(faults: Faults) -> None:
    """The second try would wait as long as the first."""
    await insert(faults.plain, enrichment_status="pending")
    leads = queue(faults.leads)
    async with faults.fail("findAndModify", errorCode=50):
        assert await leads.admit_and_claim(1) is None
        assert (await leads.claim(1)).lost == 1
    assert (await read(faults.plain))["enrichment_status"] == "pending"


async def test_where_a_lone_lead_cannot_be_taken_by_its_id_it_is_taken_like_others(
    faults: Faults,
) -> None:
    """As in a collection that is sharded by another key."""
    await insert(faults.plain, enrichment_status="pending")
    leads = queue(faults.leads)
    async with faults.fail("findAndModify", errorCode=61):
        assert await leads.admit_and_claim(1) is None
        assert len((await leads.claim(1)).leases) == 1
    assert leads.is_sharded


@pytest.mark.parametrize("searched", [False, True])
async def test_a_claim_that_the_driver_sent_twice_is_read_as_it_stands(
    mongodb_uri: str, ours: AsyncCollection[Document], *, searched: bool
) -> None:
    """To the second try the server answers with the whole lead, whatever part of it was asked for."""
    await insert(ours, enrichment_status="pending", inputs="a writer's own")
    async with cable_to(mongodb_uri) as cable, client_over(cable, patience_seconds=5) as client:
        leads = queue(client[ours.database.name][ours.name])
        cable.lose_an_answer(b"lastErrorObject")
        lease = await claim_one(leads) if searched else await leads.admit_and_claim(1)
    assert lease is not None
    assert (lease.token, lease.lead.inputs.email) == (1, "ada@quokka-freight.com")


# -- the worker --------------------------------------------------------------------------------


@pytest.fixture
async def idle(leads: AsyncCollection[Document]) -> AsyncIterator[Working]:
    """A worker that has looked for work and found none."""
    async with working(leads, provider("acme", ACME), poll_seconds=60) as at_work:
        await eventually(lambda: at_work.bell.is_open)
        yield at_work


async def test_an_idle_worker_takes_a_new_lead_at_once(
    idle: Working, leads: AsyncCollection[Document]
) -> None:
    await insert(leads, enrichment_status="pending")
    assert await idle.bell.announce(1)
    await eventually(lambda: _has_status(leads, "completed"))


async def test_a_worker_whose_slots_are_all_taken_does_not(
    leads: AsyncCollection[Document],
) -> None:
    door = Door(ACME)
    async with working(leads, provider("acme", door), poll_seconds=60, concurrency=1) as at_work:
        await eventually(lambda: at_work.bell.is_open)
        await insert(leads, enrichment_status="pending")
        await insert(leads, 2, enrichment_status="pending")
        assert await at_work.bell.announce(1)
        assert not await at_work.bell.announce(2)
        door.opened.set()


async def test_a_worker_that_has_heard_of_other_work_does_not(
    idle: Working, leads: AsyncCollection[Document]
) -> None:
    await insert(leads, enrichment_status="pending")
    idle.bell.ring()
    assert not await idle.bell.announce(1)


async def test_a_worker_whose_leads_wait_for_a_limit_does_not(
    leads: AsyncCollection[Document],
) -> None:
    def crowded() -> Pressure:
        return Pressure(waiting=1, seconds=0.0)

    async with working(leads, provider("acme", ACME), pressure=crowded) as at_work:
        await eventually(lambda: at_work.bell.is_waited_at)
        await insert(leads, enrichment_status="pending")
        assert not await at_work.bell.announce(1)


async def test_a_lead_that_comes_in_while_the_worker_stops_is_given_back(faults: Faults) -> None:
    async with working(faults.leads, provider("acme", ACME), poll_seconds=60) as at_work:
        await eventually(lambda: at_work.bell.is_open)
        await insert(faults.plain, enrichment_status="pending")
        async with faults.fail("findAndModify", times=1, **_slowly()) as claiming:
            taking = asyncio.create_task(at_work.bell.announce(1))
            await claiming()
            await at_work.drained()
            assert await taking
    assert (await read(faults.plain))["enrichment_status"] == "pending"
    assert (await claim_one(queue(faults.plain))).lead.attempt == 1


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_claim_that_is_under_way_when_another_loop_fails_is_given_back(
    faults: Faults, *, is_announced: bool
) -> None:
    async with working(faults.leads, provider("acme", ACME), poll_seconds=60) as at_work:
        await eventually(lambda: at_work.bell.is_open)
        await insert(faults.plain, enrichment_status="pending")
        async with faults.fail("findAndModify", times=1, **_slowly()) as claiming:
            telling = asyncio.create_task(_tell(at_work, is_announced=is_announced))
            await claiming()
            await at_work.killed()
        assert not await telling
    lead = await read(faults.plain)
    assert (lead["enrichment_status"], lead["enrichment"]["token"]) == ("pending", 1)
    assert (await claim_one(queue(faults.plain))).lead.attempt == 1


def _slowly() -> dict[str, Any]:
    """Slower than the end of the worker, which must not come too late to meet the claim."""
    return {"blockConnection": True, "blockTimeMS": int(500 * business())}


async def _tell(at_work: Working, *, is_announced: bool) -> bool:
    """Tell the worker of lead 1; return whether it has taken it."""
    if is_announced:
        return await at_work.bell.announce(1)
    at_work.bell.ring()
    return False


async def _has_status(leads: AsyncCollection[Document], status: str) -> bool:
    return bool((await read(leads))["enrichment_status"] == status)
