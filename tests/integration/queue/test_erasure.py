"""Erasing a person from the leads: what goes, what stays, and who can still write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pymongo
import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.lead import Completed, Document, Inputs, Progress, Reason, Subject
from enricher.privacy.forgetting import Erased, Erasure
from enricher.queue.apart import COLLECTION as FATAL
from enricher.queue.indexes import Indexes
from enricher.queue.settle import Keeper, Settled, Settler
from tests.support.locks import held
from tests.support.observing import counted, events, logged
from tests.support.queueing import FUTURE, Commands, claim_new, insert, queue, read
from tests.support.waiting import eventually

Leads = AsyncCollection[Document]

COMPANY = {"name": "Quokka Freight", "industry": "Transport"}
DATA: Document = {
    "company_data": COMPANY,
    "person_data": {"full_name": "Ada Lovelace"},
    "email_verification": {"status": "valid", "score": 99},
    "social_profiles": {"company": {"linkedin": "https://a"}, "person": {"github": "https://b"}},
    "enrichment_metadata": {
        "completeness_score": 50,
        "completeness_missing": [],
        "flags": ["domain_conflict", "employer_mismatch"],
        "sources_used": ["clearbit", "hunter"],
        "provenance": {
            "company_data": {"name": "clearbit"},
            "person_data": {"full_name": "x"},
            "email_verification": {"status": "hunter"},
        },
        "alternatives": {"person_data": {"full_name": "A. L."}, "company_data": {"name": "Q"}},
        "confidence": {"person_data": {"full_name": 0.9}},
    },
    "notes": "somebody else's",
}


async def test_what_is_about_the_person_goes_and_the_company_stays(ours: Leads) -> None:
    await insert(ours, enriched_data=DATA, enrichment_status="completed")
    assert await Erasure(ours).erase(1) is Erased.DONE
    data = (await read(ours))["enriched_data"]
    assert (data["person_data"], data["email_verification"]) == (None, None)
    assert data["company_data"] == COMPANY
    assert data["social_profiles"] == {"company": {"linkedin": "https://a"}, "person": {}}
    assert data["notes"] == "somebody else's"
    known = data["enrichment_metadata"]
    assert known["provenance"] == {"company_data": {"name": "clearbit"}}
    assert known["alternatives"] == {"company_data": {"name": "Q"}}
    assert known["confidence"] == {}
    assert known["flags"] == ["domain_conflict"]
    assert known["completeness_score"] == 20
    assert "email.valid" in known["completeness_missing"]


async def test_the_lead_is_skipped_with_the_reason_and_keeps_its_own_fields(ours: Leads) -> None:
    book = {"subject": "s", "due_at": "x", "queued_at": "x", "token": 4, "priority": 3}
    await insert(ours, name="Ada", enrichment_status="completed", enrichment=book)
    await Erasure(ours).erase(1)
    lead = await read(ours)
    assert (lead["email"], lead["name"]) == ("ada@quokka-freight.com", "Ada")
    assert lead["enrichment_status"] == "skipped"
    assert lead["enrichment_error"] == Reason.SUPPRESSED.sentence
    assert lead["enrichment"]["token"] == 5
    assert not {"subject", "due_at", "queued_at", "inputs"} & set(lead["enrichment"])


async def test_a_worker_that_has_the_lead_can_write_nothing_any_more(ours: Leads) -> None:
    lease = await claim_new(ours)
    await Erasure(ours).erase(lease.lead_id)
    await Keeper(ours).keep(lease, Progress(DATA, {}, Subject("of-ada")))
    assert await queue(ours).renew([lease]) == [lease]
    settled = await Settler(ours, lambda: None).settle(lease, Completed(DATA, {}))
    assert settled is Settled.LEASE_LOST
    lead = await read(ours)
    assert lead["enrichment_status"] == "skipped"
    assert not lead.get("enriched_data")


@pytest.mark.parametrize(
    "garbage",
    [
        {"enriched_data": "text"},
        {"enriched_data": [{"person_data": 1}]},
        {"enriched_data": None},
        {"enriched_data": {"social_profiles": "x", "enrichment_metadata": "y"}},
        {"enriched_data": {"enrichment_metadata": {"provenance": [1], "flags": {"a": 1}}}},
        {"enrichment": ["x"]},
        {"enrichment": {"token": "x"}},
    ],
)
async def test_garbage_in_a_lead_stops_nothing(ours: Leads, garbage: dict[str, Any]) -> None:
    await insert(ours, **garbage)
    assert await Erasure(ours).erase(1) is Erased.DONE
    assert (await read(ours))["enrichment_status"] == "skipped"


def about(mailbox: str) -> Document:
    """Data that says whose it is."""
    known = {**DATA["enrichment_metadata"], "subject": Subject(mailbox, "acme").document}
    return {**DATA, "enrichment_metadata": known}


async def test_a_lead_with_another_address_by_now_only_loses_the_data(ours: Leads) -> None:
    book = {"subject": Subject("of-ada", "acme").document, "token": 4}
    data = about("of-ada")
    await insert(ours, enriched_data=data, enrichment_status="completed", enrichment=book)
    assert await Erasure(ours).erase_data(1, "of-ada") is Erased.DONE
    lead = await read(ours)
    assert lead["enriched_data"]["person_data"] is None
    assert lead["enriched_data"]["enrichment_metadata"]["subject"] == {"company": "acme"}
    assert (lead["enrichment_status"], lead["enrichment"]) == (
        "completed",
        {"token": 4, "subject": None},
    )
    assert await Erasure(ours).erase_data(1, "of-ada") is Erased.CHANGED


async def test_what_others_answered_about_since_stays_noted(ours: Leads) -> None:
    book = {"subject": Subject("of-bob", "acme").document}
    await insert(ours, enriched_data=about("of-ada"), enrichment=book)
    assert await Erasure(ours).erase_data(1, "of-ada") is Erased.DONE
    assert (await read(ours))["enrichment"] == book


async def test_what_an_older_version_found_goes_by_its_mark(ours: Leads) -> None:
    await insert(ours, enriched_data=DATA, enrichment={"subject": "mark-of-ada", "token": 4})
    assert await Erasure(ours).erase_older(1, "another") is Erased.CHANGED
    assert await Erasure(ours).erase_older(1, "mark-of-ada") is Erased.DONE
    lead = await read(ours)
    assert (lead["enriched_data"]["person_data"], lead["enrichment"]) == (None, {"token": 4})


@pytest.mark.parametrize("now", ["bob@quokka-freight.com", None, ["ada@quokka-freight.com"]])
async def test_a_lead_whose_address_changes_in_this_moment_is_left_to_its_data(
    ours: Leads, now: object
) -> None:
    await insert(ours, enriched_data=about("of-bob"))
    await ours.update_one({"_id": 1}, {"$set": {"email": now}})
    assert await Erasure(ours).erase(1, Inputs("ada@quokka-freight.com")) is Erased.CHANGED
    assert (await read(ours))["enriched_data"] == about("of-bob")


async def ids(found: AsyncIterator[Document]) -> list[Any]:
    return [lead["_id"] async for lead in found]


async def test_who_is_found_and_who_is_left_alone(ours: Leads) -> None:
    await Indexes(ours).ensure()
    due = {"due_at": FUTURE}
    await insert(ours, "about ada", enriched_data=about("of-ada"))
    await insert(ours, "about bob", enriched_data=about("of-bob"))
    await insert(ours, "nobody's yet", enrichment_status="pending")
    await insert(ours, "in work", enrichment_status="processing", enrichment=due)
    await insert(ours, "waits", enrichment_status="retrying", enrichment=due)
    await insert(ours, "older", enriched_data=DATA, enrichment_status="completed")
    await insert(ours, "company only", enriched_data=about("x") | {"enrichment_metadata": {}})
    erasure = Erasure(ours)
    assert await ids(erasure.about("of-ada")) == ["about ada"]
    assert await ids(erasure.in_work()) == ["in work"]
    assert await ids(erasure.waiting()) == ["waits"]
    assert await ids(erasure.unmarked()) == ["older", "company only"]


async def test_data_about_a_person_and_leads_in_work_are_found_by_an_index(
    ours: Leads, mongodb_uri: str
) -> None:
    await Indexes(ours).ensure()
    commands = Commands()
    async with AsyncMongoClient[Document](mongodb_uri, event_listeners=[commands]) as client:
        erasure = Erasure(client[ours.database.name][ours.name])
        for found in (erasure.about("of-ada"), erasure.in_work(), erasure.waiting()):
            await ids(found)
    finds = [command for command in commands.sent if "find" in command]
    plans = [await index_of(ours, find["filter"]) for find in finds]
    assert plans == ["enricher_mailbox", "enricher_due", "enricher_due"]


async def index_of(leads: Leads, match: Document) -> str | None:
    plan = (await leads.find(match).explain())["queryPlanner"]["winningPlan"]
    name: str | None = plan.get("inputStage", {}).get("indexName")
    return name


async def test_a_lead_that_cannot_be_written_is_told(ours: Leads) -> None:
    await insert(ours)
    await ours.database.command(
        "collMod", ours.name, validator={"enrichment_status": {"$ne": "skipped"}}
    )
    assert await Erasure(ours).erase(1) is Erased.REFUSED


async def test_a_lead_that_is_written_no_more_is_not_erased_either(ours: Leads) -> None:
    await insert(ours, enriched_data=DATA, enrichment_status="completed")
    before = await read(ours)
    record = ours.database[FATAL]
    await record.insert_one({"_id": {"in": ours.name, "of": 1}, "losses": 2, "process": ObjectId()})
    try:
        erasure = Erasure(ours)
        await erasure.look_for_fatal()
        assert await erasure.erase(1) is Erased.WRITTEN_OFF
        assert await erasure.erase_data(1, "of-ada") is Erased.WRITTEN_OFF
    finally:
        await record.delete_many({})
    assert await read(ours) == before


async def test_an_erasure_leaves_the_count_of_unwritable_leads_to_the_queue(ours: Leads) -> None:
    leads = queue(ours)
    for id_ in (2, 3):
        leads.aside.put(id_, 121, "claim")
    record = ours.database[FATAL]
    await record.insert_one({"_id": {"in": ours.name, "of": 1}, "losses": 2, "process": ObjectId()})
    try:
        await Erasure(ours).look_for_fatal()
    finally:
        await record.delete_many({})
    assert counted("enricher_leads_unmoved", reason="unwritable") == leads.aside.leads == 2


# -- a lead that a writer's transaction holds --------------------------------------------------


async def test_an_erasure_waits_until_the_transaction_has_ended(ours: Leads) -> None:
    await insert(ours, enriched_data=DATA, enrichment_status="completed")
    with logged() as lines:
        async with held(ours, 1):
            erasing = asyncio.create_task(Erasure(ours).erase(1))
            await eventually(lambda: events(lines, "lead.blocked"))
        assert await erasing is Erased.DONE
    assert (await read(ours))["enrichment_status"] == "skipped"


async def test_a_lead_that_takes_longer_than_any_transaction_gets_all_the_time_there_is(
    ours: Leads,
) -> None:
    await insert(ours, enriched_data=DATA, enrichment_status="completed")
    async with held(ours, 1):
        erasing = asyncio.create_task(Erasure(ours, held_seconds=0).erase(1))
        await eventually(lambda: _is_written_for(2.0, ours))  # a try of its own ends after a second
    assert await erasing is Erased.DONE


async def _is_written_for(seconds: float, leads: Leads) -> bool:
    writing = {"ns": leads.full_name, "microsecs_running": {"$gte": int(seconds * 1e6)}}
    now = await leads.database.client.admin.command({"currentOp": 1, **writing})
    return bool(now["inprog"])


async def test_and_when_that_is_over_the_erasure_fails_and_has_changed_nothing(ours: Leads) -> None:
    await insert(ours, enriched_data=DATA, enrichment_status="completed")
    before = await read(ours)
    async with held(ours, 1, aborts=True):
        with pymongo.timeout(0.5), pytest.raises(PyMongoError) as raised:
            await Erasure(ours, held_seconds=0).erase(1)
    assert raised.value.timeout
    assert await read(ours) == before
