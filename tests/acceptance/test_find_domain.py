"""A lead with a company's name and no domain: found by name where the operator wants that, or nothing is written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from enricher.lead import Document
from tests.support.processes import Daemon
from tests.support.rig import Rig, open_rig
from tests.support.waiting import eventually

ALL = ("hunter", "pdl", "apollo")
SETTINGS = {
    "PDL_API_KEY": "simulated",
    "APOLLO_API_KEY": "simulated",
    "ENRICHER_FIND_DOMAIN": "true",
    "ENRICHER_PROVIDERS_OFF": "[]",
    "PDL_RATE_LIMIT": "1000",
    "APOLLO_RATE_LIMIT": "1000",
}
STORIES = {
    "plain": "Quokka Freight Ltda",
    "none": "Quokka Unknown Ltda",
    "ambiguous": "Quokka Namesake Ltda",
    "wrong": "Quokka Misnamed Ltda",
    "vague": "Quokka Vague Ltda",
    "common": "Padaria Central Ltda",
    "person": "Ada Lovelace ME",
}
NOT_FOUND = {"none", "ambiguous", "wrong", "vague"}


@pytest.fixture
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    async with open_rig(mongodb_uri) as made:
        yield made


def _metadata(lead: Document) -> Document:
    return dict(lead["enriched_data"]["enrichment_metadata"])


def _questions(rig: Rig, vendor: str) -> list[str]:
    return sorted(entry.question for entry in rig.simulator.journal.calls(vendor=vendor))


async def _explained(rig: Rig, lead: str) -> Document:
    settings = rig.environment("hunter") | SETTINGS
    async with Daemon("explain", lead, "--json", env=settings) as command:
        assert await command.wait() == 0
    return dict(json.loads(command.stdout)["leads"][0])


async def test_each_story_of_a_name_ends_as_it_should_and_is_explained(rig: Rig) -> None:
    leads = [{"_id": key, "company": name} for key, name in STORIES.items()]
    again = {"_id": "again", "company": "QUOKKA FREIGHT LTDA.", "email": "ada.quokka@gmail.com"}
    for each in leads:
        each["name"] = "Ada Lovelace"
    async with rig.daemon("hunter", **SETTINGS) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many([*leads, again])
        await rig.witness.all_ended([*STORIES, "again"])
        told, not_told = await _explained(rig, "plain"), await _explained(rig, "wrong")
    found = {key: await rig.lead(key) for key in (*STORIES, "again")}

    for key in ("plain", "again"):
        company, known = found[key]["enriched_data"]["company_data"], _metadata(found[key])
        assert company["domain"] == "quokka-freight.com"
        assert "domain_found_by_name" in known["flags"]
        assert known["provenance"]["company_data"]["domain"] == "pdl_finder"
        assert known["confidence"]["company_data"]["domain"] == 0.9
        assert known["sources_skipped"]["hunter_finder"] == "the domain was found"
        assert known["sources_skipped"].get("pdl_company")
    assert _questions(rig, "pdl").count("quokka freight ltda") == 1, "both leads, one call"

    for key in NOT_FOUND:
        data = found[key]["enriched_data"]
        assert data["company_data"] is None
        assert "domain_found_by_name" not in _metadata(found[key])["flags"]
        assert found[key]["enrichment_status"] == "completed"
    for key in ("common", "person"):
        assert found[key]["enrichment_status"] == "skipped"
    asked = {question for vendor in ALL for question in _questions(rig, vendor)}
    assert not any("padaria" in each or "lovelace" in each for each in asked)
    assert not any("other-" in each or "-at-" in each for each in asked), "no wrong company's data"

    assert told["who"]["company_domain"] == "quokka-freight.com"
    assert told["who"]["from_field"] == "the company's name"
    whys = {each["provider"]: each["why"] for each in not_told["providers"]}
    assert whys["pdl_finder"] == "the vendor's company has another name"


async def test_without_the_setting_a_name_leaves_the_lead_skipped_and_nobody_is_asked(
    rig: Rig,
) -> None:
    settings = {**SETTINGS, "ENRICHER_FIND_DOMAIN": "false"}
    async with rig.daemon("hunter", **settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "company": "Quokka Freight Ltda"})
        assert await rig.witness.end_of(1) == "skipped"
    assert list(rig.simulator.journal) == []


async def test_a_lead_whose_company_is_corrected_gets_nothing_of_the_one_before(rig: Rig) -> None:
    rig.simulator.inject("latency", vendor="pdl", question="quokka freight ltda", seconds=1.5)
    async with rig.daemon("hunter", **SETTINGS) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "company": "Quokka Freight Ltda"})
        await eventually(lambda: rig.simulator.journal.calls(vendor="pdl"), within=15)
        await rig.leads.update_one({"_id": 1}, {"$set": {"company": "Wombat Railway Ltda"}})
        assert await rig.witness.end_of(1) == "completed"
    company = (await rig.lead(1))["enriched_data"]["company_data"]
    assert (company["domain"], company["name"]) == ("wombat-railway.com", "Wombat Railway")


async def test_budgets_hold_for_finders_and_a_name_is_paid_for_once(rig: Rig) -> None:
    leads = [{"_id": n, "company": f"Quokka Number{n % 5} Ltda"} for n in range(20)]
    only = {**SETTINGS, "PDL_API_KEY": "", "HUNTER_API_KEY": "", "APOLLO_DAILY_BUDGET": "3"}
    async with rig.daemon("hunter", **only) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many(leads)
        for lead in leads:
            await rig.witness.settle_of(lead["_id"])
    asked = _questions(rig, "apollo")
    assert len(asked) == len(set(asked)) == 3
