"""Leads that were inserted while nothing ran are all found, in flat memory."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from tests.chaos.world import World, open_world
from tests.support.processes import Daemon

LEADS = int(os.environ.get("CHAOS_BACKLOG", "20000"))
AT_ONCE = 5000
MOST_SECONDS = 120 + LEADS / 50
"""A settled lead costs some 4 ms where daemon, vendors and server share two cores."""
MOST_GROWTH_MIB = 20
SAMPLE_EVERY_SECONDS = 1.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(MOST_SECONDS + 120)]


async def test_a_backlog_from_a_time_when_nothing_ran_is_worked_off_in_flat_memory(
    mongodb_uri: str,
) -> None:
    async with open_world(mongodb_uri, f"backlog of {LEADS}") as world:
        async with world.daemon("clearbit") as first:
            await first.wait_for_event("history.recorded")
            first.terminate()
            assert await first.wait() == 0
        for _ in range(LEADS // AT_ONCE):
            await world.insert(AT_ONCE)
        world.faults += 1
        started_at = time.monotonic()
        async with world.daemon(
            "clearbit", ENRICHER_CONCURRENCY=64, ENRICHER_LEASE_SECONDS=60
        ) as daemon:
            await world.flows_again(started_at)
            await world.observer.until(
                lambda: world.observer.ended_so_far >= LEADS // 5, MOST_SECONDS
            )
            growth = await memory_growth(world, daemon)
            took = time.monotonic() - started_at
            world.scenario += f": {took:.0f} s, memory +{growth:.1f} MiB"
        assert growth < MOST_GROWTH_MIB


async def memory_growth(world: World, daemon: Daemon) -> float:
    """MiB, from now to the highest that is seen until the last lead is done."""
    samples = [await resident(daemon)]
    async with asyncio.timeout(MOST_SECONDS):
        while world.observer.ended_so_far < LEADS:
            samples.append(await resident(daemon))
            await asyncio.sleep(SAMPLE_EVERY_SECONDS)
    return max(samples) - samples[0]


async def resident(daemon: Daemon) -> float:
    return await daemon.metric("process_resident_memory_bytes") / 2**20
