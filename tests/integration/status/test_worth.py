"""What each provider was worth is counted from the leads and the ledger, whatever stands in a lead."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
from pydantic import SecretStr
from pymongo.asynchronous.collection import AsyncCollection

from enricher.calls.ledger import DayOfProvider
from enricher.lead import Document
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.hunter import HunterVerifier
from enricher.status import worth
from enricher.status.lately import enriched_since
from enricher.status.worth import Brought, Hits
from tests.support.mock_client import mock_client

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DATA = "crm.data"
"""Where a source may keep `enriched_data`."""


def lead(
    company: object = None, *, at: object = "2026-11-29T08:00:00+00:00", **metadata: object
) -> Document:
    said = {"enriched_at": at, **metadata}
    return {"crm": {"data": {"company_data": company, "enrichment_metadata": said}}}


async def brought(leads: AsyncCollection[Document], *documents: Document) -> dict[str, Brought]:
    await leads.insert_many(documents)
    found = await worth.read_brought(leads, worth.since(NOW, 30), DATA)
    assert found.leads == len([each for each in documents if "crm" in each])
    assert not found.is_estimate
    return dict(found.by)


async def test_found_filled_and_differing_values_are_counted_for_whom_they_belong_to(
    ours: AsyncCollection[Document],
) -> None:
    found = await brought(
        ours,
        lead(
            {"country_code": "BR", "employee_count": 40},
            sources_used=["clearbit", "hunter_company"],
            provenance={"company_data": {"name": "clearbit", "phone": "hunter_company"}},
            alternatives={"company_data": {"name": {"hunter_company": "Acme Ltda"}}},
        ),
        lead(
            {"country_code": "DE", "employee_count": 5000},
            sources_used=["clearbit"],
            sources_not_found=["hunter_company"],
            provenance={"company_data": {"name": "clearbit"}},
        ),
        lead(sources_not_found=["clearbit"], sources_failed=["hunter_company"]),
    )
    clearbit, hunter = found["clearbit"], found["hunter_company"]
    assert (clearbit.hits, clearbit.filled, clearbit.differed) == (Hits(2, 1), 2, 0)
    assert (hunter.hits, hunter.filled, hunter.differed, hunter.failed) == (Hits(1, 1), 1, 1, 1)
    assert clearbit.by_country == {"BR": Hits(1, 0), "DE": Hits(1, 0), "unknown": Hits(0, 1)}
    assert hunter.by_size == {"11-50": Hits(1, 0), "more than 1,000": Hits(0, 1)}


async def test_leads_of_before_count_for_nothing(ours: AsyncCollection[Document]) -> None:
    await ours.insert_one(lead(at="2026-10-31T23:59:59+00:00", sources_used=["clearbit"]))
    found = await worth.read_brought(ours, worth.since(NOW, 30), DATA)
    assert (found.leads, found.by) == (0, {})
    assert (await worth.read_brought(ours, worth.since(NOW, 31), DATA)).leads == 1


@pytest.mark.parametrize("garbage", [None, 1, "text", [], ["clearbit", 1, {}], {"a": 1}, {"a": {}}])
async def test_whatever_stands_there_the_others_are_counted(
    ours: AsyncCollection[Document], garbage: object
) -> None:
    places = ("sources_used", "sources_not_found", "sources_failed", "provenance", "alternatives")
    wrong = [lead(garbage, **{place: garbage}) for place in places]
    sections = [
        lead({"employee_count": garbage}, **{place: {"company_data": garbage}})
        for place in ("provenance", "alternatives")
    ]
    good = lead(provenance={"email_verification": {"status": "hunter"}})
    found = await brought(ours, *wrong, *sections, good, {"name": "no lead of ours"})
    assert found["hunter"].filled == 1


def test_costs_are_of_what_was_charged_and_of_what_it_filled() -> None:
    kinds = (ClearbitCompany, HunterVerifier)
    providers = [kind(mock_client(), Access(SecretStr("any"), kind.host)) for kind in kinds]
    day = date(2026, 11, 30)
    ledger = [
        DayOfProvider(day, "clearbit", "clearbit", 12, 11, 10, 1, 11, 3, 4),
        DayOfProvider(day, "hunter", "hunter", begun=4, settled=4, charged=4),
    ]
    filled = {"clearbit": Brought(Hits(8, 2), filled=40)}
    made = worth.report(NOW, 30, providers, {"clearbit": 0.5}, ledger, filled, 10)
    clearbit, hunter = made.providers
    assert (clearbit.calls, clearbit.charged, clearbit.ambiguous, clearbit.saved) == (12, 10, 2, 7)
    assert (clearbit.credits, clearbit.cost, clearbit.cost_per_field) == (10, 5, 0.125)
    assert (hunter.charged, hunter.cost, hunter.cost_per_field) == (4, None, None)
    told = json.loads(worth.as_json(made))["providers"][0]
    assert told["name"] == "clearbit"
    assert (told["hit_rate"], told["filled"], told["cost_per_field"]) == (0.8, 40, 0.125)


async def test_many_leads_are_estimated_from_some_of_them_chosen_by_chance(
    ours: AsyncCollection[Document],
) -> None:
    provenance = {"company_data": {"name": "clearbit"}}
    await ours.insert_many(lead(provenance=provenance) for _ in range(300))
    found = await worth.read_brought(ours, worth.since(NOW, 30), DATA, most=100)
    assert (found.leads, found.by["clearbit"].filled, found.is_estimate) == (300, 300, True)
    exact = await worth.read_brought(ours, worth.since(NOW, 30), DATA, most=300)
    assert (exact.leads, exact.by["clearbit"].filled, exact.is_estimate) == (300, 300, False)


async def test_of_a_large_collection_only_a_part_chosen_by_chance_is_read(
    ours: AsyncCollection[Document],
) -> None:
    old, new = "2026-01-01T08:00:00+00:00", "2026-11-29T08:00:00+00:00"
    await ours.insert_many(lead(at=new if number % 2 else old) for number in range(21_000))
    since = worth.since(NOW, 30)
    lately = await enriched_since(ours, since, DATA, 5_000, most_read=20_999)
    assert lately.leads == pytest.approx(10_500, rel=0.2)
    assert lately.taken == pytest.approx(500, rel=0.2)
    small = await enriched_since(ours, since, DATA, 5_000, most_read=21_000)
    assert (small.leads, small.taken) == (10_500, 5_000)
