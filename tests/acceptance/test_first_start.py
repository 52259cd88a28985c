"""Old leads are nobody's work until somebody asks; a lead that came while nobody watched is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from bson import CodecOptions, ObjectId
from bson.raw_bson import RawBSONDocument

from enricher.lead import Document, LeadId
from tests.processes import Daemon
from tests.rig import Rig, address, domain

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

MODES = pytest.mark.parametrize(
    "settings", [{}, {"ENRICHER_STREAM": "false"}], ids=["streaming", "polling"]
)


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
    return {repr(document["_id"]): document.raw for document in found}


async def a_new_lead_is_enriched(rig: Rig, name: str) -> None:
    """Also the proof that the daemon got as far as working, whatever else it left alone."""
    await rig.leads.insert_one({"_id": name, "company_domain": domain()})
    assert await rig.witness.end_of(name) == "completed"


@asynccontextmanager
async def run_to_its_end(rig: Rig, **settings: object) -> AsyncIterator[Daemon]:
    async with rig.daemon("clearbit", **settings) as daemon:
        yield daemon
        daemon.terminate()
        assert await daemon.wait() == 0


@MODES
async def test_leads_from_before_the_first_start_stay_byte_for_byte_what_they_were(
    rig: Rig, settings: dict[str, object]
) -> None:
    leads = old_leads()
    await rig.leads.insert_many(leads)
    ids = [lead["_id"] for lead in leads]
    before = await as_bytes(rig, ids)
    for start in ("first", "second"):
        async with run_to_its_end(rig, **settings) as daemon:
            if start == "first":
                await daemon.wait_for_event("history.recorded", leads=5)
            await a_new_lead_is_enriched(rig, f"after the {start} start")
        assert await as_bytes(rig, ids) == before
    assert sum(rig.questions().values()) == 2


async def test_old_leads_stay_untouched_when_a_restarted_daemon_polls(rig: Rig) -> None:
    leads = old_leads()
    await rig.leads.insert_many(leads)
    ids = [lead["_id"] for lead in leads]
    before = await as_bytes(rig, ids)
    async with run_to_its_end(rig):
        await a_new_lead_is_enriched(rig, "streamed")
    async with run_to_its_end(rig, ENRICHER_STREAM="false", ENRICHER_POLL_SECONDS=0.2):
        await a_new_lead_is_enriched(rig, "polled")
    assert await as_bytes(rig, ids) == before


async def test_an_old_lead_stays_untouched_when_its_writer_replaces_or_edits_it(rig: Rig) -> None:
    await rig.leads.insert_many([{"_id": "replaced"}, {"_id": "edited"}])
    async with run_to_its_end(rig) as daemon:
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
    async with run_to_its_end(rig, **settings) as daemon:
        assert await rig.witness.end_of("asked before") == "completed"
        await daemon.wait_for_event("history.recorded")
        wish = {"$set": {"enrichment_status": "pending"}}
        await rig.leads.update_one({"_id": "asks later"}, wish)
        assert await rig.witness.end_of("asks later") == "completed"


@MODES
async def test_leads_inserted_while_nobody_watched_are_enriched_after_the_next_start(
    rig: Rig, settings: dict[str, object]
) -> None:
    async with run_to_its_end(rig, **settings) as first:
        await first.wait_for_event("history.recorded")
    leads = [{"_id": number, "company_domain": domain()} for number in range(50)]
    await rig.leads.insert_many(leads)
    async with run_to_its_end(rig, **settings):
        await rig.witness.all_ended(range(50))
    assert rig.witness.settled_more_than_once() == {}
    assert rig.asked_twice() == {}


async def test_a_lead_inserted_in_the_moment_after_the_first_opening_is_not_history(
    rig: Rig,
) -> None:
    async with rig.daemon("clearbit") as killed:
        await killed.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": "in between", "company_domain": domain()})
        killed.kill()
        await killed.wait()
    async with run_to_its_end(rig, ENRICHER_LEASE_SECONDS=1):
        assert await rig.witness.end_of("in between") == "completed"


async def test_the_position_in_the_stream_survives_a_restart(rig: Rig) -> None:
    async with run_to_its_end(rig) as first:
        assert (await first.wait_for_event("stream.opened"))["start"] == "now"
        await a_new_lead_is_enriched(rig, "before")
    async with run_to_its_end(rig) as second:
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
        await killed.wait()
    await rig.leads.insert_one({"_id": "meanwhile", "company_domain": domain()})
    async with run_to_its_end(rig) as second:
        assert (await second.wait_for_event("stream.opened"))["start"] == "token"
        assert await rig.witness.end_of("meanwhile") == "completed"


@pytest.mark.parametrize("status", ["processing", "retrying", "failed", "skipped", "completed"])
async def test_a_lead_that_is_due_is_done_whatever_its_status(rig: Rig, status: str) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    due = {"company_domain": domain(), "enrichment_status": status, "enrichment": {"due_at": past}}
    later = {**due, "enrichment": {"due_at": past + timedelta(hours=1)}}
    await rig.leads.insert_many([{"_id": "due", **due}, {"_id": "not yet", **later}])
    async with run_to_its_end(rig):
        await rig.witness.until(lambda: bool(rig.witness.settles("due")))
    assert [step.status for step in rig.witness.settles("due")] == ["completed"]
    assert rig.witness.settles("not yet") == []
