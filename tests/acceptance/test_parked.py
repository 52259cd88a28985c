"""Leads by the thousands that wait for a vendor come back in the background, at a start as well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from enricher.lead import Document
from enricher.limits.bucket import Bucket
from tests.support.rig import Rig, domain

PARKED = 2500
"""More than two batches."""
NEW = 20


def parked_lead(number: int) -> Document:
    """As a daemon leaves it when the vendor's credits are used up."""
    book = {
        "due_at": datetime.now(UTC) + timedelta(hours=5),
        "held_by": ["clearbit"],
        "priority": 1.0,
        "token": 1,
        "attempts": 0,
    }
    return {
        "_id": number,
        "company_domain": domain(),
        "enrichment_status": "retrying",
        "enrichment": book,
    }


async def test_new_leads_go_on_while_thousands_are_called_back_at_a_start(rig: Rig) -> None:
    await rig.leads.insert_many([parked_lead(number) for number in range(PARKED)])
    await Bucket(rig.database, "clearbit", ()).hold("quota_spent", 5 * 3600)
    rig.simulator.latency = 0.3  # or half of them might be done before a busy machine has looked
    async with rig.daemon("clearbit") as daemon:
        await daemon.wait_for_event("stream.opened")
        new = [f"new {number}" for number in range(NEW)]
        for id_ in new:
            await rig.leads.insert_one({"_id": id_, "company_domain": domain()})
        await rig.witness.all_ended(new)
        assert await rig.leads.count_documents({"enrichment_status": "retrying"}) > PARKED // 2
        called_back = await daemon.wait_for_event("leads.called_back", provider="clearbit")
        assert called_back["leads"] == PARKED
    assert {rig.witness.statuses(id_)[-1] for id_ in new} == {"completed"}
