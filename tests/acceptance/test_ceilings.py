"""A lead costs no more than its ceiling, whichever daemons work on it and whichever of them die."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal

import pytest

from enricher.calls.ceiling import MILLION
from enricher.catalogue import FINDERS, PROVIDERS
from enricher.errors import ExitCode
from enricher.lead import Document
from tests.support.ceilings import companies_by_name, costs, leads_apart, paid
from tests.support.money import Fleet
from tests.support.processes import Daemon
from tests.support.rig import KEYS, Rig, domain, open_rig
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)

CEILING = 2
"""A company and a verdict, or a company and a person."""
MONEY = Decimal("0.43")
"""A company of Hunter's and one of People Data Labs, and a verdict: to the cent."""
PRICES = {"clearbit": 0.4, "hunter": 0.1, "pdl": 0.28, "zerobounce": 0.07, "kickbox": 0.03}
VERIFIERS = ("zerobounce", "kickbox")
SETTINGS = {
    "ENRICHER_MAX_CREDITS_PER_LEAD": CEILING,
    "ENRICHER_PROVIDERS_OFF": '["clearbit_person"]',
    "ENRICHER_LEASE_SECONDS": 2,
    "ENRICHER_POLL_SECONDS": 0.5,
    "ENRICHER_MAX_ATTEMPTS": 20,
    "ENRICHER_CONCURRENCY": 8,
}
ALL_THAT_COSTS = {
    **SETTINGS,
    "ENRICHER_MAX_CREDITS_PER_LEAD": MONEY,
    "ENRICHER_PROVIDERS_OFF": '["clearbit","clearbit_person"]',
    "ENRICHER_FIND_DOMAIN": "true",
    "ENRICHER_RECHECKS": '["1s","1s"]',
    **{f"{name.upper()}_CREDIT_PRICE": price for name, price in PRICES.items()},
    **{f"{name.upper()}_RATE_LIMIT": 100_000 for name in PRICES},
}


async def ended(rig: Rig, leads: list[Document]) -> None:
    await rig.witness.all_ended((lead["_id"] for lead in leads), within=90)
    assert await rig.leads.count_documents({"enrichment_status": "completed"}) == len(leads)


async def test_no_lead_costs_more_than_its_ceiling_when_daemons_die(rig: Rig) -> None:
    rig.simulator.latency = 0.3  # so that kills hit calls
    leads = leads_apart(60)
    fleet = Fleet(rig, 3, SETTINGS)
    async with fleet.running_and_dying(every=1.5, times=3):
        await rig.leads.insert_many(leads)
        await ended(rig, leads)
    found = await costs(rig, leads)
    needless = [each for each in found if each.has_room(CEILING)]
    print(  # noqa: T201 - a figure for people
        f"{fleet.kills} kills, {len(fleet.flights)} calls in hand of the killed; a lead cost"
        f" {sum(each.credits for each in found) / len(found):.2f} of {CEILING},"
        f" {len(needless)} could have had another call"
    )
    assert max(each.credits for each in found) <= CEILING
    assert all(each.capped for each in found)
    assert len(needless) <= len(fleet.flights)


@pytest.mark.timeout(300)
async def test_the_ceiling_holds_with_finders_rechecks_and_verifiers_beside_the_leads(
    mongodb_uri: str,
) -> None:
    """In money, over kills: what a lead cost by the journal, what stands on it, and the ceiling."""
    thin = [
        {"_id": word + str(n), "email": f"ada.lovelace@{domain(word)}"}
        for word in ("stealth", "newborn", "unknown", "hazy", "ordinary")
        for n in range(6)
    ]
    leads = [*thin, *companies_by_name(12)]
    vendors = {**KEYS, **{name: f"{name}-key-of-the-tests" for name in ("pdl", *VERIFIERS)}}
    async with open_rig(
        mongodb_uri, write="beside", windows=dict.fromkeys(vendors, ()), keys=vendors
    ) as rig:
        rig.simulator.latency = 0.3
        fleet = Fleet(
            rig, 3, ALL_THAT_COSTS | {f"{v.upper()}_API_KEY": k for v, k in vendors.items()}
        )
        async with fleet.running_and_dying(every=1.5, times=4):
            await rig.leads.insert_many(leads)
            await eventually(lambda: are_through(rig, len(leads)), within=200)
        costs = paid(rig, PRICES, leads)
        calls = Counter((entry.vendor, *entry.matter) for entry in rig.simulator.journal)
        stands = {each["_id"]: each async for each in rig.results.find()}
        fields = {key for each in await rig.leads.find().to_list() for key in each}
    spent = {key: Decimal(each["enrichment"]["spent"]) / MILLION for key, each in stands.items()}
    capped = {key: metadata(each).get("capped", ()) for key, each in stands.items()}
    needless = [
        key
        for key, names in capped.items()
        if any(costs[key] + price_of(name) <= MONEY for name in names)
    ]
    print(  # noqa: T201 - a figure for people
        f"{fleet.kills} kills, {len(calls)} questions, {calls.total()} calls, {sum(map(bool, capped.values()))} capped;"
        f" a lead cost {sum(costs.values()) / len(costs):.3f}, at most {max(costs.values())} of {MONEY};"
        f" {len(needless)} could have had more, {len(fleet.flights)} calls in hand of the killed"
    )
    assert max(costs.values()) <= MONEY
    assert {key: cost for key, cost in costs.items() if cost > spent[key]} == {}
    assert max(spent.values()) <= MONEY
    assert any(capped.values())
    assert len(needless) <= len(fleet.flights)
    assert calls.total() > len(calls), "rechecks asked again"
    assert {"domain-search", "email-verifier", "validate"} <= {route for _, route, _ in calls}
    assert fields == {"_id", "email", "company"}, "nothing is written to the user's documents"


