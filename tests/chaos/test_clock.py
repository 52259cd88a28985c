"""Daemons whose clocks are an hour off: leases run by the server's clock, so it does not matter."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.chaos.world import LEASE_SECONDS, open_world

pytestmark = pytest.mark.chaos

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime (the package `faketime`)")
async def test_daemons_an_hour_fast_and_slow_share_the_work_and_take_over_in_time(
    mongodb_uri: str,
) -> None:
    async with (
        open_world(
            mongodb_uri, "clocks an hour off", required=LEASE_SECONDS + 2, latency=0.3
        ) as world,
        AsyncExitStack() as stack,
    ):
        fleet = []
        for shift in ("+1h", "-1h"):
            wrong = {"LD_PRELOAD": LIBRARIES[0], "FAKETIME": shift, "DONT_FAKE_MONOTONIC": 1}
            daemon = await stack.enter_async_context(world.daemon(**wrong))
            await daemon.wait_for_event("stream.opened")
            fleet.append(daemon)
        async with world.writing(per_second=40):
            for daemon in fleet:
                await world.is_asking(daemon)
            held, killed_at = await world.kill(fleet[0]), time.monotonic()
            await world.taken_over(held, killed_at)
        await world.all_ended()
        assert fleet[0].lines[0]["timestamp"][:13] != fleet[1].lines[0]["timestamp"][:13]
