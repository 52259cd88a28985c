"""The user loses privileges while the daemon works: it says so, waits, and goes on by itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from enricher.lead import Document
from tests.chaos.replica_set import GuardedSet
from tests.chaos.world import World, open_world
from tests.support.processes import Daemon, server_directory
from tests.support.roles import documented
from tests.support.waiting import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

NAME, PASSWORD = "enricher", "open-sesame-4711"
LINE_EVERY_SECONDS = 10


@pytest.fixture(scope="module")
def guarded_node(mongod: Path) -> Iterator[GuardedSet]:
    with server_directory() as directory:
        servers = GuardedSet(directory, mongod)
        try:
            yield servers
        finally:
            servers.end()


@pytest_asyncio.fixture
async def guarded(guarded_node: GuardedSet) -> GuardedSet:
    if not guarded_node.nodes[0].is_running:
        await guarded_node.start()
    return guarded_node


@dataclass(slots=True)
class Account:
    """The daemon's user, made as documented."""

    world: World
    uri: str

    async def make(self) -> None:
        privileges = documented(self.world.rig.database.name)
        await self._do("createRole", NAME, privileges=privileges, roles=[])
        await self._do("createUser", NAME, pwd=PASSWORD, roles=[NAME])

    async def take_stream(self) -> None:
        await self._do("revokePrivilegesFromRole", NAME, privileges=self._on_leads("changeStream"))

    async def give_stream(self) -> None:
        await self._do("grantPrivilegesToRole", NAME, privileges=self._on_leads("changeStream"))

    async def take_update(self) -> None:
        await self._do("revokePrivilegesFromRole", NAME, privileges=self._on_leads("update"))

    async def give_update(self) -> None:
        await self._do("grantPrivilegesToRole", NAME, privileges=self._on_leads("update"))

    async def take_role(self) -> None:
        await self._do("revokeRolesFromUser", NAME, roles=[NAME])

    async def give_role(self) -> None:
        await self._do("grantRolesToUser", NAME, roles=[NAME])

    def _on_leads(self, action: str) -> list[Document]:
        leads = {"db": self.world.rig.database.name, "collection": "leads"}
        return [{"resource": leads, "actions": [action]}]

    async def _do(self, command: str, name: str, **fields: Any) -> None:
        await self.world.rig.database.command(command, name, **fields)


@asynccontextmanager
async def guarded_world(
    servers: GuardedSet, scenario: str, **settings: object
) -> AsyncIterator[tuple[World, Account, Daemon]]:
    """A daemon under the documented role, at work; at the end everything is settled."""
    async with open_world(servers.uri, scenario) as world:
        database = world.rig.database.name
        account = Account(world, servers.uri_of(NAME, PASSWORD, database))
        await account.make()
        async with world.daemon(MONGODB_URI=account.uri, **settings) as daemon:
            await daemon.wait_for_event("history.recorded")
            yield world, account, daemon
            await world.all_ended()
            assert daemon.process.returncode is None
            assert not [line for line in daemon.lines if "exception.type" in line]


async def is_ready(daemon: Daemon, status: int) -> bool:
    return (await daemon.get("/readyz")).status_code == status


def said(daemon: Daemon) -> Counter[tuple[str, str]]:
    """How often it warned of what, by loop; what concerns a few leads in work is said for each.

    Without what was only slow, as everything is on a busy machine: no privilege that is lacking times out.
    """
    lines = [line for line in daemon.lines if line.get("severity") in ("WARNING", "ERROR")]
    ours = [line for line in lines if "lead" not in line and line["event"] != "progress.not_kept"]
    refused = [line for line in ours if "Timeout" not in line.get("error", "")]
    return Counter((line["event"], line.get("loop", "")) for line in refused)


async def outlast(daemon: Daemon, began: float, seconds: float) -> None:
    """It lives, is not ready, and each loop says so once in ten seconds since it began."""
    await eventually(lambda: is_ready(daemon, 503), within=20)
    while (passed := time.monotonic() - began) < seconds:
        assert await is_ready(daemon, 503)
        assert (await daemon.get("/livez")).status_code == 200
        await eventually(lambda until=passed + 1: time.monotonic() > began + until)  # type: ignore[misc]
    lines = said(daemon)
    assert {event for event, _ in lines} - {"presence.refused"} == {"database.unavailable"}
    assert max(lines.values()) <= 1 + passed // LINE_EVERY_SECONDS


async def test_without_the_change_stream_privilege_it_goes_on_by_polling(
    guarded: GuardedSet,
) -> None:
    async with guarded_world(guarded, "changeStream taken away") as (world, account, daemon):
        async with world.writing(per_second=40):
            await world.written(80)
            await account.take_stream()
            world.faults += 1
            taken_at = time.monotonic()
            line = await daemon.wait_for_event("stream.unavailable")
            assert "changeStream" in line["reason"]
            await world.flows_again(taken_at)
            await world.written(80)
            await eventually(lambda: is_ready(daemon, 200))
            await account.give_stream()
        await world.all_ended()
        assert await daemon.metric("enricher_leads_admitted_total", source="polling") > 0
        assert max(said(daemon).values()) == 1
        async with world.daemon(MONGODB_URI=account.uri) as next_one:
            opened = await next_one.wait_for_event("stream.opened")
            assert opened["start"] == "token"
            await world.insert(20)
            await world.all_ended()


@pytest.mark.parametrize("what", ["update", "role"])
async def test_without_privileges_it_waits_alive_but_not_ready_and_settles_all_when_given_back(
    guarded: GuardedSet, what: str
) -> None:
    scenario, settings = f"{what} taken away", {"ENRICHER_CONCURRENCY": 8}
    async with guarded_world(guarded, scenario, **settings) as (world, account, daemon):
        world.rig.simulator.latency = 0.2
        await world.insert(200)
        await world.is_asking(daemon)
        taken_at = time.monotonic()
        await getattr(account, f"take_{what}")()
        world.faults += 1
        world.may_lose_leases(daemon)
        await outlast(daemon, taken_at, 22)
        await getattr(account, f"give_{what}")()
        await world.flows_again(time.monotonic())
        await eventually(lambda: is_ready(daemon, 200), within=20)


async def test_leads_that_nobody_may_claim_are_an_outage_and_no_flood_of_lines(
    guarded: GuardedSet,
) -> None:
    async with guarded_world(guarded, "update taken from an idle one") as (world, account, daemon):
        taken_at = time.monotonic()
        await account.take_update()
        world.faults += 1
        leads = [lead | {"enrichment_status": "pending"} for lead in world.new_leads(5)]
        await world.rig.leads.insert_many(leads)
        world.inserted += [lead["_id"] for lead in leads]
        await daemon.wait_for_event("database.unavailable", loop="worker")
        await outlast(daemon, taken_at, 12)
        await account.give_update()
        await world.flows_again(time.monotonic())
        await eventually(lambda: is_ready(daemon, 200), within=20)
