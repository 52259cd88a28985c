"""A lead costs no more than its ceiling, whichever daemons work on it and whichever of them die."""

from __future__ import annotations

import json

import pytest

from enricher.errors import ExitCode
from enricher.lead import Document
from tests.support.ceilings import costs, leads_apart
from tests.support.money import Fleet
from tests.support.processes import Daemon
from tests.support.rig import Rig

pytestmark = pytest.mark.timeout(180)

CEILING = 2
"""A company and a verdict, or a company and a person."""
SETTINGS = {
    "ENRICHER_MAX_CREDITS_PER_LEAD": CEILING,
    "ENRICHER_PROVIDERS_OFF": '["clearbit_person"]',
    "ENRICHER_LEASE_SECONDS": 2,
    "ENRICHER_POLL_SECONDS": 0.5,
    "ENRICHER_MAX_ATTEMPTS": 20,
    "ENRICHER_CONCURRENCY": 8,
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
    print(  # noqa: T201
        f"{fleet.kills} kills, {len(fleet.flights)} calls in hand of the killed; a lead cost"
        f" {sum(each.credits for each in found) / len(found):.2f} of {CEILING},"
        f" {len(needless)} could have had another call"
    )
    assert max(each.credits for each in found) <= CEILING
    assert all(each.capped for each in found)
    assert len(needless) <= len(fleet.flights)


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
