"""Who is a lead at all: a document that the condition excludes is never written, whatever state it is in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import bson
import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.enrichment.conclude import FOUND
from enricher.errors import SettingsError
from enricher.intake.history import History
from enricher.lead import Completed, Document, Eligibility, LeadId, Progress, Subject
from enricher.mongo.expressions import SimpleClient, within
from enricher.queue import backlog, unmoved
from enricher.queue.conditions import Look, require, try_out
from enricher.queue.holds import bring_back
from enricher.queue.requests import Requests
from enricher.queue.settle import Keeper, Settled, Settler
from enricher.settings.sources import Source
from tests.support.doubling import doubled
from tests.support.queueing import PAST, Commands, claim_one, insert, queue, read

ONLY: Document = {"status": {"$ne": "deleted"}, "state": {"$ne": "visitor"}}
DATA = {"company_data": {"name": "Quokka Freight"}, "enrichment_metadata": {"x": 1}}
SUBJECT = Subject("a-mailbox", "a-company")
DELETED = {"$set": {"status": "deleted"}}


@pytest.fixture
def own(ours: AsyncCollection[Document]) -> AsyncCollection[Document]:
    """The collection as the daemon of a source with a condition sees it."""
    return within(ours, ONLY)


async def raw(leads: AsyncCollection[Document], id_: LeadId = 1) -> bytes:
    """The document byte by byte."""
    return bson.encode(await read(leads, id_))


WAITING: dict[str, Document] = {
    "new": {},
    "pending": {"enrichment_status": "pending"},
    "a stray": {"enrichment_status": "processing"},
    "due": {"enrichment_status": "retrying", "enrichment": {"due_at": PAST, "held_by": ["hunter"]}},
    "to be refreshed": {
        "enrichment_status": "completed",
        "enrichment": {"due_at": PAST, "token": 1, "claim_id": "x"},
    },
    "without a date": {
        "enrichment_status": "completed",
        "enriched_at": PAST,
        "enrichment": {"token": 1, "claim_id": "x"},
    },
}


@pytest.mark.parametrize("state", WAITING)
async def test_an_excluded_document_is_not_written_by_any_step(
    ours: AsyncCollection[Document], own: AsyncCollection[Document], state: str
) -> None:
    await insert(ours, state="visitor", **WAITING[state])
    before = await raw(ours)
    leads = queue(own)
    leads.lanes.must_be_admitted = True
    assert await leads.admit([1]) == 0
    assert await leads.admit_and_claim(1) is None
    assert (await leads.claim(10)).leases == []
    assert await leads.take_up([1], {}) == 0
    assert await leads.take_up(await unmoved.find(own, PAST - timedelta(days=1)), {}) == 0
    assert await bring_back(own, "hunter", per_second=10) == 0
    assert (await Requests(own, 0).ask([1])).set == 0
    assert await raw(ours) == before


async def test_a_field_that_stands_there_twice_is_not_told_on_an_excluded_document(
    ours: AsyncCollection[Document], own: AsyncCollection[Document]
) -> None:
    twice = ("enriched_at", PAST), ("enriched_at", None), ("enrichment_status", "pending")
    await ours.insert_one(doubled(("_id", "visitor"), ("state", "visitor"), *twice))
    await ours.insert_one(doubled(("_id", "lead"), *twice))
    leads = queue(own)
    await leads.admit(["visitor", "lead"])
    await leads.claim(10)
    told = await ours.find({"enrichment_error": {"$exists": True}}, {"_id": 1}).to_list()
    assert told == [{"_id": "lead"}]


async def test_what_is_excluded_is_neither_history_nor_searched_for_nor_counted(
    fresh: AsyncCollection[Document],
) -> None:
    own = within(fresh, ONLY)
    await insert(fresh, "visitor", state="visitor")
    await insert(fresh, "stray", state="visitor", enrichment_status="processing")
    await insert(fresh, "waits", state="visitor", enrichment_status="pending")
    history = History(own)
    assert await history.record() == 0
    assert [ids async for ids in history.unadmitted()] == []
    assert [ids async for ids in history.newest()] == []
    assert [ids async for ids in history.strays(timedelta(hours=1))] == []
    assert (await backlog.look(own)).work == 0
    found = await unmoved.count(own)
    assert found is not None
    assert sum(found.values()) == 0


async def test_an_excluded_document_does_not_count_as_completed(
    own: AsyncCollection[Document],
) -> None:
    await own.insert_many([{"_id": n, "state": "visitor"} for n in range(7)])
    await insert(own, "done", enrichment_status="completed")
    await insert(own, "failed", enrichment_status="failed")
    ended = await backlog.ended(own)
    assert ended == backlog.EndedCounts(total=2, failed=1, skipped=0, without_status=0)
    assert ended.completed(await backlog.look(own)) == 1


async def test_a_lead_is_worked_on_as_ever(
    ours: AsyncCollection[Document], own: AsyncCollection[Document]
) -> None:
    await insert(ours, status="Active")
    leads = queue(own)
    leads.lanes.must_be_admitted = True
    assert await leads.admit([1]) == 1
    lease = await claim_one(leads)
    assert await leads.renew([lease]) == []
    settler = Settler(own, lambda: None)
    assert await settler.settle(lease, Completed(DATA, {}), SUBJECT) is Settled.WRITTEN


@pytest.mark.parametrize("leaving", [DELETED, {"$set": {"state": "visitor"}}])
async def test_a_lead_that_leaves_while_in_work_is_left_as_it_stands(
    ours: AsyncCollection[Document], own: AsyncCollection[Document], leaving: Document
) -> None:
    await insert(ours)
    leads = queue(own)
    await leads.admit([1])
    lease = await claim_one(leads)
    await ours.update_one({"_id": 1}, leaving)
    before = await raw(ours)
    await Keeper(own).keep(lease, Progress(DATA, {"clearbit": FOUND}, SUBJECT))
    assert await leads.renew([lease]) == [lease]
    assert await leads.release([lease]) == 0
    settled = await Settler(own, lambda: None).settle(lease, Completed(DATA, {}), SUBJECT)
    assert settled is Settled.WITHDRAWN
    assert await raw(ours) == before


async def test_a_lead_that_is_gone_is_told_from_one_that_left(
    ours: AsyncCollection[Document], own: AsyncCollection[Document]
) -> None:
    await insert(ours)
    leads = queue(own)
    await leads.admit([1])
    lease = await claim_one(leads)
    await ours.delete_one({"_id": 1})
    settled = await Settler(own, lambda: None).settle(lease, Completed(DATA, {}), SUBJECT)
    assert settled is Settled.DELETED


async def test_a_lead_that_left_and_came_back_is_work_again(
    ours: AsyncCollection[Document], own: AsyncCollection[Document]
) -> None:
    await insert(ours)
    leads = queue(own, lease=timedelta(0))
    await leads.admit([1])
    await leads.claim(10)
    await ours.update_one({"_id": 1}, DELETED)
    assert (await leads.claim(10)).asked == 10
    await ours.update_one({"_id": 1}, {"$unset": {"status": ""}})
    await queue(own).claim(10)
    assert (await read(ours))["enrichment"]["token"] == 2


async def test_pending_alone_makes_no_lead_work_where_there_is_a_condition(
    ours: AsyncCollection[Document], own: AsyncCollection[Document]
) -> None:
    await insert(ours, enrichment_status="pending")
    leads = queue(own)
    leads.lanes.must_be_admitted = True
    assert (await leads.claim(10)).leases == []
    await leads.admit([1])
    assert len((await leads.claim(10)).leases) == 1


# -- before a call ------------------------------------------------------------------------------


async def test_looking_tells_who_is_a_lead_and_who_may_be_asked_about_as_a_person(
    ours: AsyncCollection[Document], own: AsyncCollection[Document]
) -> None:
    await insert(ours, "open")
    await insert(ours, "closed", doNotDisturb="Yes")
    await insert(ours, "left", status="deleted")
    look = Look(own, {"doNotDisturb": {"$ne": "Yes"}})
    assert look.is_needed
    assert await look.at("open") == Eligibility(is_lead=True, is_open=True)
    assert await look.at("closed") == Eligibility(is_lead=True, is_open=False)
    assert not (await look.at("left")).is_lead
    assert not (await look.at("gone")).is_lead


async def test_without_a_condition_nothing_is_looked_at(ours: AsyncCollection[Document]) -> None:
    assert within(ours, {}) is ours
    assert not Look(ours).is_needed


# -- what can be a condition --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "why"),
    [
        (ONLY, None),
        ({}, None),
        ({"status": {"$nay": 1}}, "MongoDB refuses this filter"),
        ({"at": {"$near": [0, 0]}}, "MongoDB refuses this filter"),
    ],
)
async def test_a_condition_is_tried_out_on_the_server_without_writing(
    ours: AsyncCollection[Document], only: Document, why: str | None
) -> None:
    await insert(ours)
    before = await raw(ours)
    found = await try_out(ours, only)
    assert (found and found.partition(" (code")[0]) == why
    assert await raw(ours) == before


async def test_a_condition_that_the_server_refuses_ends_the_start_with_a_line(
    ours: AsyncCollection[Document],
) -> None:
    source = Source(ours.name, only={"status": {"$nay": 1}}, person_only={"a": 1})
    with pytest.raises(SettingsError) as raised:
        await require(ours.database, source)
    assert str(raised.value).splitlines() == ["leads, only: MongoDB refuses this filter (code 2)"]


async def test_without_a_condition_the_commands_are_those_of_ever(
    mongodb_uri: str, shared_database: str, ours: AsyncCollection[Document]
) -> None:
    sent: list[Any] = []
    for client_of in (AsyncMongoClient, SimpleClient):
        commands = Commands()
        async with client_of(mongodb_uri, event_listeners=[commands]) as client:
            leads = client[shared_database]["leads"]
            await leads.find({"_id": 1}).to_list()
            await leads.update_one({"_id": 1}, {"$set": {"a": 1}})
            await (await leads.aggregate([{"$match": {"a": 1}}])).to_list()
        sent.append([_meaning(each) for each in commands.sent if "endSessions" not in each])
    assert sent[0] == sent[1]


def _meaning(command: Document) -> Document:
    """What it asks for, without what stands for the session and the collation."""
    of_session = {"lsid", "$clusterTime", "txnNumber", "$db", "collation", "$readPreference"}
    wanted = {name: value for name, value in command.items() if name not in of_session}
    for update in wanted.get("updates", []):
        update.pop("collation", None)
    return wanted
