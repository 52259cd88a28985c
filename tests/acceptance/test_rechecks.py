"""A thin lead is looked at again, by those alone whose answer can have changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from enricher.lead import Document, LeadId
from tests.support.rig import Rig, domain, open_rig
from tests.support.waiting import eventually

SOON = '["1s","1s"]'
ONLY_COMPANIES = {"ENRICHER_PROVIDERS_OFF": '["hunter","hunter_person"]'}
"""Hunter alone is asked then, which charges nothing for a miss."""


def company(lead: Document) -> Document:
    return (lead.get("enriched_data") or {}).get("company_data") or {}


async def until_settled(rig: Rig, lead: LeadId, times: int) -> Document:
    """Wait until daemons were done with the lead so many times."""
    await rig.witness.until(lambda: len(rig.witness.settles(lead)) >= times, within=30)
    return await rig.lead(lead)


async def test_a_company_that_its_vendor_learns_of_later_is_found_by_a_recheck(
    mongodb_uri: str,
) -> None:
    young = domain("newborn")
    async with (
        open_rig(mongodb_uri) as rig,
        rig.daemon("hunter", ENRICHER_RECHECKS=SOON, **ONLY_COMPANIES),
    ):
        await rig.leads.insert_one({"_id": 1, "company_domain": young})
        thin = await until_settled(rig, 1, 1)
        assert company(thin) == {}
        found = await until_settled(rig, 1, 2)
        assert company(found)["name"]
        assert found["enriched_at"] > thin["enriched_at"]
        assert rig.questions(young) == {("hunter", young): 2}


async def test_rechecks_that_find_nothing_leave_the_lead_to_its_refresh_as_it_is(
    mongodb_uri: str,
) -> None:
    obscure = domain("stealth")
    async with (
        open_rig(mongodb_uri) as rig,
        rig.daemon("hunter", ENRICHER_RECHECKS=SOON, **ONLY_COMPANIES),
    ):
        await rig.leads.insert_one({"_id": 1, "company_domain": obscure})
        thin = await until_settled(rig, 1, 1)
        last = await until_settled(rig, 1, 3)
        kept = ("enriched_data", "enriched_at", "updated_at", "enrichment_error")
        assert [last.get(name) for name in kept] == [thin.get(name) for name in kept]
        days = (last["enrichment"]["due_at"] - thin["enriched_at"]) / timedelta(days=1)
        assert 80 < days < 100
        assert rig.questions(obscure) == {("hunter", obscure): 3}


@pytest.mark.parametrize("where", ["lead", "beside"])
async def test_all_daemons_together_make_no_more_calls_for_rechecks_in_a_day_than_they_may(
    mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory, where: str
) -> None:
    described = tmp_path_factory.mktemp("config") / "sources.toml"
    described.write_text(f'[[source]]\ncollection = "leads"\nwrite = "{where}"\n')
    results = "leads" if where == "lead" else "enricher_results_leads"
    settings = {
        **ONLY_COMPANIES,
        "ENRICHER_CONFIG": str(described),
        "ENRICHER_RECHECKS": '["1s"]',
        "ENRICHER_RECHECKS_PER_DAY": 3,
    }
    async with open_rig(mongodb_uri) as rig:
        async with rig.daemon("hunter", **settings), rig.daemon("hunter", **settings):
            new = [{"_id": n, "company_domain": domain("stealth")} for n in range(8)]
            await rig.leads.insert_many(new)
            later = datetime.now(UTC) + timedelta(minutes=1)
            waiting = {
                "enrichment_status": "completed",
                "enrichment.recheck_since": {"$exists": True},
                "enrichment.due_at": {"$gt": later},
            }
            done = {"enrichment_status": "completed", "enrichment.rechecks": 1}

            async def are_all_through() -> bool:
                leads = rig.database[results]
                counts = [await leads.count_documents(each) for each in (waiting, done)]
                return counts == [5, 3]

            await eventually(are_all_through, within=40)
        assert rig.questions().total() == 8 + 3
