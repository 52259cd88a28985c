"""What a lead may cost is noted on it before a call, by whoever holds it and by nobody else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Completed, Document, Lease, Retrying
from enricher.queue.costs import Costs
from enricher.queue.leads import Leads
from enricher.queue.settle import Settled, Settler
from tests.support.queueing import LEASE, PAST, Commands, claim_one, insert, patient, queue, read

Collection = AsyncCollection[Document]


def counting(leads: Collection) -> Leads:
    return queue(leads, counts_costs=True)


async def claimed(leads: Collection, id_: int = 1) -> Lease:
    ours = counting(leads)
    await ours.admit([await insert(leads, id_)])
    return await claim_one(ours)


async def spent(leads: Collection) -> Any:
    return (await read(leads))["enrichment"].get("spent")


async def again(leads: Collection, **changes: Any) -> int:
    """Claim it again after these changes; return what it has spent by then."""
    await leads.update_one({"_id": 1}, {"$set": changes})
    return (await claim_one(counting(leads))).lead.spent


async def test_the_count_rises_and_never_falls(leads: Collection) -> None:
    lease, costs = await claimed(leads), Costs(leads, patient())
    assert lease.lead.spent == 0
    assert await costs.note(lease, 5)
    assert await costs.note(lease, 3)
    assert await spent(leads) == 5


async def test_only_the_holder_may_spend(leads: Collection) -> None:
    stale, costs = await claimed(leads), Costs(leads, patient())
    assert await costs.note(stale, 5)
    assert await again(leads, **{"enrichment.due_at": PAST}) == 5, "a take-over goes on counting"
    assert not await costs.note(stale, 7)
    assert await spent(leads) == 5


@pytest.mark.parametrize("changes", [{"enrichment_status": "pending"}, {"enrichment.due_at": PAST}])
async def test_a_user_s_pending_and_a_refresh_count_anew(
    leads: Collection, changes: Document
) -> None:
    lease = await claimed(leads)
    assert await Costs(leads, patient()).note(lease, 5)
    settler = Settler(leads, lambda: timedelta(days=90), apart=patient())
    assert await settler.settle(lease, Completed({}, {}, spent=4)) is Settled.WRITTEN
    assert await spent(leads) == 4, "what it did cost"
    assert await again(leads, **changes) == 0


async def test_a_retry_and_what_was_released_go_on_counting(leads: Collection) -> None:
    lease = await claimed(leads)
    settler = Settler(leads, lambda: None, apart=patient())
    await settler.settle(lease, Retrying({}, {}, "later", timedelta(0), spent=4))
    lease = await claim_one(counting(leads))
    assert lease.lead.spent == 4
    assert await settler.costs.note(lease, 6)
    await counting(leads).release([lease])
    assert (await claim_one(counting(leads))).lead.spent == 6


async def test_a_recheck_goes_on_counting(leads: Collection) -> None:
    lease = await claimed(leads)
    settler = Settler(leads, lambda: timedelta(days=90), apart=patient())
    await settler.settle(lease, Completed({}, {}, spent=4))
    planned = {"enrichment.due_at": PAST, "enrichment.recheck_since": PAST}
    assert await again(leads, **planned) == 4


@pytest.mark.parametrize("garbage", ["much", -1, float("nan"), 1e300, None, {"a": 1}])
async def test_garbage_counts_as_nothing(leads: Collection, garbage: object) -> None:
    lease = await claimed(leads)
    await leads.update_one({"_id": 1}, {"$set": {"enrichment.spent": garbage}})
    assert await Costs(leads, patient()).note(lease, 5)
    assert await spent(leads) == 5


async def test_leads_that_spend_at_the_same_time_share_a_write(
    mongodb_uri: str, leads: Collection
) -> None:
    commands = Commands()
    client: AsyncMongoClient[Document] = AsyncMongoClient(mongodb_uri, event_listeners=[commands])
    async with client:
        leads = client[leads.database.name][leads.name]
        ours = counting(leads)
        await ours.admit([await insert(leads, number) for number in range(50)])
        leases = (await ours.claim(50)).leases
        costs = Costs(leads, patient())
        commands.sent.clear()
        amounts = [(lease, amount) for lease in leases for amount in (1, 2)]
        noted = await asyncio.gather(*(costs.note(*each) for each in amounts))
        assert all(noted)
        assert commands.names() == ["update"]
        assert await leads.count_documents({"enrichment.spent": 2}) == 50


async def test_one_lost_lead_among_many_is_told(leads: Collection) -> None:
    ours = counting(leads)
    await ours.admit([await insert(leads, number) for number in range(3)])
    leases = (await ours.claim(3)).leases
    await leads.update_one({"_id": leases[1].lead_id}, {"$inc": {"enrichment.token": 1}})
    await leads.delete_one({"_id": leases[2].lead_id})
    costs = Costs(leads, patient())
    assert await asyncio.gather(*(costs.note(lease, 1) for lease in leases)) == [True, False, False]


async def test_without_a_ceiling_nothing_is_counted(leads: Collection) -> None:
    ours = queue(leads, LEASE)
    await ours.admit([await insert(leads)])
    lease = await claim_one(ours)
    await Settler(leads, lambda: None, apart=patient()).settle(lease, Completed({}, {}))
    assert "spent" not in (await read(leads))["enrichment"]
