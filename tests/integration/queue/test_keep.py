"""What is found while others have yet to answer is stored at once, if the lead is still ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document, Progress, Subject
from enricher.queue.settle import Keeper
from tests.integration.queue.test_settle import UNWRITABLE
from tests.support.faults import Faults
from tests.support.queueing import PAST, claim_new, claim_one, queue, read

DATA = {"company_data": {"name": "$email"}}
SUBJECT = Subject("a-mailbox", "a-company")
PROGRESS = Progress(DATA, {"$clearbit.x": "$found"}, SUBJECT)


async def test_progress_is_stored_while_the_lead_stays_claimed(
    ours: AsyncCollection[Document],
) -> None:
    lease = await claim_new(ours)
    before = await read(ours)

    await Keeper(ours).keep(lease, PROGRESS)

    lead = await read(ours)
    assert lead.pop("updated_at") is not None
    assert lead == {
        **before,
        "enriched_data": DATA,
        "enrichment": {
            **before["enrichment"],
            "answered": PROGRESS.answered,
            "subject": SUBJECT.document,
        },
    }


async def test_an_answer_without_data_is_remembered_and_changes_nothing_else(
    ours: AsyncCollection[Document],
) -> None:
    """A "not found" may have been charged like any other answer."""
    lease = await claim_new(ours)
    before = await read(ours)

    await Keeper(ours).keep(lease, Progress({}, {"clearbit": "not_found"}, SUBJECT))

    lead = await read(ours)
    assert lead.pop("enrichment")["answered"] == {"clearbit": "not_found"}
    assert lead == {name: value for name, value in before.items() if name != "enrichment"}


async def test_whoever_takes_the_lead_over_after_a_crash_has_the_progress(
    ours: AsyncCollection[Document],
) -> None:
    await Keeper(ours).keep(await claim_new(ours), PROGRESS)
    await ours.update_one({"_id": 1}, {"$set": {"enrichment.due_at": PAST}})

    lead = (await claim_one(queue(ours))).lead

    assert (lead.enriched_data, lead.answered) == (DATA, PROGRESS.answered)
    assert (lead.subject, lead.attempt) == (SUBJECT.document, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"$set": {"enrichment_status": "pending"}},
        {"$set": {"email": "new@quokka-freight.com"}},
        {"$set": {"enrichment.claim_id": "another"}},
        {"$inc": {"enrichment.token": 1}},
    ],
    ids=str,
)
async def test_nothing_is_stored_on_a_lead_that_is_no_longer_ours_as_it_was(
    ours: AsyncCollection[Document], change: Document
) -> None:
    lease = await claim_new(ours)
    await ours.update_one({"_id": 1}, change)
    before = await read(ours)
    await Keeper(ours).keep(lease, PROGRESS)
    assert await read(ours) == before


async def test_a_lead_deleted_in_flight_is_not_resurrected(ours: AsyncCollection[Document]) -> None:
    lease = await claim_new(ours)
    await ours.delete_one({"_id": 1})
    await Keeper(ours).keep(lease, PROGRESS)
    assert await ours.count_documents({}) == 0


@pytest.mark.parametrize("kind", UNWRITABLE)
async def test_progress_that_cannot_be_written_raises_nothing(
    ours: AsyncCollection[Document], kind: str
) -> None:
    lease = await claim_new(ours, notes="x" * 2000)
    await Keeper(ours).keep(lease, Progress(UNWRITABLE[kind], {}, SUBJECT))
    assert "enriched_data" not in await read(ours)


async def test_an_outage_raises_nothing(faults: Faults) -> None:
    lease = await claim_new(faults.leads)
    async with faults.fail("update", errorCode=11601):
        await Keeper(faults.leads).keep(lease, PROGRESS)
    assert "enriched_data" not in await read(faults.plain)


async def test_concurrent_progress_of_many_leads_is_stored(ours: AsyncCollection[Document]) -> None:
    await ours.insert_many([{"_id": id_, "enrichment_status": "pending"} for id_ in range(50)])
    leases = (await queue(ours).claim(50)).leases
    keeper = Keeper(ours)
    tasks: list[Any] = [keeper.keep(lease, PROGRESS) for lease in leases]
    await asyncio.gather(*tasks)
    assert await ours.count_documents({"enriched_data": DATA}) == 50
