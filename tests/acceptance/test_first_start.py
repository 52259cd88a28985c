"""Old leads are nobody's work until somebody asks; a lead that came while nobody watched is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from bson import CodecOptions, ObjectId
from bson.raw_bson import RawBSONDocument

from enricher.lead import Document, LeadId
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain

pytestmark = pytest.mark.new_database

SETTLED_OR_IN_WORK = ("processing", "retrying", "failed", "skipped", "completed")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

STREAMING: dict[str, object] = {}
POLLING: dict[str, object] = {"ENRICHER_STREAM": "false", "ENRICHER_POLL_SECONDS": 0.2}

MODES = pytest.mark.parametrize("settings", [STREAMING, POLLING], ids=["streaming", "polling"])


def old_leads() -> list[Document]:
    """What a collection may hold that nobody watched so far; none of it asks for anything."""
    return [
        {"_id": ObjectId(), "email": address(), "created_at": LONG_AGO},
        {"_id": "no status", "company_domain": domain()},
        {"_id": "null", "company_domain": domain(), "enrichment_status": None},
        {"_id": "another tool's", "company_domain": domain(), "enrichment_status": "enriched"},
        {"_id": "done", "company_domain": domain(), "enrichment_status": "completed"},
        {"_id": "skipped", "company_domain": domain(), "enrichment_status": "skipped"},
        {"_id": "odd", "email": 5, "enrichment": "garbage", "enriched_data": [1]},
        {"_id": "bare"},
    ]


async def as_bytes(rig: Rig, ids: list[LeadId]) -> dict[str, bytes]:
    """Each lead exactly as it is stored, the order of its fields included."""
    options: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
    raw = rig.leads.with_options(codec_options=options)
    found = await raw.find({"_id": {"$in": ids}}).to_list()
    return {repr(document["_id"]): bytes(document.raw) for document in found}


async def a_new_lead_is_enriched(rig: Rig, name: str) -> None:
    """Also the proof that the daemon got as far as working, whatever else it left alone."""
    await rig.leads.insert_one({"_id": name, "company_domain": domain()})
    assert await rig.witness.end_of(name) == "completed"


async def finish(daemon: Daemon) -> None:
    daemon.terminate()
    assert await daemon.wait() == 0


@pytest.mark.parametrize(
    "starts",
    [[STREAMING, STREAMING, POLLING], [POLLING, POLLING, STREAMING]],
    ids=["streaming, then polling", "polling, then streaming"],
)
async def test_leads_from_before_the_first_start_stay_byte_for_byte_what_they_were(
    rig: Rig, starts: list[dict[str, object]]
) -> None:
    leads = old_leads()
    await rig.leads.insert_many(leads)
    ids = [lead["_id"] for lead in leads]
    before = await as_bytes(rig, ids)
    for number, settings in enumerate(starts):
        async with rig.daemon("clearbit", **settings) as daemon:
            if number == 0:
                await daemon.wait_for_event("history.recorded", leads=5)
            await a_new_lead_is_enriched(rig, f"after start {number}")
        assert await as_bytes(rig, ids) == before
    assert sum(rig.questions().values()) == len(starts)


async def test_an_old_lead_stays_untouched_when_its_writer_replaces_or_edits_it(rig: Rig) -> None:
    await rig.leads.insert_many([{"_id": "replaced"}, {"_id": "edited"}])
    async with rig.daemon("clearbit") as daemon:
        await daemon.wait_for_event("history.recorded", leads=2)
        await rig.leads.replace_one({"_id": "replaced"}, {"company_domain": domain()})
        await rig.leads.update_one({"_id": "edited"}, {"$set": {"company_domain": domain()}})
        await a_new_lead_is_enriched(rig, "new")
    assert rig.witness.statuses("replaced") == rig.witness.statuses("edited") == []


@MODES
async def test_an_old_lead_that_asks_for_enrichment_gets_it(
    rig: Rig, settings: dict[str, object]
) -> None:
    asking = {"company_domain": domain(), "enrichment_status": "pending"}
    await rig.leads.insert_one({"_id": "asked before", **asking})
    await rig.leads.insert_one({"_id": "asks later", "company_domain": domain()})
    async with rig.daemon("clearbit", **settings) as daemon:
        assert await rig.witness.end_of("asked before") == "completed"
        await daemon.wait_for_event("history.recorded")
        wish = {"$set": {"enrichment_status": "pending"}}
        await rig.leads.update_one({"_id": "asks later"}, wish)
        assert await rig.witness.end_of("asks later") == "completed"


@MODES
async def test_leads_inserted_while_nobody_watched_are_enriched_after_the_next_start(
    rig: Rig, settings: dict[str, object]
) -> None:
    async with rig.daemon("clearbit", **settings) as first:
        await first.wait_for_event("history.recorded")
        await finish(first)
    leads = [{"_id": number, "company_domain": domain()} for number in range(50)]
    await rig.leads.insert_many(leads)
    async with rig.daemon("clearbit", **settings):
        await rig.witness.all_ended(range(50))
    assert rig.witness.settled_more_than_once() == {}
    assert rig.asked_twice() == {}


async def test_a_lead_inserted_in_the_moment_after_the_first_opening_is_not_history(
    rig: Rig,
) -> None:
    # It may have been claimed by then: the lease is to run out within the test.
    async with rig.daemon("clearbit", ENRICHER_LEASE_SECONDS=2) as killed:
        await killed.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": "in between", "company_domain": domain()})
        killed.kill()
    async with rig.daemon("clearbit"):
        assert await rig.witness.end_of("in between") == "completed"


async def test_the_position_in_the_stream_survives_a_restart(rig: Rig) -> None:
    async with rig.daemon("clearbit") as first:
        assert (await first.wait_for_event("stream.opened"))["start"] == "time"
        await first.wait_for_event("history.recorded")
        await a_new_lead_is_enriched(rig, "before")
        await finish(first)
    async with rig.daemon("clearbit") as second:
        assert (await second.wait_for_event("stream.opened"))["start"] == "token"
        assert await second.metric("enricher_stream_opens_total", start="token") == 1
        await a_new_lead_is_enriched(rig, "after")
        assert await second.metric("enricher_leads_admitted_total", source="stream") == 1
    assert rig.witness.settled_more_than_once() == {}


async def test_the_position_survives_a_kill_in_a_collection_where_nothing_happened(
    rig: Rig,
) -> None:
    async with rig.daemon("clearbit") as killed:
        await killed.wait_for_event("history.recorded")
        killed.kill()
    await rig.leads.insert_one({"_id": "meanwhile", "company_domain": domain()})
    async with rig.daemon("clearbit") as second:
        assert (await second.wait_for_event("stream.opened"))["start"] == "token"
        assert await rig.witness.end_of("meanwhile") == "completed"


async def test_a_lead_that_is_due_is_done_whatever_its_status(rig: Rig) -> None:
    now = datetime.now(UTC)
    for status in SETTLED_OR_IN_WORK:
        for due, due_at in (("due", now), ("not due", now + timedelta(hours=1))):
            await rig.leads.insert_one(
                {
                    "_id": f"{status} and {due}",
                    "company_domain": domain(),
                    "enrichment_status": status,
                    "enrichment": {"due_at": due_at},
                }
            )
    async with rig.daemon("clearbit"):
        for status in SETTLED_OR_IN_WORK:
            await rig.witness.settle_of(f"{status} and due")
    for status in SETTLED_OR_IN_WORK:
        assert [s.status for s in rig.witness.settles(f"{status} and due")] == ["completed"]
        assert rig.witness.settles(f"{status} and not due") == []
