"""Leads whose status or book-keeping a writer's save has spoilt, and the real daemon."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from enricher.intake.checkpoints import COLLECTION
from enricher.lead import Document, LeadId
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, open_rig
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON: dict[str, Any] = {"ENRICHER_LEASE_SECONDS": 2, "ENRICHER_POLL_SECONDS": 0.3}
POLLING: dict[str, Any] = {**SOON, "ENRICHER_STREAM": "false"}


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[SOON, POLLING], ids=["stream", "polling"]
)
async def running(
    mongodb_uri: str, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Rig, Daemon]]:
    async with open_rig(mongodb_uri) as rig, rig.daemon(**request.param) as daemon:
        await daemon.wait_for_event("history.recorded")
        yield rig, daemon


async def completed(rig: Rig) -> Document:
    """A lead that went its usual way."""
    id_ = (await rig.leads.insert_one({"email": address(), "company": "Quokka"})).inserted_id
    assert await rig.witness.end_of(id_) == "completed"
    rig.witness.forget(id_)
    return await rig.lead(id_)


async def _unset(rig: Rig, lead: Document, status: str) -> None:
    change = {"$set": {"enrichment_status": status}, "$unset": {"enrichment": 1}}
    await rig.leads.update_one({"_id": lead["_id"]}, change)


async def _saved_as_json(rig: Rig, lead: Document, status: str) -> None:
    body = json.loads(json.dumps({**lead, "_id": 0}, default=lambda date: date.isoformat()))
    del body["_id"]
    await rig.leads.update_one(
        {"_id": lead["_id"]}, {"$set": {**body, "enrichment_status": status}}
    )


async def _replaced_by_a_model_without_it(rig: Rig, lead: Document, status: str) -> None:
    model = {name: value for name, value in lead.items() if name != "enrichment"}
    await rig.leads.replace_one({"_id": lead["_id"]}, {**model, "enrichment_status": status})


async def _set_back(rig: Rig, lead: Document, status: str) -> None:
    """Its fields alone, from a copy that was read while the lead was in work."""
    await rig.leads.update_one({"_id": lead["_id"]}, {"$set": {"enrichment_status": status}})


async def _dated_in_the_past(rig: Rig, lead: Document, status: str) -> None:
    long_ago = datetime(1900, 1, 1, tzinfo=UTC)
    change = {"enrichment_status": status, "enrichment.due_at": long_ago}
    await rig.leads.update_one({"_id": lead["_id"]}, {"$set": change})


@pytest.mark.parametrize("status", ["processing", "retrying"])
@pytest.mark.parametrize(
    "save",
    [_unset, _saved_as_json, _replaced_by_a_model_without_it, _set_back, _dated_in_the_past],
)
async def test_a_lead_in_work_that_nobody_holds_is_work_again_within_a_lease(
    running: tuple[Rig, Daemon], save: Any, status: str
) -> None:
    rig, _ = running
    lead = await completed(rig)
    await save(rig, lead, status)
    assert await rig.witness.end_of(lead["_id"], within=10) == "completed"


async def test_a_completed_lead_that_is_replaced_without_its_book_keeping_is_refreshed(
    running: tuple[Rig, Daemon],
) -> None:
    rig, _ = running
    lead = await completed(rig)
    await _replaced_by_a_model_without_it(rig, lead, "completed")
    await eventually(lambda: _is_due_in_a_while(rig, lead["_id"]), within=10)
    assert (await rig.lead(lead["_id"]))["enriched_at"] == lead["enriched_at"]


async def _is_due_in_a_while(rig: Rig, id_: LeadId) -> bool:
    due_at = (await rig.lead(id_)).get("enrichment", {}).get("due_at")
    return bool(due_at and due_at > datetime.now(UTC) + timedelta(days=80))


# -- a status that was taken away ---------------------------------------------------------------

NEW = 2
TAKEN_AWAY: tuple[Document, ...] = (
    {"$unset": {"enrichment_status": 1}},
    {"$set": {"enrichment_status": None}},
    {"$unset": {"enrichment_status": 1, "enrichment": 1}},
    {"$unset": {"enrichment_status": 1, "enriched_at": 1, "enriched_data": 1}},
)


async def test_a_status_that_is_taken_away_by_hand_has_one_meaning(mongodb_uri: str) -> None:
    """With a stream, while polling, over a restart, and in the search after a gap."""
    async with open_rig(mongodb_uri) as rig:
        async with rig.daemon(**SOON) as daemon:
            await daemon.wait_for_event("history.recorded")
            leads = [(await completed(rig))["_id"] for _ in TAKEN_AWAY]
            for id_, change in zip(leads, TAKEN_AWAY, strict=True):
                await rig.leads.update_one({"_id": id_}, change)
            await _is_working(rig)
        calls = len(list(rig.simulator.journal))
        of_one = calls // (len(leads) + NEW)
        before = [await rig.lead(id_) for id_ in leads]
        await rig.database[COLLECTION].update_one({"_id": "leads"}, {"$unset": {"token": 1}})
        for settings in (SOON, POLLING):
            async with rig.daemon(**settings):
                await _is_working(rig)
        assert [await rig.lead(id_) for id_ in leads] == before
        assert len(list(rig.simulator.journal)) == calls + 2 * NEW * of_one

        async with rig.daemon(**SOON):
            for id_ in leads:
                await rig.leads.update_one({"_id": id_}, {"$set": {"enrichment_status": "pending"}})
                assert await rig.witness.end_of(id_) == "completed"


async def _is_working(rig: Rig) -> None:
    """Whatever came before has been looked at."""
    for _ in range(NEW):
        await completed(rig)
