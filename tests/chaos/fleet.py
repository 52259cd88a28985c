"""Two daemons at all times, and what may be done to them, their database and their vendors.

Deeds may overlap, and each has dice of its own, so that one does not change another's fate; whoever is in the middle of one is not chosen for another. Each waits until what it
did has been overcome, and starts a replacement before it does so.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import TypeAlias

from tests.chaos.replica_set import ReplicaSet
from tests.chaos.world import LEASE_SECONDS, World
from tests.support.cable import Cable, cable_between, cable_to
from tests.support.processes import Daemon

Deed: TypeAlias = Callable[["Fleet", Random], Awaitable[None]]

SIZE = 2
_SILENCES = (0.5, LEASE_SECONDS + 1.5)
"""Seconds. Some are overslept by the lease, some are not."""
_VENDORS_TROUBLE = (
    {"kind": "server_error"},
    {"kind": "reset"},
    # Charged for nothing: ten in a row would hold the provider for five minutes.
    {"kind": "cut_off", "times": 8},
    {"kind": "hang", "seconds": 1},
)


class Fleet:
    """Either has a set of three servers, or reaches its one server over cables."""

    def __init__(self, world: World, servers: ReplicaSet | None = None) -> None:
        self.world, self.servers = world, servers
        self.idle: list[Daemon] = []
        """Those to whom nothing is being done."""
        self._stack = AsyncExitStack()
        self._cables: dict[Daemon, Cable] = {}
        self._vendors: Cable | None = None
        self._began = time.monotonic()

    def note(self, what: str) -> None:
        """Shown when the test fails: the schedule as it really was."""
        print(f"{time.monotonic() - self._began:6.2f} s  {what}")  # noqa: T201

    # -- daemons ---------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From the first daemons to the end of all."""
        async with self._stack:
            port = int(self.world.rig.simulator.url.rpartition(":")[2])
            self._vendors = await self._stack.enter_async_context(cable_between("127.0.0.1", port))
            async with asyncio.TaskGroup() as group:
                for _ in range(SIZE):
                    group.create_task(self.grow())
            yield

    async def grow(self) -> None:
        """One more."""
        cable = None
        if self.servers is None:
            cable = await self._stack.enter_async_context(cable_to(self.world.rig.uri))
        settings = self._urls() | ({"MONGODB_URI": cable.uri} if cable else {})
        daemon = await self._stack.enter_async_context(self.world.daemon(**settings))
        if cable:
            self._cables[daemon] = cable
        await daemon.wait_for_event("stream.opened", within=30)
        self.idle.append(daemon)

    def _urls(self) -> dict[str, object]:
        assert self._vendors is not None
        return {
            f"{name.upper()}_BASE_URL": f"http://127.0.0.1:{self._vendors.own_port}/{name}"
            for name in self.world.rig.simulator.base_urls
        }

    def take_one(self, chance: Random, what: str) -> Daemon:
        daemon = chance.choice(self.idle)
        self.idle.remove(daemon)
        self.note(f"{what} {daemon.pid}")
        return daemon

    async def kill(self, chance: Random) -> None:
        victim = self.take_one(chance, "SIGKILL")
        held, killed_at = await self.world.kill(victim), time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.grow())
            group.create_task(self.world.taken_over(held, killed_at))

    async def drain(self, chance: Random) -> None:
        old = self.take_one(chance, "SIGTERM")
        self.world.faults += 1
        old.terminate()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.grow())
            leaving = group.create_task(old.wait())
        assert leaving.result() == 0

    async def sleep_beyond_the_lease(self, chance: Random) -> None:
        sleeper = self.take_one(chance, "SIGSTOP")
        sleeper.send(signal.SIGSTOP)
        held, stopped_at = self.world.taken_from(sleeper), time.monotonic()
        try:
            await self.world.taken_over(held, stopped_at)
            await asyncio.sleep(chance.uniform(0, 0.5))
        finally:
            self.note(f"SIGCONT {sleeper.pid}")
            sleeper.send(signal.SIGCONT)
        self.idle.append(sleeper)

    # -- the set of three --------------------------------------------------------------------

    async def step_down(self, _: Random) -> None:
        async with self._election("step-down") as servers:
            await servers.step_down()

    async def kill_primary(self, _: Random) -> None:
        async with self._election("SIGKILL of the primary") as servers:
            node = await servers.primary()
            node.kill()
            node.start()

    async def silence_primary(self, _: Random) -> None:
        """It is found out by the others, and keeps the daemons' connections for itself."""
        async with self._election("silence of the primary") as servers:
            node = await servers.primary()
            node.send(signal.SIGSTOP)
            try:
                await servers.primary(other_than=node)
            finally:
                node.send(signal.SIGCONT)

    @asynccontextmanager
    async def _election(self, what: str) -> AsyncIterator[ReplicaSet]:
        """Whoever cannot renew in time loses its leases, and what it asks meanwhile is asked again."""
        assert self.servers is not None
        await self.servers.whole()
        self.note(what)
        self.world.faults += 1
        with self.world.without_a_database():
            yield self.servers
            await self.servers.primary()
            await self.world.flows_again(time.monotonic())

    # -- the network -------------------------------------------------------------------------

    async def cut(self, chance: Random) -> None:
        await self._break_cable(chance, "cut", Cable.cut)

    async def freeze(self, chance: Random) -> None:
        await self._break_cable(chance, "freeze", Cable.freeze)

    async def _break_cable(self, chance: Random, what: str, fault: Callable[[Cable], None]) -> None:
        daemon = self.take_one(chance, f"{what} the database off from")
        self.world.faults += 1
        with self.world.without_a_database(daemon):
            fault(self._cables[daemon])
            await asyncio.sleep(chance.uniform(*_SILENCES))
            self._cables[daemon].mend()
            self.note(f"mended for {daemon.pid}")
            await self.world.works_again(daemon, time.monotonic())
        self.idle.append(daemon)

    async def cut_vendors(self, chance: Random) -> None:
        assert self._vendors is not None
        self.note("cut the vendors off")
        self.world.faults += 1
        cut_at = time.monotonic()
        self._vendors.cut()
        await asyncio.sleep(chance.uniform(0.2, 1))
        self._vendors.mend()
        self.world.vendors_cut_off(cut_at)

    async def freeze_vendors(self, chance: Random) -> None:
        """Shorter than anybody's patience: whatever is under way arrives."""
        assert self._vendors is not None
        self.note("freeze the way to the vendors")
        self.world.faults += 1
        self._vendors.freeze()
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        self._vendors.mend()

    async def vendors_trouble(self, chance: Random) -> None:
        trouble = chance.choice(_VENDORS_TROUBLE)
        self.note(f"vendors: {trouble}")
        self.world.faults += 1
        simulator = self.world.rig.simulator
        number = simulator.inject(**trouble)
        await asyncio.sleep(chance.uniform(0.2, 1))
        simulator.faults.remove(number)


TO_DAEMONS: tuple[Deed, ...] = (Fleet.kill, Fleet.kill, Fleet.drain, Fleet.sleep_beyond_the_lease)
TO_SERVERS: tuple[Deed, ...] = (Fleet.step_down, Fleet.kill_primary, Fleet.silence_primary)
TO_CABLES: tuple[Deed, ...] = (Fleet.cut, Fleet.freeze)
TO_VENDORS: tuple[Deed, ...] = (Fleet.cut_vendors, Fleet.freeze_vendors, Fleet.vendors_trouble)
