"""A leads collection that was made with a collation of its own, and the real daemon."""

from __future__ import annotations

import uuid

import pytest

from tests.support.rig import Rig, address

pytestmark = pytest.mark.new_database

LIKE_PENDING = ("PENDING", "Pending", "pénding")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_status_that_the_collation_takes_for_pending_is_left_alone(
    rig: Rig, *, stream: bool
) -> None:
    collation = {"locale": "pt", "strength": 1}
    await rig.database.create_collection(rig.leads.name, collation=collation)
    settings = {"ENRICHER_STREAM": str(stream).lower(), "ENRICHER_POLL_SECONDS": 0.5}
    async with rig.daemon(**settings) as daemon:
        await daemon.wait_for_event("history.recorded")
        odd = [
            {"_id": uuid.uuid4().hex, "email": address(), "enrichment_status": status}
            for status in LIKE_PENDING
        ]
        await rig.leads.insert_many(odd)
        good = uuid.uuid4().hex
        await rig.leads.insert_one({"_id": good, "email": address()})
        assert await rig.witness.end_of(good) == "completed"
    for lead in odd:
        assert await rig.lead(lead["_id"]) == lead
    assert rig.asked_twice() == {}
