"""Companies' own web sites, read by the real daemon where an operator has turned that on."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.support.nasty_sites import serve_nasty
from tests.support.rig import Rig, domain, open_rig
from tests.support.site_server import site_server
from tests.support.sites import ORDINARY, prepared


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


async def test_of_two_hundred_sites_and_nasty_ones_a_daemon_learns_what_they_are_and_goes_nowhere_else(
    mongodb_uri: str,
) -> None:
    async with open_rig(mongodb_uri) as rig, site_server() as sites:
        all_of_them = [*prepared(), *serve_nasty(sites, drip=True)]
        for site in all_of_them:
            sites.serve(site)
        keys = {f"{name.upper()}_API_KEY": "" for name in rig.simulator.base_urls}
        website = {"ENRICHER_WEBSITE": "true", "ENRICHER_WEBSITE_LOOPBACK": str(sites.port)}
        async with rig.daemon(**keys, **website) as daemon:
            await daemon.wait_for_event("stream.opened")
            await rig.leads.insert_many(
                [{"_id": site.domain, "email": f"ada@{site.domain}"} for site in all_of_them]
            )
            await rig.witness.all_ended([site.domain for site in all_of_them], within=120)
        found = {lead["_id"]: lead["enriched_data"] or {} async for lead in rig.leads.find()}
        asked = Counter(each.host.removeprefix("www.") for each in sites.asked)
    named = {key: (data.get("company_data") or {}).get("name") for key, data in found.items()}
    wrong = {
        site.domain: named[site.domain] for site in all_of_them if named[site.domain] != site.name
    }
    scores = [
        found[site.domain]["enrichment_metadata"]["completeness_score"]
        for site in all_of_them
        if site.kind in ORDINARY
    ]
    print(  # noqa: T201 - figures for people
        f"{len(all_of_them)} sites, {len(scores)} of them ordinary: completeness {sum(scores) / len(scores):.1f},"
        f" at least {min(scores)}; {len(wrong)} wrong; {asked.total()} requests, at most {max(asked.values())} to a"
        f" site; {sites.trespassers} to a forbidden address, {len(sites.hosts() - named.keys())} to another name"
    )  # fmt: skip
    assert len(scores) >= 100
    assert sum(scores) / len(scores) >= 45
    assert wrong == {}
    assert max(asked.values()) <= 3
    assert sites.trespassers == 0
    assert sites.hosts() <= named.keys()
    assert list(rig.simulator.journal) == []