async def are_through(rig: Rig, leads: int) -> bool:
    """All are completed, and none is to be looked at again before its refresh."""
    done = {"enrichment_status": "completed", "enrichment.recheck_since": {"$exists": False}}
    return await rig.results.count_documents(done) == leads


def price_of(provider: str) -> Decimal:
    listing = FINDERS.get(provider) or PROVIDERS[provider]
    return Decimal(str(PRICES[listing.vendor])) * Decimal(str(listing.credits))


def metadata(lead: Document) -> Document:
    return dict(lead["enriched_data"]["enrichment_metadata"])


async def test_a_capped_lead_says_so_wherever_one_asks(rig: Rig) -> None:
    settings = SETTINGS | {"ENRICHER_MAX_CREDITS_PER_LEAD": 1.5}
    async with rig.daemon(**settings) as daemon:
        await daemon.wait_for_event("stream.opened", within=60)
        await rig.leads.insert_many(leads_apart(1))
        assert await rig.witness.end_of(0, within=60) == "completed"
        (line,) = daemon.events("lead.capped")
        assert (line["spent"], line["ceiling"]) == (1.5, 1.5)
        metadata = (await rig.lead(0))["enriched_data"]["enrichment_metadata"]
        for name in metadata["capped"]:
            assert metadata["sources_skipped"][name].startswith("capped")
            assert await daemon.metric("enricher_calls_capped_total", provider=name) == 1
        assert metadata["capped"] == [line["providers"]] == ["hunter_person"]
    environment = rig.environment() | {name: str(value) for name, value in settings.items()}
    async with Daemon("explain", "0", "--json", env=environment) as command:
        assert await command.wait(60) == ExitCode.OK
    (told,) = json.loads(command.stdout)["leads"]
    assert (told["spent"], told["ceiling"], told["unit"]) == (1.5, 1.5, "credits")
    assert told["capped"] == metadata["capped"]
    async with Daemon("explain", "0", env=environment) as command:
        assert await command.wait(60) == ExitCode.OK
    assert "1.5 of at most 1.5 (credits)" in command.stdout


async def test_estimates_know_the_ceiling(rig: Rig) -> None:
    """Of three leads one needs no call; and a company at half a credit is nobody's."""
    await rig.leads.insert_many([*leads_apart(2), {"_id": "empty"}])
    settings = SETTINGS | {"ENRICHER_MAX_CREDITS_PER_LEAD": 0.75}
    env = rig.environment() | {name: str(value) for name, value in settings.items()}
    async with Daemon("backfill", "--query", "{}", "--dry-run", env=env) as plan:
        assert await plan.wait(60) == ExitCode.OK
    table, _, said = plan.stdout.partition("Never asked")
    assert "hunter_company" not in table
    assert said.startswith(
        ", since one call may cost more: clearbit, hunter_company, hunter_person"
    )
    promise = "At most 1.5 credits in all: no lead may cost more than 0.75"
    assert promise in said
    async with Daemon("reenrich", "--query", '{"email": {"$exists": true}}', env=env) as command:
        assert await command.wait(60) == ExitCode.OK
    assert "2 leads are pending now." in command.stdout
    assert promise in command.stdout
