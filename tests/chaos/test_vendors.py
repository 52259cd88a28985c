"""The vendors fail, say nothing or dawdle: leads wait for them, and are completed afterwards."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.world import World, open_world
from tests.support.cable import cable_between

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

LEADS = 60
FLOWS_AGAIN_SECONDS = 5
CHARGED_FOR_NOTHING = ("drip", "cut_off")
"""A 200 without an end may be charged. Ten in a row stop a provider for minutes, and a start ends that."""
IMPATIENT = {
    "ENRICHER_PROVIDER_TIMEOUT_SECONDS": 0.5,
    "ENRICHER_LEASE_SECONDS": 60,
    "ENRICHER_CONCURRENCY": LEADS,
}


@asynccontextmanager
async def over(uri: str, scenario: str, **settings: object) -> AsyncIterator[World]:
    """One daemon that does not wait long for an answer; at the end every lead is complete."""
    async with open_world(uri, scenario, required=FLOWS_AGAIN_SECONDS) as world:
        async with world.daemon(**IMPATIENT, **settings) as daemon:
            await daemon.wait_for_event("history.recorded")
            yield world
            await world.all_ended()
        assert await world.rig.results.count_documents({"enrichment_status": "completed"}) == LEADS


async def every_lead_waits(world: World) -> None:
    """The outage is long enough for each to have been put off."""

    def are_put_off() -> bool:
        return all("retrying" in world.observer.statuses(lead) for lead in world.inserted)

    await world.observer.until(are_put_off, 60)


@pytest.mark.parametrize("kind", ["server_error", "hang", "drip", "reset", "cut_off"])
async def test_leads_are_completed_after_an_outage_of_all_vendors(
    mongodb_uri: str, kind: str
) -> None:
    async with over(mongodb_uri, f"vendors: {kind}") as world:
        fault = world.rig.simulator.inject(kind)
        world.faults += 1
        await world.insert(LEADS)
        await every_lead_waits(world)
        world.rig.simulator.faults.remove(fault)
        mended_at = time.monotonic()
        if kind in CHARGED_FOR_NOTHING:
            async with world.daemon(**IMPATIENT):
                await world.flows_again(mended_at)
                await world.all_ended()
        else:
            await world.flows_again(mended_at)


@pytest.mark.parametrize("how", ["cut", "freeze"])
async def test_leads_are_completed_after_the_way_to_the_vendors_was_broken(
    mongodb_uri: str, how: str
) -> None:
    async with open_world(
        mongodb_uri, f"network to vendors: {how}", required=FLOWS_AGAIN_SECONDS
    ) as world:
        port = int(world.rig.simulator.url.rpartition(":")[2])
        async with cable_between("127.0.0.1", port) as cable:
            urls = {
                f"{name.upper()}_BASE_URL": f"http://127.0.0.1:{cable.own_port}/{name}"
                for name in world.rig.simulator.base_urls
            }
            async with world.daemon(**IMPATIENT, **urls) as daemon:
                await daemon.wait_for_event("history.recorded")
                broke_at = time.monotonic()
                getattr(cable, how)()
                world.faults += 1
                await world.insert(LEADS)
                await every_lead_waits(world)
                cable.mend()
                world.vendors_cut_off(broke_at)
                await world.flows_again(time.monotonic())
                if how == "freeze":  # what was swallowed has arrived late
                    world.vendors_cut_off(broke_at)
                await world.all_ended()
        assert await world.rig.results.count_documents({"enrichment_status": "completed"}) == LEADS
