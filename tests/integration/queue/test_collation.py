"""A collection whose own collation takes texts for equal that are not: our commands do not."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.commands.backfill import Backfills
from enricher.fields import NAMES
from enricher.intake.history import History
from enricher.lead import Completed, Document
from enricher.mongo import server
from enricher.mongo.expressions import SIMPLE, within
from enricher.queue import backlog
from enricher.queue.backlog import Lane
from enricher.queue.beside import reads_all
from enricher.queue.indexes import Indexes
from enricher.queue.lanes import claimable
from enricher.queue.requests import Requests
from enricher.queue.settle import Settled, Settler
from tests.support.queueing import FUTURE, PAST, claim_one, insert, queue, read

pytestmark = pytest.mark.slow

Leads = AsyncCollection[Document]
MANY = 200
COMPLETED = Completed({"company_data": {"name": "Acme"}}, {})


@pytest.fixture(params=[1, 2])
async def alike(
    mongodb_uri: str, shared_database: str, request: pytest.FixtureRequest
) -> AsyncIterator[Leads]:
    """Of strength 1 (no accents, no case) and 2 (no case)."""
    name = f"alike_{uuid.uuid4().hex[:12]}"
    collation = {"locale": "en", "strength": request.param}
    async with (
        AsyncMongoClient[Document](mongodb_uri) as plain,
        server.connect(mongodb_uri, pool=4) as client,
    ):
        await plain[shared_database].create_collection(name, collation=collation)
        leads = client[shared_database][name]
        await Indexes(leads).ensure()
        yield leads
        await leads.drop()


@pytest.mark.parametrize("status", ["PENDING", "Pending", "pénding", "\uff50ending", "PROCESSING"])
@pytest.mark.parametrize("due", [True, False])
async def test_a_status_that_is_only_like_ours_is_none_of_ours(
    alike: Leads, status: str, *, due: bool
) -> None:
    fields: Document = {"enrichment": {"due_at": PAST}} if due else {}
    await insert(alike, enrichment_status=status, **fields)
    before = await read(alike)
    leads = queue(alike)
    await leads.admit([1])
    assert await leads.admit_and_claim(1) is None
    assert (await leads.claim(5)).leases == []
    assert await read(alike) == before
    assert (await backlog.look(alike)).work == 0


@pytest.mark.parametrize("field", ["email", "company_domain", "website"])
async def test_an_input_that_was_corrected_in_case_or_accent_alone_is_another(
    alike: Leads, field: str
) -> None:
    await insert(alike, enrichment_status="pending", **{field: "jose@acme.com"})
    lease = await claim_one(queue(alike))
    await alike.update_one({"_id": 1}, {"$set": {field: "JOSÉ@acme.com"}})
    settled = await Settler(alike, lambda: None).settle(lease, COMPLETED)
    assert settled is Settled.INPUTS_CHANGED
    assert (await read(alike))["enrichment_status"] == "pending"


async def test_a_lead_whose_status_changed_in_case_alone_is_not_settled(alike: Leads) -> None:
    await insert(alike, enrichment_status="pending")
    lease = await claim_one(queue(alike))
    await alike.update_one({"_id": 1}, {"$set": {"enrichment_status": "Processing"}})
    assert await Settler(alike, lambda: None).settle(lease, COMPLETED) is Settled.LEASE_LOST
    assert await queue(alike).renew([lease]) == [lease]
    assert (await read(alike))["enrichment_status"] == "Processing"


async def test_history_is_recorded_and_what_came_later_is_found(alike: Leads) -> None:
    await insert(alike, "old")
    assert await History(alike).record() == 1
    await insert(alike, "new")
    assert [ids async for ids in History(alike).unadmitted()] == [["new"]]


async def test_a_users_query_compares_as_the_users_do(alike: Leads) -> None:
    await insert(alike, source="Fair", enrichment_status="completed")
    requests = Requests(alike, 0)
    match = {"source": "FAIR"}
    assert [ids async for ids in requests.matching(match)] == [[1]]
    assert (await requests.ask([1], only=match)).set == 1


async def test_a_condition_compares_byte_by_byte_whatever_a_user_asks_for(alike: Leads) -> None:
    await insert(alike, 1, state="CUSTOMER", source="Fair")
    await insert(alike, 2, state="customer", source="Fair")
    requests = Requests(within(alike, {"state": "customer"}), 0)
    assert (await requests.ask([1, 2])).set == 1
    assert (await requests.ask([1, 2], only={"source": "FAIR"})).set == 1
    assert (await requests.ask([2], only={"source": "street"})).set == 0
    assert "enrichment_status" not in await read(alike, 1)


# -- indexes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make_id", [ObjectId, lambda: uuid.uuid4().hex])
async def test_claims_use_the_indexes(alike: Leads, make_id: Any) -> None:
    fields = {"enrichment_status": "completed", "enrichment": {"due_at": FUTURE}}
    await alike.insert_many([{"_id": make_id(), **fields} for _ in range(MANY)])
    indexes = Indexes(alike)
    await indexes.ensure()
    assert await indexes.missing() == []
    id_ = await insert(alike, make_id(), enrichment_status="pending")
    leads = queue(alike)
    leads.by_id = indexes.by_id

    update = {
        "q": {"_id": {"$in": [id_]}, **claimable(NAMES)},
        "u": leads._claiming("a claim"),
        "collation": {"locale": "simple"},
        "hint": leads.by_id,
    }
    command = {"update": alike.name, "updates": [update]}
    assert await _examined(alike, command) <= 2
    for lane in (each.first(10) for each in leads.lanes._ordinary):
        pipeline = {"pipeline": lane, "cursor": {}, "collation": {"locale": "simple"}}
        assert await _examined(alike, {"aggregate": alike.name, **pipeline}) <= 3
    find = {"find": alike.name, "filter": {"_id": id_}, "collation": {"locale": "simple"}}
    assert await _examined(alike, find) <= 2
    assert len((await leads.claim(5)).leases) == 1


async def _examined(leads: Leads, command: Document) -> int:
    plan = await leads.database.command("explain", command, verbosity="executionStats")
    stats = plan.get("executionStats") or plan["stages"][0]["$cursor"]["executionStats"]
    return int(max(stats["totalKeysExamined"], stats["totalDocsExamined"]))


async def test_indexes_that_an_earlier_version_made_stand_in_nobodys_way(
    mongodb_uri: str, alike: Leads
) -> None:
    await alike.drop_indexes()
    keys = {"enrichment_status": 1, "enrichment.due_at": 1}
    await alike.create_index(
        list(keys.items()),
        name="enricher_due",
        partialFilterExpression={"enrichment.due_at": {"$gt": PAST}},
    )
    await Indexes(alike).ensure()
    assert await Indexes(alike).missing() == []


async def test_an_ordinary_collection_has_no_index_more(fresh: Leads) -> None:
    indexes = Indexes(fresh)
    await indexes.ensure()
    assert indexes.by_id == "_id_"
    assert "enricher_by_id" not in await fresh.index_information()


async def test_what_counts_as_work_is_counted(alike: Leads) -> None:
    await insert(alike, 1, enrichment_status="retrying", enrichment={"due_at": PAST})
    await insert(alike, 2, enrichment_status="Retrying", enrichment={"due_at": PAST})
    assert (await backlog.look(alike)).lanes[Lane.RETRY].leads == 1


async def test_who_is_asked_for_is_a_lead_byte_by_byte_whatever_the_query_compares(
    alike: Leads,
) -> None:
    await insert(alike, "a", state="CUSTOMER", note="Paris")
    await insert(alike, "b", state="customer", note="paris")
    await insert(alike, "c", state="customer", note="Rome")
    leads, query = within(alike, {"state": "customer"}), {"note": "PARIS"}
    found = [each async for batch in Requests(leads, 0).matching(query) for each in batch]
    assert found == ["b"]
    assert [each["_id"] for each in await Backfills(leads, query).page(None, 1)] == ["b"]
    others = within(alike, {"state": {"$ne": "CUSTOMER"}})
    assert [each["_id"] for each in await Backfills(others, {}).page(None, 5)] == ["b", "c"]


async def test_leads_that_are_only_read_are_found_by_text_ids_once_their_owner_makes_an_index(
    alike: Leads,
) -> None:
    collation = {"locale": "en", "strength": 1}
    leads = alike.database[f"{alike.name}_of_theirs"]
    await alike.database.create_collection(leads.name, collation=collation)
    await leads.insert_many([{"_id": uuid.uuid4().hex} for _ in range(MANY)])
    assert await reads_all(leads)
    await leads.create_index([("_id", 1), ("email", 1)], collation=SIMPLE)
    assert not await reads_all(leads)
    await leads.drop()
