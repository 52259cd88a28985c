"""The daemon as systemd starts it: what it tells, and under which name its lines and its leads go."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.manager import Manager
from tests.support.rig import Rig, address
from tests.support.waiting import eventually


@pytest.fixture
def manager() -> Iterator[Manager]:
    with closing(Manager(f"@enricher-{uuid.uuid4().hex}")) as listening:
        yield listening


async def test_systemd_hears_that_it_is_up_that_it_turns_and_that_it_drains(
    rig: Rig, manager: Manager
) -> None:
    told = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "300000"}
    async with rig.daemon(**told) as daemon:
        assert await manager.hears(30) == "READY=1"
        await daemon.wait_for_event("stream.opened")
        rig.simulator.latency = 1.0
        await rig.leads.insert_one({"_id": 1, "email": address()})
        await eventually(lambda: len(rig.simulator.journal) > 0)
        holder = (await rig.lead(1))["enrichment"]["holder"]
        daemon.terminate()
        heard = await manager.hears_until("STOPPING=1")
        assert set(heard[:-1]) == {"WATCHDOG=1"}
        assert await manager.hears() == "WATCHDOG=1", "a drain is no standstill"
        assert await daemon.wait() == 0
    assert await rig.witness.end_of(1) == "completed"
    [settled] = daemon.events("lead.settled")
    assert settled["service.instance.id"] == holder
