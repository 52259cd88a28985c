"""Results beside the leads: the whole way of a lead, with a real daemon that only reads the user's documents."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from enricher.lead import Document
from tests.support.processes import Daemon
from tests.support.rig import Rig, address, domain, open_rig
from tests.support.waiting import eventually

LEADS = 40
RESULTS = "enricher_results_leads"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    (file := tmp_path / "crm.toml").write_text(
        '[[source]]\ncollection = "leads"\nwrite = "beside"\n'
    )
    return {
        "ENRICHER_CONFIG": file,
        "ENRICHER_LEASE_SECONDS": 2,
        "ENRICHER_POLL_SECONDS": 0.5,
        "ENRICHER_CONCURRENCY": 16,
    }


async def stored(rig: Rig) -> dict[object, bytes]:
    """Every byte of the user's documents, by their ids."""
    raw = rig.leads.with_options(CodecOptions(RawBSONDocument))
    return {each["_id"]: bytes(each.raw) for each in await raw.find().to_list()}


async def are(rig: Rig, status: str, leads: int) -> bool:
    return await rig.database[RESULTS].count_documents({"enrichment_status": status}) == leads


async def has_begun(rig: Rig) -> bool:
    results = rig.database[RESULTS]
    done = await results.count_documents({"enrichment_status": "completed"})
    return (
        done >= LEADS // 5
        and await results.count_documents({"enrichment_status": "processing"}) > 0
    )


