"""Leads that were inserted while nothing ran are all found, in flat memory."""

from __future__ import annotations

import os
import time

import pytest

from tests.chaos.world import World, open_world
from tests.processes import Daemon

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

LEADS = int(os.environ.get("CHAOS_BACKLOG", "20000"))
AT_ONCE = 5000
MOST_GROWTH_BYTES = 20 * 2**20


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
            early = await memory_once_done(world, daemon, LEADS // 5)
            late = await memory_once_done(world, daemon, LEADS)
        assert late - early < MOST_GROWTH_BYTES


async def memory_once_done(world: World, daemon: Daemon, leads: int) -> float:
    await world.observer.until(lambda: world.observer.ended_so_far >= leads, within=1000)
    return await daemon.metric("process_resident_memory_bytes")
