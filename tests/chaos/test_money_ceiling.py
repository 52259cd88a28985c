"""What each of 1,000 leads costs at most, and that a pause is kept, by three daemons that die."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.acceptance.test_ceilings import SETTINGS
from tests.support.ceilings import costs, leads_apart
from tests.support.money import Fleet
from tests.support.pauses import called_after_pause
from tests.support.rig import Rig, open_rig
from tests.support.waiting import eventually

LEADS = int(os.environ.get("CHAOS_CAPPED", "1000"))
KILL_EVERY = 2.0

pytestmark = [pytest.mark.money, pytest.mark.timeout(900)]


@pytest.mark.parametrize("ceiling", [1, 1.5, 2.5])
async def test_no_lead_costs_more_than_its_ceiling_and_none_is_capped_for_nothing(
    mongodb_uri: str, ceiling: float
) -> None:
    async with open_rig(mongodb_uri) as rig:
        rig.simulator.latency = 0.2
        leads = leads_apart(LEADS)
        fleet = Fleet(rig, 3, SETTINGS | {"ENRICHER_MAX_CREDITS_PER_LEAD": ceiling})
        async with fleet.running_and_dying(KILL_EVERY):
            await rig.leads.insert_many(leads)
            await eventually(lambda: _are_done(rig, len(leads)), 600)
        found = await costs(rig, leads)
        needless = [each for each in found if each.has_room(ceiling)]
        print(  # noqa: T201
            f"ceiling {ceiling}: {fleet.kills} kills, {len(fleet.flights)} calls in hand of the"
            f" killed; a lead cost {sum(each.credits for each in found) / len(found):.3f},"
            f" at most {max(each.credits for each in found)}; {len(needless)} could have had more"
        )
        assert fleet.kills
        assert max(each.credits for each in found) <= ceiling
        assert len(needless) <= len(fleet.flights)


async def _are_done(rig: Rig, count: int) -> bool:
    await asyncio.sleep(0.5)
    return await rig.leads.count_documents({"enrichment_status": "completed"}) == count


async def test_no_call_begins_after_a_pause_whoever_dies(mongodb_uri: str) -> None:
    async with open_rig(mongodb_uri) as rig:
        after, leads = await called_after_pause(rig, kills=8, every=0.01)
        assert after == 0
        done = {"enrichment_status": "completed"}
        assert await rig.leads.count_documents(done) == len(leads)
