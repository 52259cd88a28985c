"""Faults in random order, by a seed: whatever the schedule, nothing is lost and nothing done twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import TypeAlias

import pytest

from tests.chaos.replica_set import ReplicaSet
from tests.chaos.world import LEASE_SECONDS, World, open_world
from tests.processes import Daemon

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

SEEDS = int(os.environ.get("CHAOS_SEEDS", "30"))
FAULTS = 5
PER_SECOND = 40

Fault: TypeAlias = Callable[["Fleet"], Awaitable[None]]


class Fleet:
    """Two daemons at all times, and what may be done to them."""

    def __init__(self, world: World, servers: ReplicaSet, chance: Random) -> None:
        self.world, self.servers, self.chance = world, servers, chance
        self.stack, self.daemons = AsyncExitStack(), list[Daemon]()

    async def grow(self) -> None:
        daemon = await self.stack.enter_async_context(self.world.daemon())
        await daemon.wait_for_event("stream.opened")
        self.daemons.append(daemon)

    def any(self) -> Daemon:
        return self.chance.choice(self.daemons)

    async def kill(self) -> None:
        victim = self.any()
        self.daemons.remove(victim)
        held, killed_at = await self.world.kill(victim), time.monotonic()
        await self.world.taken_over(held, killed_at)
        await self.grow()

    async def drain(self) -> None:
        old = self.any()
        self.daemons.remove(old)
        old.terminate()
        self.world.faults += 1
        await self.grow()
        assert await old.wait() == 0

    async def sleep_beyond_the_lease(self) -> None:
        sleeper = self.any()
        sleeper.send(signal.SIGSTOP)
        held, stopped_at = self.world.taken_from(sleeper), time.monotonic()
        await self.world.taken_over(held, stopped_at)
        await asyncio.sleep(self.chance.uniform(0, LEASE_SECONDS))
        sleeper.send(signal.SIGCONT)

    async def step_down(self) -> None:
        await self.without_a_primary(self.servers.step_down)

    async def kill_primary(self) -> None:
        async def kill() -> None:
            (await self.servers.primary()).kill()

        await self.without_a_primary(kill)

    async def without_a_primary(self, fault: Callable[[], Awaitable[object]]) -> None:
        """Whoever cannot renew in time loses its leases, and what it asks meanwhile is asked again."""
        self.world.faults += 1
        await fault()
        for daemon in self.daemons:
            self.world.may_lose_leases(daemon)
        await self.servers.primary()
        await self.world.flows_again(time.monotonic())
        await self.servers.whole()


DEEDS: tuple[Fault, ...] = (
    Fleet.kill,
    Fleet.drain,
    Fleet.sleep_beyond_the_lease,
    Fleet.step_down,
    Fleet.kill_primary,
)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_happens_nothing_is_lost_or_done_twice(
    servers: ReplicaSet, seed: int
) -> None:
    chance = Random(seed)
    simulated = {"seed": seed, "latency": 0.05, "jitter": 0.4}
    async with open_world(servers.uri, f"random, seed {seed}", **simulated) as world:
        fleet = Fleet(world, servers, chance)
        async with fleet.stack:
            for _ in range(2):
                await fleet.grow()
            async with world.writing(PER_SECOND):
                for deed in chance.choices(DEEDS, k=FAULTS):
                    await world.written(PER_SECOND // 2)
                    await deed(fleet)
            await world.all_ended()
