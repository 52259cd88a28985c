"""Companies' own web sites, as the simulator serves them and the daemon's provider reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from enricher.answer import Answer, Found, NotFound, Query
from enricher.providers.website.fetch import loopback
from enricher.providers.website.provider import Website
from enricher.providers.website.visit import Manners, Visitor
from enricher.simulator import facts
from enricher.simulator.server import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(seed=1) as running:
        yield running


async def ask(simulator: Simulator, domain: str) -> Answer:
    visitor = Visitor(loopback(simulator.port), "acme/1.0", Manners(0.0))
    return await Website(visitor).ask(Query(company_domain=domain))


async def test_a_company_has_a_site_that_agrees_with_the_vendors(simulator: Simulator) -> None:
    domain = "brisk-otter-optics.com"
    known = facts.company(1, domain)
    answer = await ask(simulator, domain)
    assert isinstance(answer, Found)
    values = answer.sections["company_data"]
    assert values["name"] == known.name
    assert values["linkedin_handle"] == f"company/{known.handle}"
    assert "employee_count" not in values
    entries = list(simulator.journal.calls(vendor="website"))
    assert [each.route for each in entries][:2] == ["/robots.txt", "/"]
    assert {each.question for each in entries} == {domain}
    assert simulator.journal.billing["website"].charged == 0


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("parked", "the domain is parked"),
        ("unfinished", "the site is not finished"),
        ("shielded", "the site asks for a browser"),
        ("secluded", "robots.txt does not allow it"),
        ("unknown", "there is no page (404)"),
        ("outage", "robots.txt cannot be read, so nothing is allowed"),
    ],
)
async def test_a_word_tells_the_story_of_a_site(
    simulator: Simulator, word: str, reason: str
) -> None:
    assert await ask(simulator, f"{word}-otter.com") == NotFound(reason)


async def test_its_own_address_is_nobodys_site(simulator: Simulator) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{simulator.url}/") as response:
        assert response.status == 404
    assert len(simulator.journal) == 0
