"""Asking for enrichment: what becomes of a lead in any state, and of whoever has it in work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Completed, Document, Status
from enricher.mongo.secret import Keyring
from enricher.queue import book
from enricher.queue.requests import Asked, Requests, wished
from enricher.queue.settle import Settled, Settler
from tests.support.queueing import (
    FUTURE,
    claim_new,
    claim_one,
    insert,
    queue,
    read,
    server_time,
)

Leads = AsyncCollection[Document]


def requests(leads: Leads) -> Requests:
    return Requests(leads, book.priority("temperature", ["hot", "warm", "cold"]))


@pytest.mark.parametrize("status", [None, *Status])
async def test_a_lead_in_any_state_becomes_pending_with_its_priority(
    ours: Leads, status: str | None
) -> None:
    id_ = await insert(ours, enrichment_status=status, temperature="warm")
    assert await requests(ours).ask([id_]) == Asked(set=1)
    lead = await read(ours)
    assert lead["enrichment_status"] == "pending"
    assert lead["enrichment"]["priority"] == 2
    assert lead["enrichment"]["queued_at"] is not None


async def test_a_released_lead_begins_a_fresh_run(ours: Leads) -> None:
    leads = queue(ours)
    lease = await claim_new(ours)
    await ours.update_one({}, {"$set": {"enrichment.answered": {"hunter": "found"}}})
    await leads.release([lease])
    await requests(ours).ask([lease.lead_id])
    again = await claim_one(leads)
    assert (again.lead.answered, again.lead.attempt) == ({}, 1)


async def test_whoever_has_the_lead_in_work_is_fenced_out(ours: Leads) -> None:
    lease = await claim_new(ours)
    await requests(ours).ask([lease.lead_id])
    settled = await Settler(ours, lambda: None).settle(lease, Completed({"company_data": {}}, {}))
    assert settled is Settled.LEASE_LOST
    assert (await read(ours))["enrichment_status"] == "pending"


async def test_refresh_says_since_when_by_the_servers_clock(ours: Leads) -> None:
    before = await server_time(ours)
    ring = Keyring(b"s" * 32)
    await requests(ours).ask([await insert(ours)], refresh=ring)
    book = (await read(ours))["enrichment"]
    since = book["refresh_since"]
    assert wished(ring, 1, since, book["refresh_mark"]) == since
    assert before <= since <= await server_time(ours) + timedelta(seconds=1)


async def test_without_refresh_stored_answers_count(ours: Leads) -> None:
    await requests(ours).ask([await insert(ours)])
    assert "refresh_since" not in (await read(ours))["enrichment"]


async def test_only_leads_that_still_match_are_asked_for(ours: Leads) -> None:
    await insert(ours, 1, enrichment_status="failed")
    await insert(ours, 2, enrichment_status="completed")
    asked = await requests(ours).ask([1, 2], only={"enrichment_status": "failed"})
    assert asked == Asked(set=1)
    assert (await read(ours, 2))["enrichment_status"] == "completed"


async def test_a_backfill_asks_for_no_lead_twice(ours: Leads) -> None:
    id_ = await insert(ours)
    assert await requests(ours).ask([id_], backfill="run-1") == Asked(set=1)
    await ours.update_one({}, {"$set": {"enrichment_status": "completed"}})
    assert await requests(ours).ask([id_], backfill="run-1") == Asked()
    assert await requests(ours).ask([id_], backfill="run-2") == Asked(set=1)


async def test_a_backfilled_lead_carries_the_flag_until_somebody_asks_for_it_himself(
    ours: Leads,
) -> None:
    id_ = await insert(ours, temperature="hot")
    await requests(ours).ask([id_], backfill="run-1")
    backfilled = (await read(ours))["enrichment"]
    await requests(ours).ask([id_])
    asked_for = (await read(ours))["enrichment"]
    assert backfilled["backfill"] is True
    assert backfilled["priority"] <= book.BEHIND
    assert "backfill" not in asked_for
    assert asked_for["priority"] == 3


async def test_a_lead_that_cannot_be_written_does_not_hold_up_the_others(ours: Leads) -> None:
    await insert(ours, 1)
    await insert(ours, 2, locked=True)
    validator = {"$or": [{"locked": {"$ne": True}}, {"enrichment_status": {"$ne": "pending"}}]}
    await ours.database.command("collMod", ours.name, validator=validator)
    assert await requests(ours).ask([1, 2]) == Asked(set=1, refused=1)


@pytest.mark.parametrize("garbage", [5, "text", [1, 2], [{"token": 1}], None])
async def test_garbage_in_place_of_the_bookkeeping_is_replaced(ours: Leads, garbage: Any) -> None:
    id_ = await insert(ours, enrichment=garbage, enrichment_status="failed")
    assert await requests(ours).ask([id_], backfill="run-1") == Asked(set=1)
    assert (await claim_one(queue(ours))).lead_id == id_


async def test_an_id_that_looks_like_an_operator_is_only_an_id(ours: Leads) -> None:
    await insert(ours, 1)
    assert await requests(ours).named([{"$gt": 0}]) == []
    assert await requests(ours).ask([{"$gt": 0}]) == Asked()


async def test_matching_leads_come_in_batches_and_each_once(ours: Leads) -> None:
    await ours.insert_many([{"_id": n, "enrichment_status": "failed"} for n in range(1200)])
    seen: list[int] = []
    async for batch in requests(ours).matching({"enrichment_status": "failed"}):
        await ours.update_many({"_id": {"$in": batch}}, {"$set": {"enrichment_status": "x"}})
        seen += batch
    assert sorted(seen) == list(range(1200))


async def test_a_due_time_of_before_does_not_matter(ours: Leads) -> None:
    await insert(ours, enrichment_status="completed", enrichment={"due_at": FUTURE, "token": 7})
    await requests(ours).ask([1])
    assert (await claim_one(queue(ours))).token == 8