async def test_documents_stay_byte_for_byte_what_they_are(
    rig: Rig, settings: dict[str, object]
) -> None:
    rig.simulator.latency, rig.simulator.jitter = 0.1, 0.4
    results = rig.database[RESULTS]
    await rig.leads.insert_one({"_id": "old", "company_domain": domain()})
    leads: list[Document] = [
        {"_id": number, "company_domain": domain(), "updated_at": "theirs"}
        for number in range(LEADS)
    ]
    few = settings | {"ENRICHER_CONCURRENCY": 4}  # or all might be done before anybody has looked
    async with rig.daemon("clearbit", **few) as killed:
        await killed.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads)
        before = await stored(rig)
        await eventually(partial(has_begun, rig))
        killed.kill()
        await killed.wait()
    await rig.leads.insert_one({"_id": "while it was down", "company_domain": domain()})
    before = await stored(rig)
    async with rig.daemon("clearbit", **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await eventually(partial(are, rig, "completed", LEADS + 1), within=30)
        assert await results.count_documents({"_id": "old"}) == 0
        asked = len(rig.simulator.journal)

        await results.update_one({"_id": 1}, {"$set": {"enrichment_status": "pending"}})
        await eventually(partial(has_token, rig, 1, 2))
        await rig.leads.delete_one({"_id": 2})
        await eventually(partial(are, rig, "completed", LEADS))
        assert await results.count_documents({"_id": 2}) == 0
        assert len(rig.simulator.journal) == asked, "kept answers"
    before.pop(2)
    assert await stored(rig) == before


async def has_token(rig: Rig, lead: object, least: int) -> bool:
    found = await rig.database[RESULTS].find_one({"_id": lead, "enrichment_status": "completed"})
    return found is not None and found["enrichment"]["token"] >= least


VISITORS = 'only = \'{"state": {"$ne": "visitor"}}\'\n'
AWAY, BACK = {"$set": {"state": "visitor"}}, {"$unset": {"state": ""}}


async def status_is(rig: Rig, lead: object, status: str) -> bool:
    found = {"_id": lead, "enrichment_status": status}
    return await rig.database[RESULTS].find_one(found) is not None


async def test_only_leads_get_results_and_inputs_may_come_late(
    rig: Rig, settings: dict[str, object], tmp_path: Path
) -> None:
    file = tmp_path / "crm.toml"
    file.write_text(file.read_text() + VISITORS)
    results, visitor = rig.database[RESULTS], address()
    async with rig.daemon(**settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": "visitor", "email": visitor, "state": "visitor"})
        await rig.leads.insert_one({"_id": "late", "name": "Ada"})
        await eventually(partial(status_is, rig, "late", "skipped"))
        assert await results.find_one({"_id": "visitor"}) is None
        assert rig.questions(visitor) == {}
        await rig.leads.update_one({"_id": "visitor"}, BACK)
        await rig.leads.update_one({"_id": "late"}, {"$set": {"email": address()}})
        await eventually(partial(status_is, rig, "visitor", "completed"))
        await eventually(partial(status_is, rig, "late", "completed"))
        # A `pending` beside a document that is no lead is not work.
        await rig.leads.update_one({"_id": "late"}, AWAY)
        await results.update_one({"_id": "late"}, {"$set": {"enrichment_status": "pending"}})
        await eventually(partial(status_is, rig, "late", "skipped"))
        await rig.leads.update_one({"_id": "late"}, BACK)
        await eventually(partial(status_is, rig, "late", "completed"))
    assert rig.asked_twice() == {}


async def test_no_further_call_is_made_for_a_lead_that_leaves_or_is_deleted(
    mongodb_uri: str, settings: dict[str, object], tmp_path: Path
) -> None:
    file = tmp_path / "crm.toml"
    file.write_text(file.read_text() + VISITORS)
    async with open_rig(mongodb_uri, latency=0.4) as slow:
        journal = slow.simulator.journal
        # No heartbeat finds out before the next call would be made.
        settings |= {"ENRICHER_PROVIDERS_OFF": '["hunter_person"]', "ENRICHER_LEASE_SECONDS": 60}
        async with slow.daemon(**settings) as daemon:
            await daemon.wait_for_event("stream.opened")
            await slow.leads.insert_one({"_id": "left", "company_domain": domain()})
            await journal.until(lambda: len(journal) == 1)
            await slow.leads.update_one({"_id": "left"}, AWAY)
            await eventually(partial(status_is, slow, "left", "skipped"))
            await slow.leads.insert_one({"_id": "deleted", "company_domain": domain()})
            await journal.until(lambda: len(journal) == 2)
            await slow.leads.delete_one({"_id": "deleted"})
            await eventually(lambda: len(daemon.events("lead.not_written")) == 2)
            assert len(journal) == 2
            assert await slow.database[RESULTS].find_one({"_id": "deleted"}) is None


async def test_commands_read_and_ask_beside(rig: Rig, settings: dict[str, object]) -> None:
    person = address()
    await rig.leads.insert_one({"_id": "old", "company_domain": domain()})
    async with rig.daemon("clearbit", **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many(
            [
                {"_id": 1, "company_domain": domain(), "email": person},
                {"_id": 2, "email": "no address"},
            ]
        )
        await eventually(partial(are, rig, "completed", 1))
        await eventually(partial(are, rig, "failed", 1))
        environment = rig.environment("clearbit") | {key: str(v) for key, v in settings.items()}
        said = [
            (("explain", person, "--json"), '"status": "completed"'),
            (("explain", "old"), "it is history"),
            (("status", "--json"), '"failed": 1'),
            (("check",), "leads can be"),
            (("backfill", "--query", "{}", "--yes"), "1 completed"),
            (("reenrich", "--failed"), "1 lead is pending now."),
            (("reenrich", "--email", person), "1 lead is pending now."),
            (("forget", person), "leads erased: 1"),
        ]
        for command, answer in said:
            async with Daemon(*command, env=environment) as ended:
                await ended.wait()
                assert answer in ended.stdout, command
    result = await rig.database[RESULTS].find_one({"_id": 1})
    assert result is not None
    assert result["enrichment_status"] == "skipped"


async def test_forget_erases_results_that_no_source_describes_any_more(
    rig: Rig, settings: dict[str, object]
) -> None:
    person = address()
    async with rig.daemon("clearbit", **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": person, "company_domain": domain()})
        await eventually(partial(are, rig, "completed", 1))
    async with Daemon("forget", person, env=rig.environment("clearbit")) as command:
        await command.wait()
        assert "leads erased: 1" in command.stdout
    result = await rig.database[RESULTS].find_one({"_id": 1})
    assert result is not None
    assert result["enrichment_status"] == "skipped"
