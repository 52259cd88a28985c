"""Erasing a person from the leads: what goes, what stays, and who can still write."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Completed, Document, Progress, Reason
from enricher.store.erasure import Erasure
from enricher.store.keep import Keeper
from enricher.store.settle import Settled, Settler
from tests.integration.queueing import claim_new, insert, queue, read

Leads = AsyncCollection[Document]

COMPANY = {"name": "Quokka Freight", "industry": "Transport"}
DATA: Document = {
    "company_data": COMPANY,
    "person_data": {"full_name": "Ada Lovelace"},
    "email_verification": {"status": "valid", "score": 99},
    "social_profiles": {"company": {"linkedin": "https://a"}, "person": {"github": "https://b"}},
    "enrichment_metadata": {
        "completeness_score": 50,
        "completeness_missing": [],
        "flags": ["domain_conflict", "employer_mismatch"],
        "sources_used": ["clearbit", "hunter"],
        "provenance": {
            "company_data": {"name": "clearbit"},
            "person_data": {"full_name": "x"},
            "email_verification": {"status": "hunter"},
        },
        "alternatives": {"person_data": {"full_name": "A. L."}, "company_data": {"name": "Q"}},
        "confidence": {"person_data": {"full_name": 0.9}},
    },
    "notes": "somebody else's",
}


async def test_what_is_about_the_person_goes_and_the_company_stays(ours: Leads) -> None:
    await insert(ours, enriched_data=DATA, enrichment_status="completed")
    assert await Erasure(ours).erase(1)
    data = (await read(ours))["enriched_data"]
    assert (data["person_data"], data["email_verification"]) == (None, None)
    assert data["company_data"] == COMPANY
    assert data["social_profiles"] == {"company": {"linkedin": "https://a"}, "person": {}}
    assert data["notes"] == "somebody else's"
    known = data["enrichment_metadata"]
    assert known["provenance"] == {"company_data": {"name": "clearbit"}}
    assert known["alternatives"] == {"company_data": {"name": "Q"}}
    assert known["confidence"] == {}
    assert known["flags"] == ["domain_conflict"]
    assert known["completeness_score"] == 20
    assert "email.valid" in known["completeness_missing"]


async def test_the_lead_is_skipped_with_the_reason_and_keeps_its_own_fields(ours: Leads) -> None:
    book = {"subject": "s", "due_at": "x", "queued_at": "x", "token": 4, "priority": 3}
    await insert(ours, name="Ada", enrichment_status="completed", enrichment=book)
    await Erasure(ours).erase(1)
    lead = await read(ours)
    assert (lead["email"], lead["name"]) == ("ada@quokka-freight.com", "Ada")
    assert lead["enrichment_status"] == "skipped"
    assert lead["enrichment_error"] == Reason.SUPPRESSED.sentence
    assert lead["enrichment"]["token"] == 5
    assert not {"subject", "due_at", "queued_at", "inputs"} & set(lead["enrichment"])


async def test_a_worker_that_has_the_lead_can_write_nothing_any_more(ours: Leads) -> None:
    lease = await claim_new(ours)
    await Erasure(ours).erase(lease.lead_id)
    await Keeper(ours).keep(lease, Progress(DATA, {}, "subject"))
    assert await queue(ours).renew([lease]) == [lease]
    settled = await Settler(ours, lambda: None).settle(lease, Completed(DATA, {}))
    assert settled is Settled.LEASE_LOST
    lead = await read(ours)
    assert lead["enrichment_status"] == "skipped"
    assert not lead.get("enriched_data")


@pytest.mark.parametrize(
    "garbage",
    [
        {"enriched_data": "text"},
        {"enriched_data": [{"person_data": 1}]},
        {"enriched_data": None},
        {"enriched_data": {"social_profiles": "x", "enrichment_metadata": "y"}},
        {"enriched_data": {"enrichment_metadata": {"provenance": [1], "flags": {"a": 1}}}},
        {"enrichment": ["x"]},
        {"enrichment": {"token": "x"}},
    ],
)
async def test_garbage_in_a_lead_stops_nothing(ours: Leads, garbage: dict[str, Any]) -> None:
    await insert(ours, **garbage)
    assert await Erasure(ours).erase(1)
    assert (await read(ours))["enrichment_status"] == "skipped"


async def test_a_lead_with_another_address_by_now_only_loses_the_data(ours: Leads) -> None:
    book = {"subject": "of-ada", "token": 4}
    await insert(ours, enriched_data=DATA, enrichment_status="completed", enrichment=book)
    assert await Erasure(ours).erase_data(1, "of-ada")
    lead = await read(ours)
    assert lead["enriched_data"]["person_data"] is None
    assert (lead["enrichment_status"], lead["enrichment"]) == ("completed", {"token": 4})
    assert not await Erasure(ours).erase_data(1, "of-ada")


async def test_a_lead_that_cannot_be_written_is_told(ours: Leads) -> None:
    await insert(ours)
    await ours.database.command(
        "collMod", ours.name, validator={"enrichment_status": {"$ne": "skipped"}}
    )
    assert not await Erasure(ours).erase(1)
