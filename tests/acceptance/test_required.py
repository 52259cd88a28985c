"""People Data Labs is told what is still missing, and charges for nothing that has none of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.support.rig import Rig, domain

OFF = '["clearbit", "hunter", "hunter_person", "clearbit_person", "pdl_person"]'
NO_RECORD = {"status": 404, "error": {"type": "not_found", "message": "No records were found"}}


@dataclass
class Pdl:
    """A vendor whose every byte is ours: it knows a company's name and founding year, and no more."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    """What was required, call by call."""
    charged: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        required = request.query.get("required", "")
        self.asked.append(required)
        record = {"status": 200, "likelihood": 9, "id": "1", "name": "acme", "founded": 2015}
        if required and not record.keys() & set(required.split(" OR ")):
            return web.json_response(NO_RECORD, status=404)
        self.charged += 1
        return web.json_response(record)

    def settings(self) -> dict[str, object]:
        return {
            "PDL_API_KEY": "pdl-key-of-the-tests",
            "PDL_BASE_URL": self.url,
            "PDL_RATE_LIMIT": 1_000_000,
        }


@pytest.fixture
async def pdl() -> AsyncIterator[Pdl]:
    made = Pdl()
    app = web.Application()
    app.router.add_get("/v5/company/enrich", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def insert(rig: Rig, lead: str, company: str) -> None:
    await rig.leads.insert_one({"_id": lead, "company_domain": company})
    assert await rig.witness.end_of(lead) == "completed"


async def test_a_match_without_what_is_missing_is_not_paid_for(rig: Rig, pdl: Pdl) -> None:
    """Hunter knows name and industry; what is left to ask for is the head count."""
    company = "quokka-ordinary-1.com"  # of a company by a number of its own Hunter may know less
    async with rig.daemon("hunter", **pdl.settings(), ENRICHER_PROVIDERS_OFF=OFF) as daemon:
        await daemon.wait_for_event("stream.opened")
        await insert(rig, "one", company)
        await insert(rig, "another of this company", company)
    assert pdl.asked == ["employee_count"]
    assert pdl.charged == 0
    lead = await rig.lead("one")
    assert "pdl_company" in lead["enriched_data"]["enrichment_metadata"]["sources_not_found"]
    # Nobody else's word makes the company unknown to whoever lacks everything.
    async with rig.daemon(
        **pdl.settings(), ENRICHER_PROVIDERS_OFF=OFF[:-1] + ', "hunter_company"]'
    ):
        await insert(rig, "all is missing", company)
    assert pdl.asked[1:] == ["employee_count OR industry OR name"]
    assert (await rig.lead("all is missing"))["enriched_data"]["company_data"]["name"] == "acme"
    # What was kept then serves who lacks less.
    async with rig.daemon("hunter", **pdl.settings(), ENRICHER_PROVIDERS_OFF=OFF):
        await insert(rig, "less is missing", company)
    assert len(pdl.asked) == 2
    assert pdl.charged == 1


@pytest.mark.parametrize(
    ("fields", "required"),
    [
        ('["employee_count"]', "employee_count"),
        ('["founded_year", "employee_count"]', "employee_count OR founded"),
        ('["name", "city", "country"]', "location OR name"),
        ('["description"]', "summary OR headline"),
        ('["tech_stack"]', ""),
        ('["linkedin_handle", "tech_stack"]', "linkedin_url"),
    ],
)
async def test_what_the_operator_wants_is_what_is_required(
    rig: Rig, pdl: Pdl, fields: str, required: str
) -> None:
    settings = {"ENRICHER_REQUIRED_FIELDS": f'{{"company": {fields}}}'}
    off = OFF[:-1] + ', "hunter_company"]'
    async with rig.daemon(**pdl.settings(), **settings, ENRICHER_PROVIDERS_OFF=off) as daemon:
        await daemon.wait_for_event("stream.opened")
        await insert(rig, "lead", domain())
    assert pdl.asked == [required]
