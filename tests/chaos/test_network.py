"""The network between a daemon and its database, or its vendors, breaks or falls silent."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.chaos.world import World, open_world
from tests.support.cable import Cable, cable_to
from tests.support.processes import Daemon
from tests.support.rig import Write
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

FLOWS_AGAIN_SECONDS = 5
LOOPS = 5
LINE_EVERY_SECONDS = 10
LEASE_SECONDS = 60
"""Longer than these outages."""


@asynccontextmanager
async def wired_world(
    uri: str, scenario: str, **simulator: Any
) -> AsyncIterator[tuple[World, Cable, Daemon]]:
    """One daemon, whose only way to the database is a cable; a writer who has another."""
    async with (
        cable_to(uri) as cable,
        open_world(uri, scenario, required=FLOWS_AGAIN_SECONDS, **simulator) as world,
    ):
        settings = {"MONGODB_URI": cable.uri, "ENRICHER_LEASE_SECONDS": LEASE_SECONDS}
        async with world.daemon(**settings) as daemon:
            await daemon.wait_for_event("history.recorded")
            async with world.writing(per_second=20):
                await world.written(20)
                yield world, cable, daemon
            await world.all_ended()
        cable.mend()


async def is_ready(daemon: Daemon, status: int) -> bool:
    return (await daemon.get("/readyz")).status_code == status


@pytest.mark.parametrize(("how", "write"), [("cut", "lead"), ("cut", "beside"), ("freeze", "lead")])
async def test_a_daemon_without_its_database_is_alive_but_not_ready_and_goes_on_by_itself(
    mongodb_uri: str, how: str, write: Write
) -> None:
    scenario = f"database: {how}"
    async with wired_world(mongodb_uri, scenario, write=write) as (world, cable, daemon):
        broke_at = time.monotonic()
        getattr(cable, how)()
        world.faults += 1
        await eventually(lambda: is_ready(daemon, 503), within=20)
        assert (await daemon.get("/livez")).status_code == 200
        await eventually(lambda: time.monotonic() > broke_at + 22, within=30)
        outage = time.monotonic() - broke_at
        assert world.said(daemon) <= 1 + outage // LINE_EVERY_SECONDS
        assert await daemon.metric("enricher_database_errors_total") < LOOPS * outage
        cable.mend()
        await world.flows_again(time.monotonic())
        await eventually(lambda: is_ready(daemon, 200))
