"""Daemons are killed, paused and replaced under load: others finish their work, and nobody twice."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack

import pytest

from tests.chaos.replica_set import ReplicaSet
from tests.chaos.world import LEASE_SECONDS, World, open_world
from tests.support.processes import Daemon
from tests.support.rig import WRITES, Write
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

KILLS = 6
ROLLS = 4
ROUNDS = 3
PER_SECOND = 60
TAKE_OVER_SECONDS = LEASE_SECONDS + 2
"""From the death to the last claim of what the dead one held."""


def slow_vendors(world: World) -> None:
    """Answers in no lockstep: at any moment some leads are in work."""
    world.rig.simulator.latency, world.rig.simulator.jitter = 0.1, 0.3


async def up(stack: AsyncExitStack, world: World, **settings: object) -> Daemon:
    daemon = await stack.enter_async_context(world.daemon(**settings))
    await daemon.wait_for_event("stream.opened")
    return daemon


both_ways = pytest.mark.parametrize("write", WRITES)


@both_ways
async def test_daemons_that_are_killed_again_and_again_lose_nothing(
    servers: ReplicaSet, write: Write
) -> None:
    await kill_daemons(servers.uri, KILLS, write)


async def kill_daemons(uri: str, kills: int, write: Write) -> None:
    """Two are left behind by each that is killed: one at work, and one that is only starting."""
    scenario, required = "SIGKILL of daemons", TAKE_OVER_SECONDS
    async with (
        open_world(uri, scenario, required=required, write=write) as world,
        AsyncExitStack() as stack,
    ):
        slow_vendors(world)
        fleet = [await up(stack, world), await up(stack, world)]
        async with world.writing(PER_SECOND):
            for _ in range(kills):
                victim = fleet.pop(0)
                await world.is_asking(victim)
                held, killed_at = await world.kill(victim), time.monotonic()
                starting = asyncio.create_task(up(stack, world))
                await world.taken_over(held, killed_at)
                fleet.append(await starting)
        await world.all_ended()


@both_ways
async def test_a_daemon_that_slept_beyond_its_lease_writes_nothing_when_it_wakes(
    servers: ReplicaSet, write: Write
) -> None:
    scenario, required = "SIGSTOP, then SIGCONT", TAKE_OVER_SECONDS
    async with (
        open_world(servers.uri, scenario, required=required, write=write) as world,
        AsyncExitStack() as stack,
    ):
        world.rig.simulator.latency = 0.5
        sleeper, _ = await up(stack, world), await up(stack, world)
        taken: list[bytes] = []
        for _ in range(ROUNDS):
            await world.insert(60)
            await world.is_asking(sleeper)
            sleeper.send(signal.SIGSTOP)
            held, stopped_at = world.taken_from(sleeper), time.monotonic()
            taken += held
            await world.taken_over(held, stopped_at)
            sleeper.send(signal.SIGCONT)
            await world.all_ended()
        await eventually(lambda: has_counted(sleeper, len(taken)))


@both_ways
async def test_a_storm_of_rolling_restarts_pays_for_nothing_twice(
    servers: ReplicaSet, write: Write
) -> None:
    scenario, required = "SIGTERM storm", TAKE_OVER_SECONDS
    async with (
        open_world(servers.uri, scenario, required=required, write=write) as world,
        AsyncExitStack() as stack,
    ):
        slow_vendors(world)
        fleet = [await up(stack, world), await up(stack, world)]
        async with world.writing(PER_SECOND):
            for _ in range(ROLLS):
                old = fleet.pop(0)
                await world.is_asking(old)
                old.terminate()
                world.faults += 1
                fleet.append(await up(stack, world))
                assert await old.wait() == 0
                await world.flows_again(time.monotonic())
        await world.all_ended()


async def has_counted(daemon: Daemon, leads: int) -> bool:
    """All of them, but for a few that it had just settled or not yet begun when it was stopped."""
    return await daemon.metric("enricher_leases_lost_total") >= 0.7 * leads
