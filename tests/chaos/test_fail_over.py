"""The primary dies, steps down, or all servers go: the daemons wait, and work flows again by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeAlias

import pytest

from tests.chaos.replica_set import ReplicaSet
from tests.chaos.world import World, open_world
from tests.support.processes import Daemon
from tests.support.rig import Write
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

PER_SECOND = 40
SHORT, LONG = 20, 60
"""Leases: longer than the outages, as they should be, for whoever loses one has to ask again."""
OUTAGE_SECONDS = 12
LINE_EVERY_SECONDS = 10
FLOWS_AGAIN_SECONDS = 5
"""From the moment there is a new primary."""

Fault: TypeAlias = Callable[[ReplicaSet], Awaitable[None]]


@asynccontextmanager
async def busy_world(
    servers: ReplicaSet, scenario: str, lease_seconds: float, write: Write = "lead"
) -> AsyncIterator[World]:
    """Two daemons and a writer; at the end everything that was written has been done."""
    async with (
        open_world(servers.uri, scenario, required=FLOWS_AGAIN_SECONDS, write=write) as world,
        AsyncExitStack() as stack,
    ):
        world.rig.simulator.latency, world.rig.simulator.jitter = 0.05, 0.2
        for _ in range(2):
            daemon = await stack.enter_async_context(
                world.daemon(ENRICHER_LEASE_SECONDS=lease_seconds)
            )
            await daemon.wait_for_event("stream.opened")
        async with world.writing(PER_SECOND):
            await world.written(PER_SECOND)
            yield world
        await world.all_ended()
        assert all(daemon.process.returncode is None for daemon in world.daemons), "one has ended"


async def kill_primary(servers: ReplicaSet) -> None:
    (await servers.primary()).kill()


async def step_down(servers: ReplicaSet) -> None:
    await servers.step_down()


async def restart_all(servers: ReplicaSet) -> None:
    for node in servers.nodes:
        node.send(signal.SIGTERM)
    for node in servers.nodes:
        node.stop()
    for node in servers.nodes:
        node.start()


@pytest.mark.parametrize(
    ("fault", "write"),
    [
        (kill_primary, "lead"),
        (kill_primary, "beside"),
        (step_down, "lead"),
        (step_down, "beside"),
        (restart_all, "lead"),
    ],
)
async def test_work_flows_again_soon_after_a_new_primary(
    servers: ReplicaSet, fault: Fault, write: Write
) -> None:
    scenario = fault.__name__.replace("_", " ")
    async with busy_world(servers, scenario, SHORT, write) as world:
        for _ in range(3):
            await fault(servers)
            world.faults += 1
            await servers.primary()
            await world.flows_again(time.monotonic())
            await servers.whole()
            await world.written(PER_SECOND)


async def test_while_all_servers_are_gone_daemons_stay_say_little_and_are_not_ready(
    servers: ReplicaSet,
) -> None:
    async with busy_world(servers, "all servers gone", LONG) as world:
        gone_at = time.monotonic()
        for node in servers.nodes:
            node.kill()
        world.faults += 1
        for daemon in world.daemons:
            await eventually(partial(is_ready, daemon, 503), within=20)
        await eventually(lambda: time.monotonic() > gone_at + OUTAGE_SECONDS, within=60)
        for daemon in world.daemons:
            assert (await daemon.get("/livez")).status_code == 200
            assert await is_ready(daemon, 503)
            lasted = time.monotonic() - gone_at
            assert world.said(daemon) <= 1 + lasted // LINE_EVERY_SECONDS
        for node in servers.nodes:
            node.start()
        await servers.primary()
        await world.flows_again(time.monotonic())
        for daemon in world.daemons:
            await eventually(partial(is_ready, daemon, 200), within=30)


async def test_a_daemon_that_starts_while_there_is_no_primary_waits_for_the_next(
    servers: ReplicaSet,
) -> None:
    async with (
        open_world(servers.uri, "start without a primary") as world,
        AsyncExitStack() as stack,
    ):
        async with servers.without_a_primary():
            world.faults += 1
            daemon = await stack.enter_async_context(world.daemon())
            await daemon.wait_for_event("database.unavailable", loop="start")
        await daemon.wait_for_event("database.available", loop="start", within=30)
        await daemon.wait_for_event("stream.opened")
        async with world.writing(PER_SECOND):
            await world.written(PER_SECOND)
        await world.all_ended()


async def is_ready(daemon: Daemon, status: int) -> bool:
    return (await daemon.get("/readyz")).status_code == status
