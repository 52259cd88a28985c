"""Companies' own web sites, read by the real daemon where an operator has turned that on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.rig import Rig, domain, open_rig


@pytest.fixture
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    async with open_rig(mongodb_uri) as made:
        yield made


async def test_a_site_tells_of_its_company_without_a_key_and_once_for_the_fleet(rig: Rig) -> None:
    known, parked = domain(), domain("parked")
    leads = {
        "first": f"ada.lovelace@{known}",
        "second": f"info@{known}",
        "parked": f"ada.lovelace@{parked}",
        "private": "ada.lovelace@gmail.com",
    }
    settings = {
        "ENRICHER_WEBSITE": "true",
        "ENRICHER_WEBSITE_LOOPBACK": str(rig.simulator.port),
        **{f"{name.upper()}_API_KEY": "" for name in rig.simulator.base_urls},
    }
    async with rig.daemon(**settings) as one, rig.daemon(**settings) as other:
        for daemon in (one, other):
            await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many([{"_id": id_, "email": each} for id_, each in leads.items()])
        await rig.witness.all_ended(leads)
        assert await one.wait_for_event("website.loopback")

    found = (await rig.lead("first"))["enriched_data"]
    metadata = found["enrichment_metadata"]
    assert metadata["sources_used"] == ["local", "website"]
    assert metadata["provenance"]["company_data"]["name"] == "website"
    assert {"name", "description", "linkedin_handle", "tech_stack"} <= found["company_data"].keys()
    assert found["social_profiles"]["company"]["linkedin"]
    assert (await rig.lead("second"))["enriched_data"]["company_data"] == found["company_data"]

    nothing = (await rig.lead("parked"))["enriched_data"]["enrichment_metadata"]
    assert nothing["sources_not_found"] == ["website"]
    private = (await rig.lead("private"))["enriched_data"]["enrichment_metadata"]
    assert private["sources_skipped"]["website"] == "free-mail domain"

    asked = [entry.question for entry in rig.simulator.journal.calls(vendor="website")]
    assert set(asked) == {known, parked}
    assert 2 <= asked.count(known) <= 3
    assert asked.count(parked) == 2
    assert await rig.database["enricher_usage"].count_documents({}) == 0


async def test_unless_it_is_turned_on_no_lead_tells_of_it_and_a_start_without_keys_does(
    rig: Rig,
) -> None:
    keys = {f"{name.upper()}_API_KEY": "" for name in rig.simulator.base_urls}
    async with rig.daemon(**keys) as daemon:
        told = await daemon.wait_for_event("website.off")
        assert told["setting"] == "ENRICHER_WEBSITE"
        await daemon.wait_for_event("history.recorded")
        await rig.leads.insert_one({"_id": 1, "email": f"ada@{domain()}"})
        assert await rig.witness.end_of(1) == "completed"
    metadata = (await rig.lead(1))["enriched_data"]["enrichment_metadata"]
    assert metadata["sources_used"] == ["local"]
    assert "website" not in str(metadata)
    assert list(rig.simulator.journal.calls(vendor="website")) == []
