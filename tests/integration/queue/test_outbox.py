"""The outbox: an event for each settle that took place, none for one that did not, whatever dies in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Completed, Document, Failed, Lease, Outcome, Reason, Retrying, Skipped
from enricher.queue.outbox import COLLECTION, DRAFTS, Outbox, changed, forget
from enricher.queue.settle import Settled, Settler
from tests.support.faults import Faults
from tests.support.queueing import HOUR, claim_new, claim_one, insert, queue, read

Collection = AsyncCollection[Document]
DATA: Document = {
    "company_data": {"name": "Quokka Freight", "domain": "quokka-freight.com"},
    "social_profiles": {"company": {"twitter": "https://twitter.com/quokka"}},
    "enrichment_metadata": {"completeness_score": 10},
}
COMPLETED = Completed(DATA, {"clearbit": "found"})
AGAIN = Retrying({}, {}, "hunter: did not answer.", timedelta(0))


@pytest.fixture
async def events(ours: Collection) -> AsyncIterator[Collection]:
    """Empty, as the drafts are."""
    yield ours.database[COLLECTION]
    for name in (COLLECTION, DRAFTS):
        await ours.database[name].delete_many({})


def outbox(leads: Collection, **options: Any) -> Outbox:
    return Outbox(queue(leads), lambda: datetime.now(UTC), timedelta(days=7), **options)


def settler(leads: Collection) -> Settler:
    return Settler(leads, lambda: None, outbox=outbox(leads))


async def drafts(leads: Collection) -> int:
    return await leads.database[DRAFTS].count_documents({})


async def drafted(leads: Collection, lease: Lease, outcome: Outcome = COMPLETED) -> Document:
    """A daemon writes down what it is about to settle, and does no more."""
    box = outbox(leads)
    event = box.event(lease, outcome)
    assert event is not None
    await box.draft([lease], [event])
    return event


async def settled_unpublished(leads: Collection, lease: Lease) -> Document:
    """A daemon dies after a settle: what is published afterwards is as if it never was."""
    await settler(leads).settle(lease, COMPLETED)
    box = outbox(leads)
    [event] = await leads.database[COLLECTION].find({"lead": lease.lead_id}).to_list()
    await leads.database[COLLECTION].delete_one({"_id": event["_id"]})
    await box.draft([], [{**event, "claim_id": lease.claim_id}])
    return event


async def swept(leads: Collection) -> None:
    """Another daemon looks twice."""
    box = outbox(leads)
    await box.sweep()
    await box.sweep()


async def anew(leads: Collection) -> Lease:
    await leads.update_one({}, {"$set": {"enrichment_status": "pending"}})
    return await claim_one(queue(leads))


# -- what is told ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "status", "names"),
    [
        (
            COMPLETED,
            "completed",
            ["company_data.name", "company_data.domain", "social_profiles.company"],
        ),
        (Failed({}, "Nothing could be had."), "failed", []),
        (Skipped({}, Reason.DISPOSABLE_ADDRESS), "skipped", []),
        (
            Retrying({"company_data": {"name": "Quokka"}}, {}, "later", HOUR),
            "retrying",
            ["company_data.name"],
        ),
    ],
)
async def test_a_settle_publishes_one_event_and_leaves_no_draft(
    ours: Collection, events: Collection, outcome: Outcome, status: str, names: list[str]
) -> None:
    lease = await claim_new(ours)
    assert await settler(ours).settle(lease, outcome) is Settled.WRITTEN
    [event] = await events.find().to_list()
    assert event.pop("_id").startswith("evt_")
    assert event.pop("expires_at") - event.pop("at") == timedelta(days=7)
    assert event == {
        "collection": ours.name,
        "lead": 1,
        "status": status,
        "changed": names,
        "attempt": 1,
        "token": 1,
    }
    assert await drafts(ours) == 0


async def test_a_lead_that_only_waits_is_no_news(ours: Collection, events: Collection) -> None:
    await settler(ours).settle(await claim_new(ours), AGAIN)
    assert await events.count_documents({}) == 0


def test_only_what_is_new_or_different_is_named() -> None:
    before = {"company_data": {"name": "Quokka", "phone": "1"}, "email_verification": None}
    after = {"company_data": {"name": "Quokka", "phone": "2"}, "person_data": {"role": "sales"}}
    assert changed(before, after) == ["company_data.phone", "person_data.role"]


async def test_a_settle_that_is_fenced_out_tells_nothing(
    ours: Collection, events: Collection
) -> None:
    lease = await claim_new(ours)
    await ours.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
    assert await settler(ours).settle(lease, COMPLETED) is Settled.LEASE_LOST
    await swept(ours)
    assert (await events.count_documents({}), await drafts(ours)) == (0, 0)


async def test_of_a_refused_result_the_failure_is_told(
    ours: Collection, events: Collection
) -> None:
    lease = await claim_new(ours)
    small = {"$expr": {"$lt": [{"$bsonSize": "$$ROOT"}, 2_000]}}
    await ours.database.command("collMod", ours.name, validator=small)
    large = Completed({"company_data": {"description": "x" * 4_000}}, {})
    assert await settler(ours).settle(lease, large) is Settled.REFUSED
    [event] = await events.find().to_list()
    assert (event["status"], event["changed"], await drafts(ours)) == ("failed", [], 0)


async def test_without_events_nothing_is_noted_or_stored(
    ours: Collection, events: Collection
) -> None:
    await Settler(ours, lambda: None).settle(await claim_new(ours), COMPLETED)
    assert "event" not in (await read(ours))["enrichment"]
    assert await events.count_documents({}) == 0


# -- what is left behind -----------------------------------------------------------------------


async def test_a_settle_that_took_place_is_told_by_whoever_finds_its_draft(
    ours: Collection, events: Collection
) -> None:
    event = await settled_unpublished(ours, await claim_new(ours))
    await swept(ours)
    assert await events.find().to_list() == [event]
    assert await drafts(ours) == 0


async def test_a_settle_that_may_still_come_is_waited_for(
    ours: Collection, events: Collection
) -> None:
    lease = await claim_new(ours)
    event = await drafted(ours, lease)
    await swept(ours)
    assert (await events.count_documents({}), await drafts(ours)) == (0, 1)
    await settler(ours).settle(lease, COMPLETED)
    await swept(ours)
    assert [each["_id"] async for each in events.find()] == [event["_id"]]
    assert await drafts(ours) == 0


async def test_a_settle_that_can_no_longer_come_is_dropped(
    ours: Collection, events: Collection
) -> None:
    await drafted(ours, await claim_new(ours))
    await anew(ours)
    await swept(ours)
    assert (await events.count_documents({}), await drafts(ours)) == (0, 0)


async def test_so_is_that_of_a_lead_that_was_deleted(ours: Collection, events: Collection) -> None:
    await drafted(ours, await claim_new(ours))
    await ours.delete_one({"_id": 1})
    await swept(ours)
    assert (await events.count_documents({}), await drafts(ours)) == (0, 0)


async def test_the_next_settle_of_a_lead_comes_after_the_one_left_behind(
    ours: Collection, events: Collection
) -> None:
    first = await settled_unpublished(ours, await claim_new(ours))
    await settler(ours).settle(await anew(ours), Failed({}, "no"))
    told = await events.find().sort("$natural", 1).to_list()
    assert told[0]["_id"] == first["_id"]
    assert [each["token"] for each in told] == [1, 2]
    await swept(ours)
    assert (await events.count_documents({}), await drafts(ours)) == (2, 0)


@pytest.mark.parametrize(
    "how",
    [
        {"closeConnection": True},
        {"writeConcernError": {"code": 91, "errmsg": "shutting down"}},
    ],
)
async def test_a_settle_that_is_tried_again_is_told_once(
    faults: Faults, how: dict[str, Any]
) -> None:
    leads = faults.leads
    lease = await claim_new(leads)
    async with faults.fail("update", times=3, **how):
        assert await settler(leads).settle(lease, COMPLETED) is Settled.WRITTEN
    await swept(leads)
    events = leads.database[COLLECTION]
    assert await events.count_documents({"collection": leads.name}) == 1
    assert await leads.database[DRAFTS].count_documents({"collection": leads.name}) == 0


async def test_an_outbox_that_takes_no_event_holds_up_no_settle(faults: Faults) -> None:
    leads = faults.leads
    settling = settler(leads)
    lease = await claim_new(leads)
    async with faults.fail("delete", errorCode=11601):
        assert await settling.settle(lease, COMPLETED) is Settled.WRITTEN
    assert (await read(leads))["enrichment_status"] == "completed"
    await swept(leads)
    events = leads.database[COLLECTION]
    assert await events.count_documents({"collection": leads.name}) == 1


async def test_leads_of_a_batch_are_told_each_by_itself(
    ours: Collection, events: Collection
) -> None:
    leads = queue(ours)
    await leads.admit([await insert(ours, number) for number in range(20)])
    leases = (await leads.claim(20)).leases
    gone = leases.pop()
    await ours.delete_one({"_id": gone.lead_id})
    settling = settler(ours)
    ends = await asyncio.gather(*(settling.settle(each, COMPLETED) for each in [*leases, gone]))
    assert ends == [*(Settled.WRITTEN for _ in leases), Settled.DELETED]
    told = {each["lead"] async for each in events.find()}
    assert told == {lease.lead_id for lease in leases}


async def test_a_forgotten_lead_is_named_by_no_event(ours: Collection, events: Collection) -> None:
    await settled_unpublished(ours, await claim_new(ours))
    await forget(ours.database, ours.name, [1])
    await swept(ours)
    assert (await events.count_documents({}), await drafts(ours)) == (0, 0)
