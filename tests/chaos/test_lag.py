"""Nothing becomes majority-committed, or everything takes long: all goes on, later, and once.

Where the secondaries do not follow, the primary stays in office: it takes what is written for itself
alone (`w: 1`), shows nothing of it in a stream, and acknowledges no claim. Where they do not answer
at all, it steps down, and there is no primary until they do.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pymongo import WriteConcern

from tests.chaos.replica_set import Node, ReplicaSet
from tests.chaos.world import World, open_world
from tests.support.cable import cable_between, cable_to
from tests.support.processes import Daemon

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

LEADS = 40
PER_SECOND = 20
STOPPED_SECONDS = 8
LEASE_SECONDS = 60
"""Longer than these outages."""
FLOWS_AGAIN_SECONDS = 5
RETRY_SECONDS = 8
"""Some leads are to fall due, and to be claimed, while no claim is acknowledged."""
DONE_SECONDS = 40
LOOPS = 5
LINE_EVERY_SECONDS = 10
DELAY_SECONDS = 0.2


@asynccontextmanager
async def busy_world(
    servers: ReplicaSet, scenario: str, **settings: object
) -> AsyncIterator[tuple[World, Daemon]]:
    """One daemon in the middle of its work; at the end it has never ended, nor flooded the log."""
    async with (
        open_world(
            servers.uri, scenario, required=FLOWS_AGAIN_SECONDS, latency=0.1, jitter=0.3
        ) as world,
        world.daemon(ENRICHER_LEASE_SECONDS=LEASE_SECONDS, **settings) as daemon,
    ):
        await daemon.wait_for_event("history.recorded")
        began = time.monotonic()
        yield world, daemon
        await world.all_ended()
        lasted = time.monotonic() - began
        assert daemon.process.returncode is None
        said = len(daemon.events("database.unavailable"))
        assert said <= LOOPS * (1 + lasted // LINE_EVERY_SECONDS)


async def test_leads_wait_while_two_of_three_nodes_are_silent_and_are_done_afterwards(
    servers: ReplicaSet,
) -> None:
    name = "two of three nodes silent"
    async with busy_world(servers, name) as (world, daemon), world.writing(PER_SECOND):
        await world.is_asking(daemon)
        primary, others = await roles(servers)
        for node in others:
            node.send(signal.SIGSTOP)
        world.faults += 1
        await asyncio.sleep(STOPPED_SECONDS)
        assert not await primary.is_primary(), "it saw no majority, and stayed in office"
        for node in others:
            node.send(signal.SIGCONT)
        await servers.primary()
        await world.flows_again(time.monotonic())
        await world.written(PER_SECOND)


async def test_leads_wait_while_nothing_is_majority_committed_and_are_done_afterwards(
    servers: ReplicaSet,
) -> None:
    later = {"ENRICHER_RETRY_DELAY_SECONDS": RETRY_SECONDS}
    async with busy_world(servers, "majority lags", **later) as (world, daemon):
        failing = world.rig.simulator.inject("server_error", question="*again*")
        again = await world.insert(LEADS // 4, "again")
        await world.observer.until(lambda: all(map(world.observer.settles, again)))
        await world.insert(LEADS // 2)
        await world.is_asking(daemon)
        primary, others = await roles(servers)
        async with not_following(others):
            world.faults += 1
            world.rig.simulator.faults.remove(failing)
            await insert_without_majority(world)
            await daemon.wait_for_event("database.unavailable", within=30)
            await daemon.wait_for_event("claim.unknown", within=60)
            await insert_without_majority(world)
            assert await primary.is_primary()
            was_done = world.observer.ended_so_far
        mended_at = time.monotonic()
        assert was_done < len(world.inserted)
        await world.flows_again(mended_at)
        await world.all_ended(within=DONE_SECONDS)


async def roles(servers: ReplicaSet) -> tuple[Node, list[Node]]:
    primary = await servers.primary()
    return primary, [node for node in servers.nodes if node is not primary]


@asynccontextmanager
async def not_following(secondaries: list[Node]) -> AsyncIterator[None]:
    """They answer, and vote for the primary, and take over nothing from its oplog."""
    for node in secondaries:
        await node.command("configureFailPoint", "stopReplProducer", mode="alwaysOn")
    try:
        yield
    finally:
        for node in secondaries:
            await node.command("configureFailPoint", "stopReplProducer", mode="off")


async def insert_without_majority(world: World) -> None:
    leads = world.new_leads(LEADS)
    collection = world.rig.leads.with_options(write_concern=WriteConcern(w=1))
    await collection.insert_many(leads)
    world.inserted += [lead["_id"] for lead in leads]


async def test_a_slow_network_to_the_database_costs_time_and_no_lease(mongodb_uri: str) -> None:
    async with (
        cable_to(mongodb_uri) as cable,
        open_world(mongodb_uri, "slow network to the database", jitter=0.3) as world,
    ):
        cable.delay(DELAY_SECONDS)
        world.faults += 1
        # A claim and a renewal are several round trips of 0.4 s each, and longer ones on a busy machine.
        async with world.daemon(MONGODB_URI=cable.uri, ENRICHER_LEASE_SECONDS=10) as daemon:
            await daemon.wait_for_event("history.recorded")
            async with world.writing(PER_SECOND):
                await world.written(10 * PER_SECOND)
            await world.all_ended()
            assert await daemon.metric("enricher_leases_lost_total") == 0


async def test_a_slow_network_to_the_vendors_costs_time_and_no_call(mongodb_uri: str) -> None:
    async with open_world(mongodb_uri, "slow network to the vendors") as world:
        port = int(world.rig.simulator.url.rpartition(":")[2])
        async with cable_between("127.0.0.1", port) as cable:
            cable.delay(DELAY_SECONDS)
            world.faults += 1
            urls = {
                f"{name.upper()}_BASE_URL": f"http://127.0.0.1:{cable.own_port}/{name}"
                for name in world.rig.simulator.base_urls
            }
            async with world.daemon(**urls) as daemon:
                await daemon.wait_for_event("history.recorded")
                async with world.writing(PER_SECOND):
                    await world.written(10 * PER_SECOND)
                await world.all_ended()
                assert not daemon.events("lead.retrying")
