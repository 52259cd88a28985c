"""One kind, several providers: who is asked when, by the real daemon and the vendors' own account."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from enricher.lead import Document
from tests.support.rig import Rig, address, domain, open_rig

ALL_ON = "[]"
COMPLETE = {"name": "Quokka", "category": {"industry": "Freight"}, "metrics": {"employees": 40}}
WITHOUT_INDUSTRY = {**COMPLETE, "category": {"industry": None}}
OF_HUNTER = {"data": {**COMPLETE, "name": "Quokka Inc.", "metrics": {"employees": "11-50"}}}


@pytest.fixture
async def rig(mongodb_uri: str) -> AsyncIterator[Rig]:
    async with open_rig(mongodb_uri) as made:
        yield made


def _asked(rig: Rig) -> Counter[tuple[str, str]]:
    return Counter((entry.vendor, entry.route) for entry in rig.simulator.journal)


def _says(rig: Rig, vendor: str, company: str, record: Document) -> None:
    body = json.dumps(record)
    rig.simulator.inject("status", vendor=vendor, question=company, status=200, body=body)


async def test_the_second_company_provider_is_asked_only_when_the_first_left_something_out(
    rig: Rig,
) -> None:
    complete, lacking = domain(), domain()
    _says(rig, "clearbit", complete, COMPLETE)
    _says(rig, "clearbit", lacking, WITHOUT_INDUSTRY)
    _says(rig, "hunter", lacking, OF_HUNTER)
    async with rig.daemon(ENRICHER_PROVIDERS_OFF=ALL_ON) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many(
            [{"_id": company, "company_domain": company} for company in (complete, lacking)]
        )
        await rig.witness.all_ended([complete, lacking])
    second = [entry.question for entry in rig.simulator.journal.calls(route="companies/find")]
    assert Counter(second) == {complete: 1, lacking: 2}

    done = (await rig.lead(complete))["enriched_data"]
    assert done["enrichment_metadata"]["sources_used"] == ["clearbit"]
    assert done["enrichment_metadata"]["sources_skipped"]["hunter_company"] == "nothing was missing"

    filled = (await rig.lead(lacking))["enriched_data"]
    origins = filled["enrichment_metadata"]["provenance"]["company_data"]
    assert filled["enrichment_metadata"]["sources_used"] == ["clearbit", "hunter_company"]
    assert (origins["name"], origins["employee_count"]) == ("clearbit", "clearbit")
    assert origins["industry"] == origins["employee_range"] == "hunter_company"


async def test_hunters_key_alone_gives_company_person_and_verdict(rig: Rig) -> None:
    async with rig.daemon("hunter", ENRICHER_PROVIDERS_OFF=ALL_ON) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": address()})
        assert await rig.witness.end_of(1) == "completed"
    data = (await rig.lead(1))["enriched_data"]
    assert data["person_data"]["full_name"] == "Ada Lovelace"
    assert data["company_data"]["name"]
    assert data["email_verification"]["status"]
    skipped = data["enrichment_metadata"]["sources_skipped"]
    assert skipped["clearbit"] == skipped["clearbit_person"] == "no key"
    routes = ("companies/find", "people/find", "email-verifier")
    assert _asked(rig) == {("hunter", route): 1 for route in routes}


async def test_colleagues_share_a_company_and_each_of_them_is_a_person(rig: Rig) -> None:
    company = domain()
    people = [f"person.number{n}@{company}" for n in range(20)]
    async with rig.daemon("hunter", ENRICHER_PROVIDERS_OFF=ALL_ON) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many([{"_id": each, "email": each} for each in people])
        await rig.witness.all_ended(people)
    asked = _asked(rig)
    assert asked[("hunter", "companies/find")] == 1
    assert asked[("hunter", "people/find")] == 20


async def test_nobody_is_looked_up_behind_a_desk_or_a_free_mail_address(rig: Rig) -> None:
    desk, private = f"info@{domain()}", "ada.lovelace.quokka@gmail.com"
    async with rig.daemon("hunter", ENRICHER_PROVIDERS_OFF=ALL_ON) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many([{"_id": each, "email": each} for each in (desk, private)])
        await rig.witness.all_ended([desk, private])
    assert _asked(rig)[("hunter", "people/find")] == 0
    skipped = [
        (await rig.lead(each))["enriched_data"]["enrichment_metadata"]["sources_skipped"]
        for each in (desk, private)
    ]
    assert [each["hunter_person"] for each in skipped] == ["role address", "free-mail address"]


async def test_a_person_who_objected_to_a_look_up_is_left_alone_from_then_on(rig: Rig) -> None:
    lead = f"ada.lovelace.claimed@{domain()}"
    off = '["hunter"]'
    async with rig.daemon("hunter", ENRICHER_PROVIDERS_OFF=off) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "email": lead})
        assert await rig.witness.end_of(1) == "skipped"
        await rig.leads.insert_one({"_id": 2, "email": lead})
        assert await rig.witness.end_of(2) == "skipped"
    assert (await rig.lead(1))["enriched_data"].get("person_data") is None
    assert _asked(rig)[("hunter", "people/find")] == 1


async def test_order_and_required_fields_are_the_operators(rig: Rig) -> None:
    company = domain()
    _says(rig, "clearbit", company, COMPLETE)
    settings = {
        "ENRICHER_PROVIDERS_OFF": '["hunter_person"]',
        "ENRICHER_PROVIDER_ORDER": '["hunter_company", "clearbit"]',
        "ENRICHER_REQUIRED_FIELDS": '{"company": ["domain"]}',
    }
    async with rig.daemon(**settings) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_one({"_id": 1, "company_domain": company})
        await rig.witness.end_of(1)
    assert _asked(rig) == {("hunter", "companies/find"): 1}


async def test_apollo_and_people_data_labs_together_give_company_and_person(rig: Rig) -> None:
    """The whole way: settings, limits of paid plans, gates, kept answers, the lead."""
    leads = [address() for _ in range(40)]  # of twelve, People Data Labs may know all companies
    keys = {"PDL_API_KEY": "k", "APOLLO_API_KEY": "k", "HUNTER_API_KEY": "", "CLEARBIT_API_KEY": ""}
    paid = {"PDL_RATE_LIMIT": 1000, "APOLLO_RATE_LIMIT": 1000}
    async with rig.daemon(**keys, **paid) as daemon:
        await daemon.wait_for_event("stream.opened")
        await rig.leads.insert_many([{"_id": each, "email": each} for each in leads])
        await rig.witness.all_ended(leads)
    found = [(await rig.lead(each))["enriched_data"] for each in leads]
    assert all(each["company_data"]["name"] and each["person_data"]["full_name"] for each in found)
    used = {name for each in found for name in each["enrichment_metadata"]["sources_used"]}
    assert used >= {"pdl_company", "pdl_person", "apollo_company", "apollo_person"}
    assert not rig.simulator.journal.calls(over_limit=True)
    assert rig.asked_twice() == {}
