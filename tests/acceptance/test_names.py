"""Our fields under the user's own names, within their objects: the whole way of a lead, with a real daemon."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from enricher.fields import Names
from enricher.lead import Document
from enricher.values.storable import within
from tests.support.processes import Daemon
from tests.support.rig import Rig, domain
from tests.support.waiting import eventually

NAMES = Names(
    enrichment_status="meta.enrichment.status",
    enriched_data="meta.enrichment.data",
    enriched_at="meta.enrichment.at",
    enrichment_error="meta.enrichment.error",
    updated_at="",
    enrichment="meta.enrichment.book",
)
CONFIG = """
[[source]]
collection = "leads"
[source.names]
enrichment_status = "meta.enrichment.status"
enriched_data = "meta.enrichment.data"
enriched_at = "meta.enrichment.at"
enrichment_error = "meta.enrichment.error"
updated_at = ""
enrichment = "meta.enrichment.book"
"""
STATUS = NAMES.enrichment_status
LEADS = 60


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    (file := tmp_path / "crm.toml").write_text(CONFIG)
    return {
        "ENRICHER_CONFIG": file,
        "ENRICHER_LEASE_SECONDS": 2,
        "ENRICHER_POLL_SECONDS": 0.5,
        "ENRICHER_CONCURRENCY": 16,
    }


async def are(rig: Rig, status: str, leads: int) -> bool:
    return await rig.leads.count_documents({STATUS: status}) == leads


def theirs(lead: Document) -> Document:
    """What the user keeps there, without what is ours."""
    meta = {name: value for name, value in lead["meta"].items() if name != "enrichment"}
    return {**lead, "meta": meta}


async def test_leads_keep_their_shape_and_have_our_fields_under_their_names(
    rig: Rig, settings: dict[str, object]
) -> None:
    rig.simulator.latency, rig.simulator.jitter = 0.1, 0.4
    old = {"_id": "old", "company_domain": domain(), "meta": {"owner": "Bo"}}
    await rig.leads.insert_one(old)
    leads = [
        {"_id": number, "company_domain": domain(), "meta": {"owner": "Bo"}}
        for number in range(LEADS)
    ]
    noted = {"_id": "noted", "company_domain": domain(), "meta": "call back on Monday"}
    few = settings | {"ENRICHER_CONCURRENCY": 4}  # or all might be done before anybody has looked
    async with rig.daemon("clearbit", **few) as killed:
        await killed.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads)
        await eventually(partial(has_begun, rig))
        killed.kill()
        await killed.wait()
    async with rig.daemon("clearbit", **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await eventually(partial(are, rig, "completed", LEADS), within=30)
        await rig.leads.insert_one(noted)
        line = await daemon.wait_for_event("lead.unwritable")
        assert line["why"] == "The field meta is no object, so nothing of ours can stand in it."

        for lead in leads:
            found = await rig.lead(lead["_id"])
            assert theirs(found) == lead
            assert within(found, "meta.enrichment.data.company_data.name")
            assert within(found, "meta.enrichment.at")
        assert await rig.lead("old") == old
        assert await rig.lead("noted") == noted
        asked = len(rig.simulator.journal)

        await rig.leads.update_one({"_id": 1}, {"$set": {"company_domain": domain()}})
        await rig.leads.update_one({"_id": 1}, {"$set": {STATUS: "pending"}})
        await rig.simulator.journal.until(lambda: len(rig.simulator.journal) > asked)
        await eventually(partial(are, rig, "completed", LEADS))
        await rig.leads.update_one({"_id": "old"}, {"$set": {STATUS: "pending"}})
        await eventually(partial(are, rig, "completed", LEADS + 1))

    assert len(rig.asked_twice()) <= 16, "only calls that were under way at the kill"


async def has_begun(rig: Rig) -> bool:
    done = await rig.leads.count_documents({STATUS: "completed"})
    return done >= LEADS // 5 and await rig.leads.count_documents({STATUS: "processing"}) > 0


async def test_commands_know_the_names(rig: Rig, settings: dict[str, object]) -> None:
    lead = {"_id": 1, "company_domain": domain(), "email": "ada@quokka-freight.com"}
    async with rig.daemon("clearbit", **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many([lead, {"_id": 2, "email": "no address"}])
        await eventually(partial(are, rig, "completed", 1))
        await eventually(partial(are, rig, "failed", 1))
    environment = rig.environment("clearbit") | {key: str(v) for key, v in settings.items()}
    said = [
        (("explain", "1", "--json"), '"status": "completed"'),
        (("status", "--json"), '"failed": 1'),
        (("reenrich", "--failed"), "1 lead is pending now."),
        (("forget", "ada@quokka-freight.com"), "leads erased: 1"),
    ]
    for command, answer in said:
        async with Daemon(*command, env=environment) as ended:
            assert await ended.wait() == 0
            assert answer in ended.stdout
    assert within(await rig.lead(1), STATUS) == "skipped"
    assert within(await rig.lead(2), STATUS) == "pending"


async def test_names_that_clash_stop_the_start_with_a_line_each(rig: Rig, tmp_path: Path) -> None:
    (file := tmp_path / "crm.toml").write_text(
        '[[source]]\ncollection = "leads"\n[source.names]\n'
        'enrichment_status = "email.state"\nenriched_data = ""\nenriched_at = "enrichment.at"\n'
    )
    environment = rig.environment() | {"ENRICHER_CONFIG": str(file)}
    async with Daemon("run", env=environment) as ended:
        assert await ended.wait() == 2
        lines = [line["text"] for line in ended.lines if "source 1" in line.get("text", "")]
    assert [line.partition("source 1, ")[2] for line in lines] == [
        "names.enriched_data: expected the name of a field: nothing works without it",
        "names.enrichment: expected another field than that of names.enriched_at, and none below it",
        "read.email: expected a field of your own: the daemon writes that one",
    ]
